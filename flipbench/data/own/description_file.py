"""The YAML file that describes a data set, read and checked; ``docs/your-own-data.md`` explains its keys to users."""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from flipbench import yamlfile
from flipbench.data.own.description import (
    TEXTS,
    Buckets,
    Description,
    FieldSpec,
    Format,
    Label,
    Part,
    SideTable,
    Split,
    suffix_of,
)
from flipbench.data.table import Side
from flipbench.errors import UserError, nearest, shorten

OPERATORS = (">=", "<=", "==", ">", "<")


def load(path: Path) -> Description:
    """What a file says of a data set.

    Raises:
        UserError: there is no such file, or a mistake in it; names the file, the key and the nearest valid one.
    """
    content = yamlfile.load(path)
    try:
        return _description(path, _Keys("", content, _KEYS))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


_KEYS = (
    *("dataset", "title", "citation", "licence", "files", "format", "label", "user", "item", "time", "order", "ties"),
    *("split", "fields", "clean"),
)


class _Keys:
    """A mapping of the file, whose keys are taken one by one; an unknown one is refused at once."""

    def __init__(self, place: str, content: Any, valid: Iterable[str]) -> None:
        valid = tuple(valid)
        if not isinstance(content, dict):
            raise UserError(f"{place or 'the file'}: expected a mapping with {', '.join(valid)}, got {_shown(content)}")
        self.place, self.content = place, content
        for key in content:
            if key not in valid:
                raise UserError(f"unknown key '{self.at(shorten(key))}'{nearest(key, valid)}")

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def has(self, key: str) -> bool:
        return self.content.get(key) is not None

    def need(self, key: str) -> Any:
        if not self.has(key):
            raise UserError(f"key '{self.at(key)}' is missing")
        return self.content[key]

    def text(self, key: str) -> str:
        return _text(self.at(key), self.need(key))

    def maybe(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def line(self, key: str) -> str | None:
        """Text for people to read, which the file may break into several lines."""
        value = self.content.get(key)
        return _text(self.at(key), " ".join(value.split())) if isinstance(value, str) else self.maybe(key)

    def flag(self, key: str) -> bool | None:
        value = self.content.get(key)
        if value is not None and not isinstance(value, bool):
            raise UserError(f"{self.at(key)}: expected true or false, got {_shown(value)}")
        return value

    def choice(self, key: str, valid: tuple[str, ...]) -> Any:
        value = self.maybe(key)
        if value is not None and value not in valid:
            raise UserError(f"{self.at(key)}: unknown '{shorten(value)}'{nearest(value, valid)}")
        return value

    def number(self, key: str) -> float:
        return _number(self.at(key), self.need(key))


def _description(path: Path, keys: _Keys) -> Description:
    name = keys.text("dataset")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,99}", name):
        raise UserError(f"dataset: '{shorten(name)}': expected a name of a-z, 0-9 and -")
    files = _Keys("files", keys.need("files"), ("interactions", "users", "items"))
    interactions = _interactions(path.parent, files.need("interactions"))
    users, items = (_side_table(path.parent, files, key) for key in ("users", "items"))
    time, order = keys.maybe("time"), keys.choice("order", ("file", "shuffled"))
    if time and order:
        raise UserError("order: rows are sorted by 'time'; give one of the two")
    ties = keys.content.get("ties") or []
    if ties and not time:
        raise UserError("ties: they order rows of one 'time', which is not given")
    split = _split(keys, time, any(part for _, part in interactions))
    if order == "shuffled" and split.by != "shares":
        raise UserError("order: 'shuffled' goes with a split by shares")
    described = Description(
        path=path,
        name=name,
        title=keys.line("title") or name,
        citation=keys.line("citation") or "",
        licence=keys.line("licence") or "",
        files=interactions,
        users=users,
        items=items,
        format=_format(keys),
        label=_label(keys.need("label")),
        user=keys.maybe("user"),
        item=keys.maybe("item"),
        time=time,
        order=None if time else order or "file",
        ties=tuple(_text("ties", tie) for tie in _list("ties", ties)),
        split=split,
        fields=_fields(keys.need("fields")),
        clean=keys.flag("clean") is not False,
    )
    _check(described)
    return described


