"""The prepared table: every data set in one form, on disk and in memory."""

from __future__ import annotations  # numpy's names below are for the reader: listing data sets never loads it

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flipbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Side = Literal["user", "item", "context"]
"""What a field describes; ``context`` is what is known of a row beside its user and item (a day, a device)."""


@dataclass(frozen=True)
class Field:
    """A column of the table.

    The first user field identifies the user, the first item field the item, unless a :class:`Layout` says otherwise.

    Attributes:
        name: identifier (``movie_id``).
        words: the field's name in a prompt (``movie id``).
        side: what it describes.
        verbalizer: (value, words) of values that a prompt words otherwise than the table. They are no part of the
            fingerprint: ID-based results do not depend on them.
    """

    name: str
    words: str
    side: Side
    verbalizer: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Layout:
    """What a table that a user described has its own way.

    Attributes:
        user, item: columns of the identifiers; None where no field is one.
        clustered: whether rows are known to be of users, which tests then resample; else they resample rows.
        test, valid: shares of the rows, in their order; ``valid`` is None where no validation part is given.
        parts: in place of shares, the rows of the training part without validation, of the validation part (0: none is
            given) and of the test part, which lie in this order.
    """

    user: int | None
    item: int | None
    clustered: bool
    test: Fraction = Fraction(1, 10)
    valid: Fraction | None = None
    parts: tuple[int, int, int] | None = None

    def sizes(self, rows: int) -> tuple[int, int]:
        """Of so many rows, those of the training part, and those of them before the validation part that is given."""
        if self.parts:
            return self.parts[0] + self.parts[1], self.parts[0]
        training = int(rows * (1 - self.test))
        return training, training if self.valid is None else int(rows * (1 - self.test - self.valid))

    def as_json(self) -> dict[str, Any]:
        """What the fingerprint of the table is of, beside its arrays."""
        shares = {"test": str(self.test), "valid": self.valid and str(self.valid)}
        whole = {"user": self.user, "item": self.item, "clustered": self.clustered}
        return whole | ({"parts": list(self.parts)} if self.parts else {"shares": shares})

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Layout:
        """What :meth:`as_json` gave."""
        first = content["user"], content["item"], content["clustered"]
        if parts := content.get("parts"):
            return cls(*first, parts=(parts[0], parts[1], parts[2]))
        shares = content["shares"]
        return cls(*first, Fraction(shares["test"]), shares["valid"] and Fraction(shares["valid"]))


@dataclass(frozen=True)
class Table:
    """A data set prepared: rows of global feature ids in canonical order (chronological where times exist).

    Attributes:
        name: registered name (``movielens-1m``).
        fields: F columns.
        ids: [N, F] int32, memory-mapped; every field has its own range of ids, 0 is the shared mask feature
            and occurs in no row.
        labels: [N] uint8, 0 or 1.
        offsets: [F + 1] int64; field f owns ids ``offsets[f] <= id < offsets[f + 1]``; ``offsets[0] == 1``.
        folder: its folder on disk.
        fingerprint: SHA-256 of the content (fields, ids, labels, feature values), equal on every machine.
        meta: what its ``prepare`` notes beside the arrays (first and last day; a planted table's Bayes AUC).
        layout: of a described data set; None: the first 90 % train, and the first field of a side identifies it.
        users: [N] int32, whose rows these are, where that is no field.
    """

    name: str
    fields: tuple[Field, ...]
    ids: NDArray[np.int32]
    labels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    folder: Path
    fingerprint: str
    meta: dict[str, Any]
    layout: Layout | None = None
    users: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_features(self) -> int:
        """Rows of an embedding table: every feature id and the mask."""
        return int(self.offsets[-1])

    @property
    def user_column(self) -> int:
        """Column of the user's identifier; raises UserError where no field is one."""
        return self._identifier("user", self.layout.user if self.layout else None)

    @property
    def item_column(self) -> int:
        """Column of the item's identifier; raises UserError where no field is one."""
        return self._identifier("item", self.layout.item if self.layout else None)

    def _identifier(self, side: Literal["user", "item"], column: int | None) -> int:
        if self.layout is None:
            return [field.side for field in self.fields].index(side)
        if column is None:
            raise UserError(f"{self.name}: no field is declared as '{side}' in the file that describes it")
        return column
