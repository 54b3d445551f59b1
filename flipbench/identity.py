"""What a result is determined by, as one key: SHA-256 of canonical JSON."""

import hashlib
import json
import math
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, whatever their order in a file.

    Raises:
        ValueError: a number is not finite, or a key is not text; neither has one spelling in JSON.
    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of(value: Any) -> str:
    """The key of a JSON value: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):  # json would turn 1 and "1" into the same key
                raise ValueError(f"key {key!r} is not text")
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no canonical form")