def _check(described: Description) -> None:
    """Raises UserError where keys do not go together."""
    fields = [field.column for field in described.fields]
    if described.item and described.item not in fields:
        raise UserError(f"item: '{described.item}' is not among the fields{nearest(described.item, fields)}")
    for place, columns in (("label", [described.label.column]), ("split.column", [described.split.column or ""])):
        if known := next((column for column in columns if column in fields), None):
            raise UserError(f"fields: '{known}' is what '{place}' reads; a model must not see it")
    for path in described.raw_files:
        if suffix_of(path) not in (*TEXTS, ".parquet"):
            valid = ", ".join((*TEXTS, ".parquet"))
            raise UserError(f"files: {path.name}: its suffix says no format; valid: {valid}, text also with .gz")
        if path.name.endswith(".parquet.gz"):
            raise UserError(f"files: {path.name}: Parquet compresses by itself; unpack it")


def _interactions(folder: Path, value: Any) -> tuple[tuple[Path, Part | None], ...]:
    place = "files.interactions"
    if isinstance(value, dict):
        parts = _Keys(place, value, get_args(Part))
        parts.need("train"), parts.need("test")
        return tuple(
            (folder / file, part) for part in get_args(Part) for file in _paths(parts.at(part), value.get(part))
        )
    return tuple((folder / file, None) for file in _paths(place, value))


def _paths(place: str, value: Any) -> list[str]:
    if value is None:
        return []
    found = [_text(place, each) for each in (value if isinstance(value, list) else [value])]
    if not found:
        raise UserError(f"{place}: expected a path, got none")
    return found


def _side_table(folder: Path, files: _Keys, key: str) -> SideTable | None:
    if not files.has(key):
        return None
    keys = _Keys(files.at(key), files.content[key], ("file", "key"))
    return SideTable(folder / keys.text("file"), keys.text("key"))


def _format(keys: _Keys) -> Format:
    if not keys.has("format"):
        return Format()
    given = _Keys("format", keys.content["format"], ("separator", "encoding", "types"))
    separator, encoding = given.content.get("separator"), given.maybe("encoding") or "utf-8"
    if separator is not None and (
        not isinstance(separator, str) or len(separator) != 1 or not separator.isascii() or separator in '"\n\r'
    ):
        raise UserError(f"format.separator: expected one ASCII character, got {_shown(separator)}")
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding or codec.incrementaldecoder is None:  # rot13 and the like
            raise LookupError
    except (LookupError, ValueError):
        raise UserError(f"format.encoding: unknown '{shorten(encoding)}', as Python's codecs go") from None
    return Format(separator, "utf-8" if codec.name == "utf-8-sig" else codec.name, bool(given.flag("types")))


def _label(value: Any) -> Label:
    if isinstance(value, str):
        return Label(_text("label", value))
    keys = _Keys("label", value, ("column", "positive", "drop"))
    drop = keys.content.get("drop")
    dropped = [] if drop is None else drop if isinstance(drop, list) else [drop]
    for each in dropped:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise UserError(f"label.drop: expected numbers or texts, got {_shown(each)}")
    values = tuple(each if isinstance(each, str) else float(each) for each in dropped)
    positive = None if not keys.has("positive") else _rule(keys.content["positive"])
    return Label(keys.text("column"), positive, values)


def _rule(value: Any) -> tuple[str, float]:
    text = str(value).strip()
    for operator in OPERATORS:
        if isinstance(value, str) and text.startswith(operator):
            try:
                return operator, float(text.removeprefix(operator))
            except ValueError:
                break
    raise UserError(f'label.positive: expected > >= < <= or == and a number, as "> 3", got {_shown(value)}')


