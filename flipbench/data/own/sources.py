"""What lies in a file or folder that is to be described: one table, RecBole's atomic files, or given parts.

* RecBole's atomic files: ``NAME.inter``, with ``NAME.user`` and ``NAME.item`` where they are there, or the parts
  ``NAME.train.inter``, ``NAME.valid.inter`` and ``NAME.test.inter``.
* FuxiCTR's and reczoo's folders: ``train.csv``, ``valid.csv`` (maybe) and ``test.csv``, with ``dataset_config.yaml``
  where it is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flipbench import yamlfile
from flipbench.data.own.description import suffix_of
from flipbench.data.own.sample import SUFFIXES
from flipbench.errors import UserError

ATOMIC = ".inter"
CONFIG = "dataset_config.yaml"
PARTS = {"train": ("train", "training"), "valid": ("valid", "val", "validation", "dev"), "test": ("test",)}
"""Names of files by the part that they hold."""

Type = Literal["categorical", "numeric", "sequence"]


@dataclass(frozen=True)
class Config:
    """What FuxiCTR's configuration says of the columns.

    Attributes:
        path: of its file.
        fields: the active columns in order, by their type and what separates the values of a sequence.
        label: the column of the label.
    """

    path: Path
    fields: Mapping[str, tuple[Type, str | None]]
    label: str | None


@dataclass(frozen=True)
class Source:
    """The files of a data set.

    Attributes:
        name: of the file or folder.
        kind: in words.
        interactions: by part; a single table has the part ``""``.
        users, items: tables to join.
        typed: whether headers carry RecBole's types.
        config: FuxiCTR's, where there is one.
        notes: what should be known of the files.
    """

    name: str
    kind: str
    interactions: Mapping[str, Path]
    users: Path | None = None
    items: Path | None = None
    typed: bool = False
    config: Config | None = None
    notes: tuple[str, ...] = field(default=())


def find(path: Path) -> Source:
    """The data set in a file or folder.

    Raises:
        UserError: nothing is there, or nothing that is known, or several; names what would do.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        there = path.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        raise UserError(f"{path}: no such file or folder")
    if suffix_of(path) in (".user", ".item"):
        raise UserError(f"{path}: has no interactions; give the file that ends in {ATOMIC}, or its folder")
    if suffix_of(path) == ATOMIC:
        return _atomic([path], _files(path.parent), _stem(path))
    return Source(_stem(path), "one table", {"": path})


def _of_folder(folder: Path) -> Source:
    files = _files(folder)
    name = folder.resolve().name
    if inter := [file for file in files if suffix_of(file) == ATOMIC]:
        return _atomic(inter, files, name)
    tables = [file for file in files if suffix_of(file) in SUFFIXES]
    if parts := _parts(tables, PARTS, folder):
        return _given(name, folder, parts, tables)
    if len(tables) == 1:
        return Source(name, "one table", {"": tables[0]})
    shown = "NAME.inter, train.csv and test.csv, or one table"
    if not tables:
        raise UserError(f"{folder}: has no table; expected {shown}")
    found = ", ".join(file.name for file in tables[:6]) + (", …" if len(tables) > 6 else "")
    raise UserError(f"{folder}: has {len(tables)} tables ({found}); expected {shown}: give one file")


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None


def _stem(path: Path) -> str:
    """A file's name without its suffixes."""
    return path.name.removesuffix(".gz").rpartition(".")[0]


def _parts(files: Sequence[Path], names: Mapping[str, Iterable[str]], folder: Path) -> dict[str, Path]:
    """The files of the parts, where there are those of training and test; empty otherwise."""
    found: dict[str, Path] = {}
    for part, spellings in names.items():
        matches = [file for file in files if _stem(file).lower() in spellings]
        if len(matches) > 1:
            raise UserError(f"{folder}: which is the part '{part}', {matches[0].name} or {matches[1].name}?")
        if matches:
            found[part] = matches[0]
    return found if {"train", "test"} <= found.keys() else {}


def _atomic(inter: list[Path], files: list[Path], folder_name: str) -> Source:
    stems = [_stem(file) for file in inter]
    bases = {stem.rpartition(".")[0] for stem in stems}
    parts: dict[str, Path] = {}
    if len(inter) > 1 and len(bases) == 1 and (base := bases.pop()):
        parts = _parts(
            inter,
            {part: [f"{base}.{name}".lower() for name in names] for part, names in PARTS.items()},
            inter[0].parent,
        )
        name = base
    if not parts:
        if len(inter) > 1:
            found = ", ".join(file.name for file in inter[:6])
            raise UserError(f"{inter[0].parent}: has {len(inter)} files of interactions ({found}): give one of them")
        name, parts = stems[0], {"": inter[0]}
    sides = {}
    for suffix in (".user", ".item"):
        matches = [file for file in files if suffix_of(file) == suffix]
        sides[suffix] = next((file for file in matches if _stem(file) == name), None)
        if matches and not sides[suffix]:
            raise UserError(f"{matches[0]}: belongs to no {name}{ATOMIC} beside it: rename one of the two")
    return Source(name or folder_name, "RecBole's atomic files", parts, sides[".user"], sides[".item"], typed=True)


def _given(name: str, folder: Path, parts: dict[str, Path], tables: list[Path]) -> Source:
    others = [file.name for file in tables if file not in parts.values()]
    notes = [f"not read: {', '.join(others)}"] if others else []
    config = None
    if (path := folder / CONFIG).is_file():
        try:
            config = _config(path)
        except UserError as error:
            notes.append(f"{CONFIG} is not used, columns are guessed from the files: {error}")
    return Source(name, "parts as given", parts, config=config, notes=tuple(notes))


def _config(path: Path) -> Config:
    """The configuration of the one data set in the file, or of the first that lists columns."""
    content = yamlfile.load(path)
    candidates = [content, *content.values()] if isinstance(content, dict) else []
    declared = next((each for each in candidates if isinstance(each, dict) and each.get("feature_cols")), None)
    if declared is None:
        raise UserError(f"{path}: no key 'feature_cols' in it")
    columns, label = declared["feature_cols"], declared.get("label_col")
    if not isinstance(columns, list) or not all(isinstance(column, dict) and "name" in column for column in columns):
        raise UserError(f"{path}: feature_cols: expected a list of mappings with a name")
    fields: dict[str, tuple[Type, str | None]] = {}
    for column in columns:
        for name in _as_list(column["name"]):
            if column.get("active", True) and column.get("type") in ("categorical", "numeric", "sequence"):
                splitter = column.get("splitter") if column["type"] == "sequence" else None
                fields[str(name)] = column["type"], splitter if splitter is None else str(splitter)
    label = _as_list(label)[0] if _as_list(label) else None
    label_name = label.get("name") if isinstance(label, dict) else label
    return Config(path, fields, None if label_name is None else str(label_name))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
