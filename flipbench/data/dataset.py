"""Data sets by name: what each is, where it comes from, and who prepares it.

Nothing here imports numpy or pandas, so that listing stays instant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, get_args

from flipbench import plugins
from flipbench.data.own import description_file
from flipbench.data.own.description import VERSION, Description
from flipbench.data.table import Field
from flipbench.errors import UserError, described, nearest, shorten
from flipbench.protocol import Order

if TYPE_CHECKING:
    from flipbench.data.encode import Prepared

GROUP = "flipbench.datasets"
"""Entry-point group: one line ``name = "package.module:DATASET"`` registers a data set."""


@dataclass(frozen=True)
class Archive:
    """The official download.

    Attributes:
        url: its address.
        md5: its published checksum, 32 hexadecimal digits; None where nobody published one: the SHA-256 of the
            first download is then kept, and later ones are compared with it.
        folder: the folder inside it that holds the raw files; empty where they lie at its top.
    """

    url: str
    md5: str | None
    folder: str


@dataclass(frozen=True)
class RowDigest:
    """Which rows a part of a data set has; how the digests are computed stands in ``docs/row-hashes.md``.

    Attributes:
        rows: how many.
        sum: 16 hexadecimal digits, equal for the same rows in any order.
        order: 16 hexadecimal digits, equal for the same rows in the same order.
    """

    rows: int
    sum: str
    order: str


@dataclass(frozen=True)
class Dataset:
    """A data set's metadata and its reader.

    Attributes:
        name: registered name (``movielens-1m``).
        title: name in prose.
        citation: the paper to cite.
        licence: what use is allowed, in a sentence.
        fields: F columns, in the paper's order.
        label: the label rule in words.
        reader: the function ``(raw folder, allow_partial, **options) -> Prepared``, or its name ``module:function``,
            imported when the data set is prepared: metadata never load numpy. With ``allow_partial`` it accepts raw
            files that are not whole; a generator ignores both arguments.
        options: keyword arguments of the reader.
        version: raised when the reader gives another table from the same raw files.
        files: raw files that the reader reads; empty for a generated data set.
        archive: the official download, if there is one.
        base_url: address of the single raw files of a data set that has no archive; no checksum is published.
        orders: the row orders that a suite may name; the table has its rows in the first.
        expected: the paper's Table I (``samples``, ``fields``, ``features``), where it lists the data set.
        fingerprint: content fingerprint of the whole data set once prepared, where it is known beforehand: results
            can then be planned for and found without the data.
        reasons: why our count differs from the expected one, by the same keys.
        package: of a data set that is not registered here, the package that registers it elsewhere; it has no reader.
        rows: the rows of each part in the first order, where they are published.
        described: what a user's file says, of a data set that is described by one; ``fields`` are empty then, since
            the data decide which file has which.
    """

    name: str
    title: str
    citation: str
    licence: str
    fields: tuple[Field, ...]
    label: str
    reader: str | Callable[..., Prepared]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    files: tuple[str, ...] = ()
    archive: Archive | None = None
    base_url: str | None = None
    orders: tuple[Order, ...] = ("chronological", "random")
    expected: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    rows: Mapping[str, RowDigest] = field(default_factory=dict)
    described: Description | None = None

    def prepare(self, raw: Path, allow_partial: bool = False) -> Prepared:
        """The whole table in memory.

        Raises:
            UserError: the reader cannot be imported, or a raw file is missing or malformed.
        """
        try:
            read = resolve_name(self.reader) if isinstance(self.reader, str) else self.reader
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"data set '{self.name}': reader '{self.reader}' cannot be loaded: {error}") from None
        prepared: Prepared = read(raw, allow_partial, **self.options)
        return prepared

    @property
    def generated(self) -> bool:
        """Whether it comes from a generator instead of raw files."""
        return not self.files

    @property
    def timed(self) -> bool:
        """Whether its rows have times; a generator's are in an order of time that has none."""
        return not self.generated and "chronological" in self.orders

    @property
    def remedy(self) -> str:
        """The commands that prepare it."""
        if self.package:
            return f"{self.import_command} where its package '{self.package}' is installed"
        ways = [f"'flipbench data fetch {self.name}'"] if self.archive or self.base_url or self.generated else []
        ways += [] if self.generated else [self.import_command]
        return " or ".join(ways)

    @property
    def import_command(self) -> str:
        """The command that prepares it from raw files at hand."""
        if self.described:
            return f"'flipbench data import {self.described.path}'"
        return f"'flipbench data import {self.name} --from DIR'"

    @property
    def clustered(self) -> bool:
        """Whether rows are known to be of users, which tests resample."""
        return self.described is None or self.described.user is not None

    @property
    def gives_validation(self) -> bool:
        """Whether it has a validation part of its own."""
        return self.described is not None and self.described.gives_validation