def _split(keys: _Keys, time: str | None, by_file: bool) -> Split:
    value = keys.content.get("split", "files" if by_file else None)
    if by_file != (value == "files"):
        raise UserError("split: 'files' and files.interactions with train and test go together")
    if value is None:
        return Split("shares", (Fraction(1, 10), None))
    if by_file:
        return Split("files")
    given = _Keys("split", value, ("test", "valid", "test_from", "valid_from", "column", "train"))
    found = given.content.keys()
    if "column" in found:
        given = _Keys("split", value, ("column", *get_args(Part)))
        parts: list[tuple[str, Part]] = []
        for part in get_args(Part):
            if part != "valid" or given.has(part):
                parts.append((_scalar(given.at(part), given.need(part)), part))
        if len({value for value, _ in parts}) < len(parts):
            raise UserError("split: one value for two parts")
        return Split("column", column=given.text("column"), values=tuple(parts))
    if "test_from" in found or "valid_from" in found:
        given = _Keys("split", value, ("test_from", "valid_from"))
        if not time:
            raise UserError("split.test_from: needs 'time', the column of times")
        test, valid = given.need("test_from"), given.content.get("valid_from")
        for key, each in (("test_from", test), ("valid_from", valid)):
            if isinstance(each, bool) or not isinstance(each, str | int | float | None):
                raise UserError(f"split.{key}: expected a number, a date or a time, got {_shown(each)}")
        return Split("time", test_from=test, valid_from=valid)
    given = _Keys("split", value, ("test", "valid"))
    shares = {key: Fraction(str(given.number(key))) for key in found}
    total = sum(shares.values())
    if "test" not in shares or min(shares.values()) <= 0 or total >= 1:
        raise UserError("split: expected shares above 0 that leave rows to train on, as {test: 0.1, valid: 0.1}")
    return Split("shares", (shares["test"], shares.get("valid")))


def _fields(value: Any) -> tuple[FieldSpec, ...]:
    specs = [_field(f"fields[{n}]", each) for n, each in enumerate(_list("fields", value), 1)]
    if len(specs) < 2:
        raise UserError("fields: expected two columns or more")
    columns = [spec.column for spec in specs]
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        raise UserError(f"fields: '{twice}' is listed twice")
    return tuple(specs)


def _field(place: str, value: Any) -> FieldSpec:
    if isinstance(value, str):
        column = _text(place, value)
        return FieldSpec(column, column.replace("_", " "))
    keys = _Keys(place, value, ("column", "words", "side", "buckets", "many", "take", "numbers"))
    column = keys.text("column")
    spec = FieldSpec(
        column,
        keys.maybe("words") or column.replace("_", " "),
        keys.choice("side", get_args(Side)),
        _buckets(keys.at("buckets"), keys.content["buckets"]) if keys.has("buckets") else None,
        keys.content.get("many"),
        keys.choice("take", ("first", "all")) or "first",
        keys.flag("numbers"),
    )
    if spec.many is not None and (not isinstance(spec.many, str) or not spec.many):
        raise UserError(f'{place}.many: expected what separates the values, as "|", got {_shown(spec.many)}')
    if spec.many is None and keys.has("take"):
        raise UserError(f"{place}.take: goes with 'many'")
    if spec.buckets and (spec.many or spec.numbers):
        raise UserError(f"{place}: 'buckets' goes neither with 'many' nor with 'numbers'")
    return spec


def _buckets(place: str, value: Any) -> Buckets:
    keys = _Keys(place, value, ("quantiles", "log", "edges"))
    if len(keys.content) != 1:
        raise UserError(f"{place}: expected one of quantiles, log, edges")
    if keys.has("quantiles"):
        if type(many := keys.content["quantiles"]) is not int or not 2 <= many <= 10_000:
            raise UserError(f"{place}.quantiles: expected a whole number from 2 to 10,000, got {_shown(many)}")
        return Buckets(quantiles=many)
    if keys.has("log"):
        if not 1 < (base := keys.number("log")) <= 1e6:
            raise UserError(f"{place}.log: expected a base above 1, got {base:g}")
        return Buckets(base=base)
    edges = [_number(f"{place}.edges", edge) for edge in _list(f"{place}.edges", keys.need("edges"))]
    if not edges or any(a >= b for a, b in pairwise(edges)):
        raise UserError(f"{place}.edges: expected numbers that grow")
    return Buckets(edges=tuple(edges))


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UserError(f"{place}: expected text on one line, got {_shown(value)}")
    return value


def _scalar(place: str, value: Any) -> str:
    """A value as a file of text has it: a number as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{place}: expected text or a number, got {_shown(value)}")
    return str(value)


def _number(place: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{place}: expected a number, got {_shown(value)}")
    return value


def _list(place: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{place}: expected a list, got {_shown(value)}")
    return value


_KINDS: Mapping[type, Callable[[Any], str]] = {
    dict: lambda _: "a mapping",
    list: lambda _: "a list",
    bool: lambda value: str(value).lower(),
    str: lambda value: f"'{shorten(value)}'",
    type(None): lambda _: "nothing",
}


def _shown(value: Any) -> str:
    return _KINDS.get(type(value), str)(value)
