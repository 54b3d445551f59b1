"""The prepared table: every data set in one form, on disk and in memory."""

from __future__ import annotations  # numpy's names below are for the reader: listing data sets never loads it

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Field:
    """A column of the table.

    The first user field identifies the user, the first item field the item.

    Attributes:
        name: identifier (``movie_id``).
        words: the field's name in a prompt (``movie id``).
        side: whether it describes the user or the item.
        verbalizer: (value, words) of values that a prompt words otherwise than the table. They are no part of the
            fingerprint: ID-based results do not depend on them.
    """

    name: str
    words: str
    side: Literal["user", "item"]
    verbalizer: tuple[tuple[str, str], ...] = ()


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
    """

    name: str
    fields: tuple[Field, ...]
    ids: NDArray[np.int32]
    labels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    folder: Path
    fingerprint: str
    meta: dict[str, Any]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_features(self) -> int:
        """Rows of an embedding table: every feature id and the mask."""
        return int(self.offsets[-1])

    @property
    def user_column(self) -> int:
        """Column of the user's identifier."""
        return [field.side for field in self.fields].index("user")

    @property
    def item_column(self) -> int:
        """Column of the item's identifier."""
        return [field.side for field in self.fields].index("item")