def names() -> list[str]:
    """Registered data sets, sorted by name."""
    return sorted(_registered())


def is_file(name: str) -> bool:
    """Whether a name is the path of a file that describes a data set."""
    return name.endswith((".yaml", ".yml"))


def get(name: str) -> Dataset:
    """The data set registered as ``name``, or described by the YAML file of that path.

    Raises:
        UserError: no such data set (names the nearest), several of the name (names both), its module cannot be loaded,
            it declares what it must not, or there is a mistake in its file.
    """
    if not is_file(name):
        return _get(name)
    path = Path(name)
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return _described(path)
    return _described(path, stat.st_size, stat.st_mtime_ns)


def _get(name: str) -> Dataset:
    if name in (registered := _registered()):
        return _load(name)
    if name in _elsewhere:
        return _elsewhere[name]
    raise UserError(f"unknown data set '{shorten(name)}'{nearest(name, registered)}")


@cache
def _load(name: str) -> Dataset:
    registered = _registered()
    plugins.refuse_twice(name, [GROUP], "data set")
    where = f"data set '{name}' ({registered[name].value})"
    try:
        with redirect_stdout(sys.stderr):  # what a user's module prints is none of our output
            dataset: Dataset = registered[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where} cannot be loaded: {error}") from None
    except (Exception, SystemExit) as error:  # of a user's module, while it is imported
        raise UserError(f"{where} cannot be loaded: {described(error)}") from error
    if problem := _problem(name, dataset):
        raise UserError(f"{where} declares {problem}")
    return dataset


@lru_cache(maxsize=64)
def _described(path: Path, *_version: int) -> Dataset:
    said = description_file.load(path)
    if said.name in _registered():
        raise UserError(f"{path}: dataset: '{said.name}' is the name of a registered data set; choose another")
    return Dataset(
        name=said.name,
        title=said.title,
        citation=said.citation,
        licence=said.licence,
        fields=(),
        label=str(said.label),
        reader="flipbench.data.own.reader:read",
        options={"description": said},
        version=VERSION,
        files=tuple(str(file) for file in said.raw_files),
        orders=said.orders,
        described=said,
    )


@cache
def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in plugins.registered(GROUP)}


_elsewhere: dict[str, Dataset] = {}


def know(described: Iterable[Dataset]) -> None:
    """Let names that nothing is registered under here stand for data sets as they are described."""
    _elsewhere.update({dataset.name: dataset for dataset in described})


def package_of(name: str) -> str:
    """The package that registers a data set, here or elsewhere; empty where that is not known."""
    if point := _registered().get(name):
        return plugins.package_of(point)
    return _elsewhere[name].package if name in _elsewhere else ""


def _problem(name: str, declared: object) -> str:
    """What is wrong with an object that a package registers as a data set; empty where nothing is."""
    if not isinstance(declared, Dataset):
        return f"an object of type {type(declared).__name__}, where a Dataset is expected"
    valid = get_args(Order)
    if declared.name != name:
        return f"the name {declared.name!r}: it must be '{name}', as it is registered"
    if not _is_tuple_of(Field, declared.fields) or not declared.fields:
        return "fields: expected a tuple of Field"
    if not _is_tuple_of(str, declared.orders) or not declared.orders or not {*declared.orders} <= {*valid}:
        return f"orders: expected a tuple of {', '.join(valid)}"
    if not _is_tuple_of(str, declared.files):
        return "files: expected a tuple of names"
    if type(declared.version) is not int:
        return f"version: expected a whole number, got {declared.version!r}"
    return ""


def _is_tuple_of(kind: type, values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)
