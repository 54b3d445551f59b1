"""A data set that a user describes in a YAML file: what it says.

``description_file`` reads the file, ``reader`` the data.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from flipbench.data.table import Side
from flipbench.protocol import Order

VERSION = 1
"""Of the tables; raised when ``reader`` gives another one from the same files."""

Part = Literal["train", "valid", "test"]
"""Of a split; ``valid`` may be missing."""

TABBED = (".tsv", ".inter", ".user", ".item")
TEXTS = (".csv", ".txt", *TABBED)


@dataclass(frozen=True)
class SideTable:
    """A table of users or items; ``key`` is a column of it and of the interactions."""

    file: Path
    key: str


@dataclass(frozen=True)
class Format:
    """Of text files. ``separator``: None by suffix. ``types``: a header's names end in types (``user_id:token``)."""

    separator: str | None = None
    encoding: str = "utf-8"
    types: bool = False

    def separator_of(self, path: Path) -> str:
        return self.separator or ("\t" if suffix_of(path) in TABBED else ",")


@dataclass(frozen=True)
class Label:
    """A column of 0 and 1, or the numbers of a column that are positive: an operator and a number.

    Rows whose value is in ``drop`` are left out.
    """

    column: str
    positive: tuple[str, float] | None = None
    drop: tuple[float | str, ...] = ()

    def __str__(self) -> str:
        rule = f"{self.column} {self.positive[0]} {self.positive[1]:g} is positive" if self.positive else self.column
        return rule + (f", {', '.join(map(str, self.drop))} dropped" if self.drop else "")


@dataclass(frozen=True)
class Split:
    """How rows are divided: by shares in their order, by time, by a column's values, or as the files are.

    Attributes:
        shares: exact, of the test and the validation part, if there is one; None for another rule.
        test_from, valid_from: the first times of the parts, as they are written.
        column: what names the part; ``values`` are the parts by value.
    """

    by: Literal["shares", "time", "column", "files"]
    shares: tuple[Fraction, Fraction | None] | None = None
    test_from: float | str | None = None
    valid_from: float | str | None = None
    column: str | None = None
    values: tuple[tuple[str, Part], ...] = ()


@dataclass(frozen=True)
class Buckets:
    """Numbers to features: quantiles of the training rows, powers of a base, or given edges."""

    quantiles: int | None = None
    base: float | None = None
    edges: tuple[float, ...] | None = None


@dataclass(frozen=True)
class FieldSpec:
    """A column of the model; ``side`` None: by the file that has it. ``many``: what separates its values."""

    column: str
    words: str
    side: Side | None = None
    buckets: Buckets | None = None
    many: str | None = None
    take: Literal["first", "all"] = "first"
    numbers: bool | None = None


@dataclass(frozen=True)
class Description:
    """A YAML file's content.

    Attributes:
        files: the interactions, with their parts where those are given by file.
        clean: whether texts are cleaned as the built-in data sets' are (:mod:`flipbench.data.clean`).
    """

    path: Path
    name: str
    title: str
    citation: str
    licence: str
    files: tuple[tuple[Path, Part | None], ...]
    users: SideTable | None
    items: SideTable | None
    format: Format
    label: Label
    user: str | None
    item: str | None
    time: str | None
    order: Literal["file", "shuffled"] | None
    ties: tuple[str, ...]
    split: Split
    fields: tuple[FieldSpec, ...]
    clean: bool = True

    @property
    def raw_files(self) -> tuple[Path, ...]:
        """All that is read."""
        return (*(path for path, _ in self.files), *(side.file for side in (self.users, self.items) if side))

    @property
    def orders(self) -> tuple[Order, ...]:
        """The row orders that a suite may name: its own, and another where neither parts nor buckets hang on it."""
        both: dict[str | None, tuple[Order, Order]] = {"shuffled": ("shuffled", "file"), "file": ("file", "shuffled")}
        orders = both.get(self.order, ("chronological", "random"))
        fixed = self.split.by != "shares" or any(field.buckets and field.buckets.quantiles for field in self.fields)
        return orders[:1] if fixed else orders

    @property
    def gives_validation(self) -> bool:
        """Whether its split has a validation part of its own."""
        if self.split.by == "files":
            return any(part == "valid" for _, part in self.files)
        if self.split.shares:
            return self.split.shares[1] is not None
        return self.split.valid_from is not None or any(part == "valid" for _, part in self.split.values)


def suffix_of(path: Path) -> str:
    """A file's suffix without ``.gz``."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()
