"""Data sets by name: what each is, where it comes from, and who prepares it.

Nothing here imports numpy or pandas, so that listing stays instant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from flipbench.data import described_file
from flipbench.data.described import VERSION, Description
from flipbench.data.table import Field
from flipbench.errors import UserError, nearest, shorten
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
    def remedy(self) -> str:
        """The commands that prepare it."""
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
        UserError: no such data set (names the nearest), its module cannot be loaded, or a mistake in its file.
    """
    if not is_file(name):
        return _get(name)
    path = Path(name)
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return _described(path)
    return _described(path, stat.st_size, stat.st_mtime_ns)


@cache
def _get(name: str) -> Dataset:
    registered = _registered()
    if name not in registered:
        raise UserError(f"unknown data set '{shorten(name)}'{nearest(name, registered)}")
    try:
        dataset: Dataset = registered[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"data set '{name}' ({registered[name].value}) cannot be loaded: {error}") from None
    return dataset


@lru_cache(maxsize=64)
def _described(path: Path, *_version: int) -> Dataset:
    described = described_file.load(path)
    if described.name in _registered():
        raise UserError(f"{path}: dataset: '{described.name}' is the name of a registered data set; choose another")
    return Dataset(
        name=described.name,
        title=described.title,
        citation=described.citation,
        licence=described.licence,
        fields=(),
        label=str(described.label),
        reader="flipbench.data.described_reader:read",
        options={"description": described},
        version=VERSION,
        files=tuple(str(file) for file in described.raw_files),
        orders=described.orders,
        described=described,
    )


@cache
def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
