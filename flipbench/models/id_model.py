"""The contract of an ID-based CTR model: ids in, a representation ``v``, a logit out."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from flipbench.models.embedding import FeatureEmbedding
from flipbench.models.mlp import linear
from flipbench.models.out_of_vocabulary import OutOfVocabulary
from flipbench.models.precision import apply_head
from flipbench.plan.settings import Grid, Settings


class IDModel(nn.Module):
    """Base of the ID-based models.

    A subclass declares ``version`` (raise it when its results change), ``settings`` (its
    constructor's keyword arguments with their defaults' sources) and ``grid``, and defines
    :meth:`represent`. Feature ids are global over all fields; id 0 is the shared mask feature.

    Attributes:
        out_of_vocabulary: what stands for features that training never showed; None where their untrained rows do.

    Args:
        features: number of feature ids, the mask included (rows of the embedding table).
        fields: number of fields F.
        embedding_dim: D.
        representation_dim: size of ``v``.
        first_order: whether the logit has the term ``w1 . x``.
    """

    kind: ClassVar[str] = "id"
    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid]

    def __init__(
        self, features: int, fields: int, embedding_dim: int, representation_dim: int, first_order: bool = True
    ) -> None:
        super().__init__()
        self.features, self.fields, self.representation_dim = features, fields, representation_dim
        self.embed = FeatureEmbedding(features, embedding_dim)
        self.linear = FeatureEmbedding(features, 1) if first_order else None
        self.head = linear(representation_dim, 1)
        self.out_of_vocabulary: OutOfVocabulary | None = None

    def represent(self, ids: Tensor) -> Tensor:
        """The representation before the last linear layer.

        Args:
            ids: feature ids [B, F], int32 or int64.

        Returns:
            ``v`` [B, representation_dim], float32.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no 'represent'")

    def first_order(self, ids: Tensor) -> Tensor:
        """``w1 . x`` [B]; zeros where the model has no first-order term."""
        if self.linear is None:
            return ids.new_zeros(len(ids), dtype=torch.float32)
        weights: Tensor = self.linear(ids)
        return weights.sum((1, 2))

    def score(self, ids: Tensor, v: Tensor) -> Tensor:
        """Logit [B] from the ids (first-order term) and the representation ``v`` [B, R], in float32 throughout."""
        logit = apply_head(self.head, v).squeeze(1)
        return logit if self.linear is None else logit + self.first_order(ids)

    def forward(self, ids: Tensor) -> Tensor:
        """Logit [B] of the ids [B, F]."""
        if self.out_of_vocabulary:
            ids = self.out_of_vocabulary(ids)
        return self.score(ids, self.represent(ids))

    def rows_read(self, ids: Tensor) -> Tensor:
        """[n] of the tables' rows that a training step may read for the ids [B, F]; a row may be named twice."""
        rows = ids.flatten()
        return torch.cat([rows, self.out_of_vocabulary.rows.to(rows)]) if self.out_of_vocabulary else rows

    def embedding_tables(self) -> list[nn.Parameter]:
        """The tables that ``embedding_l2`` shrinks: one row a feature."""
        tables = [self.embed] if self.linear is None else [self.embed, self.linear]
        return [p for table in tables for p in table.parameters()]
