"""What is guessed of a data set, before it is written down."""

import json
import re
from dataclasses import dataclass, field

from flipbench.data.own.guess import Column, Role
from flipbench.data.own.sample import Sample
from flipbench.data.own.sources import Source

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = ("null", "true", "false")
"""What YAML takes for no text."""


def spelled(text: str) -> str:
    """A text as YAML, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def usable(name: str) -> bool:
    """Whether a description may name a column so."""
    return bool(name.strip()) and name.isprintable()


@dataclass(frozen=True)
class FieldGuess:
    """A column of the model.

    Attributes:
        column: its name.
        options: of the description, as it spells them.
        why: what they were guessed from; empty where nothing was.
    """

    column: str
    options: dict[str, str]
    why: str


@dataclass
class Draft:
    """What is guessed of a data set, and why.

    Attributes:
        keys: by file of users and of items, the column that joins it.
        notes: (what, guess, why), in the order to show them.
        split: as the description spells it.
        left_out: columns that are no fields, with the reason.
    """

    source: Source
    name: str
    rows: int
    whole: bool
    label: Role
    separator: str | None = None
    encoding: str = "utf-8"
    keys: dict[str, str] = field(default_factory=dict)
    user: Role | None = None
    item: Role | None = None
    time: Role | None = None
    order: str | None = None
    split: str = "{test: 0.1}"
    fields: list[FieldGuess] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def identifiers(self) -> set[str]:
        """The columns of the user and of the item."""
        return {role.column for role in (self.user, self.item) if role}

    def note(self, what: str, value: str, why: str) -> None:
        self.notes.append((what, value, why))


@dataclass(frozen=True)
class Tables:
    """The samples, and the columns that they show.

    Attributes:
        interactions: of the file of interactions, or of its training part.
        sides: of the tables of users and of items.
        columns: of the interactions.
        side_columns: of users and of items.
        types: RecBole's type of each column that has one.
    """

    interactions: Sample
    sides: dict[str, Sample]
    columns: dict[str, Column]
    side_columns: dict[str, dict[str, Column]]
    types: dict[str, str]

    @property
    def samples(self) -> list[Sample]:
        return [self.interactions, *self.sides.values()]
