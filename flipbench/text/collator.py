"""What a model with a PLM reads of a row beside its ids."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from flipbench.text.tokens import TokenBatch, TokenStore


class TextCollator(Protocol):
    """Makes the text of a batch, on the CPU, from tokens that are stored once a feature."""

    def lengths(self, ids: Tensor) -> Tensor:
        """Tokens [B] int64 of the rows' texts: rows of like length are read together."""
        ...

    def batch(self, ids: Tensor, training: bool) -> Any:
        """The text of ids [B, F]: a tensor, or a dataclass of tensors such as :class:`TokenBatch`.

        In ``training`` it may draw, from torch's default generator, which every step seeds by its epoch and number.
        """
        ...


@dataclass(frozen=True)
class PromptCollator:
    """Every row's whole prompt.

    Attributes:
        store: the tokens of every feature.
    """

    store: TokenStore

    def lengths(self, ids: Tensor) -> Tensor:
        return self.store.lengths(ids)

    def batch(self, ids: Tensor, training: bool) -> TokenBatch:
        return self.store.batch(ids)
