"""What the schemas of the user's files share: types with a plain line for each mistake, and that line.

A validator raises ValueError; its words stand after the place of the value.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError

from flipbench.errors import shorten
from flipbench.plan.settings import nest, shown
from flipbench.yamlfile import MOST_LETTERS

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
"""Unknown keys are mistakes, and text is no number."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


Line = Annotated[str, AfterValidator(_one_line)]
"""Text for people to read; a file may break it into several lines."""


def check_name(text: str) -> str:
    """A name as it is; raises ValueError where it is none."""
    if not 0 < len(text) <= MOST_LETTERS or not text.isprintable():
        raise ValueError(f"expected one line of 1 to {MOST_LETTERS} printable characters, got {shown(text)}")
    return text


Name = Annotated[str, AfterValidator(check_name)]
"""Of a row, a data set and so on."""


def check_folder(name: str) -> str:
    """The name of a folder as it is; raises ValueError where no file system can have one of the name."""
    if not name.strip():
        raise ValueError("expected a folder, got nothing")
    with contextlib.suppress(UnicodeEncodeError):
        path = os.fsencode(name)
        if b"\0" not in path and len(path) <= 1000 and all(len(part) <= 255 for part in path.split(b"/")):
            return name
    raise ValueError(f"'{shorten(name)}' is no name that a folder can have")


Folder = Annotated[str, AfterValidator(check_folder)]


def _settings(given: Any) -> Any:
    """Settings by nested names, dotted ones among them; anything that is no mapping is pydantic's to refuse."""
    if not isinstance(given, Mapping):
        return given
    flat: dict[str, Any] = {}
    for name, value in _leaves(given):
        if name in flat:
            raise ValueError(f"'{shorten(name)}' is set twice")
        if len(name) > MOST_LETTERS:
            raise ValueError(f"no setting has a name as long as '{shorten(name)}'")
        if not _is_value(value):
            raise ValueError(
                f"{shorten(name)}: expected a number, text, true, false or a list of whole numbers, got {shown(value)}"
            )
        flat[name] = value
    for name in flat:
        outer = name.rpartition(".")[0]
        if outer in flat:
            raise ValueError(f"'{shorten(outer)}' has a value, and '{shorten(name)}' too")
    return nest(flat)


def _leaves(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(item) is int for item in value)
    return isinstance(value, bool | int | float | str)


def _name_or_settings(given: Any) -> Any:
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"expected a mapping, or the name of a set of settings, got {shown(given)}")
    return _settings(given)


SettingValues = Annotated[dict[str, Any], BeforeValidator(_settings)]
"""Settings as a suite writes them: those of a pretraining nested under ``pretrain``."""

NameOrSettings = Annotated[str | dict[str, Any], BeforeValidator(_name_or_settings)]
"""The same, or the name or path of a named set of settings."""

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What pydantic misses, by its kind of error, in the words of a suite's author."""


def words_of(problem: Mapping[str, Any]) -> str:
    """What is wrong with a value, without its place."""
    if expected := _EXPECTED.get(problem["type"]):
        return f"expected {expected}, got {shown(problem['input'])}"
    if problem["type"] == "too_short":
        return "expected at least one, got none"
    if problem["type"] == "value_error":  # of a validator, in words of our own
        return str(problem["ctx"]["error"])
    words = f"{problem['msg'][0].lower()}{problem['msg'][1:]}"
    given = problem["input"]
    return f"{words} (got {shown(given)})" if isinstance(given, str | int | float | bool | None) else words


def first_of(error: ValidationError) -> tuple[Mapping[str, Any], list[str]]:
    """The first mistake, and its place in the file without what pydantic adds to it."""
    problem = error.errors()[0]
    return problem, [shorten(str(part)) for part in problem["loc"] if part != "[key]"]
