"""A row's prompt in two: what it says of the user, and what of the item."""

from dataclasses import dataclass

from torch import Tensor

from flipbench.data.table import Table
from flipbench.text.prompt import halves
from flipbench.text.tokens import TokenBatch, TokenStore


@dataclass(frozen=True)
class SideTexts:
    """The texts of one side of B rows.

    Attributes:
        text: [B, L], sorted by length.
        place: [B] int64, where each row's text stands in it.
    """

    text: TokenBatch
    place: Tensor


@dataclass(frozen=True)
class Sides:
    """The user's half and the item's half of a row's prompt, each a sentence of its own (CLS ... SEP).

    Attributes:
        store: the tokens of every feature.
        columns: the fields of the user, with those of the row's context, and those of the item. A half is the fields'
            pieces as they stand in the whole prompt: where a tokenizer marks a word after a space, the item's first
            word has one before it.
    """

    store: TokenStore
    columns: tuple[list[int], list[int]]

    @classmethod
    def of(cls, store: TokenStore, table: Table) -> "Sides":
        return cls(store, halves(table))

    def lengths(self, ids: Tensor) -> Tensor:
        user, item = (self.store.lengths(ids[:, columns]) for columns in self.columns)
        return user + item

    def batch(self, ids: Tensor, training: bool) -> tuple[SideTexts, SideTexts]:
        user, item = (self.side(ids[:, columns]) for columns in self.columns)
        return user, item

    def side(self, ids: Tensor) -> SideTexts:
        """The texts of one side's ids [B, fields of the side]."""
        by_length = self.store.lengths(ids).argsort(stable=True)
        return SideTexts(self.store.batch(ids[by_length]), by_length.argsort())
