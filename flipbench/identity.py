"""What a result is determined by, as one key: SHA-256 of canonical JSON."""

import hashlib
import json
from typing import Any

_spell = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, whatever their order in a file.

    Raises:
        ValueError: a number is not finite, or a key is not text; neither has one spelling in JSON.
    """
    _check_keys(value)
    return _spell(value)


def key_of(value: Any) -> str:
    """The key of a JSON value: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):  # json would turn 1 and "1" into the same key
                raise ValueError(f"key {key!r} is not text")
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        if isinstance(item, dict | list | tuple):
            _check_keys(item)
