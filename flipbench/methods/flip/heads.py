"""The layers on top of the two encoders in pretraining; torch's own initialisation, as in the released code."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softmax

from flipbench.methods.flip.noise import frequencies
from flipbench.models.embedding import FeatureEmbedding
from flipbench.models.precision import full_precision, widened

DROPOUT = 0.2
"""In the residual projection and the MLM head (code)."""


class LinearProjection(nn.Sequential):
    """z = LayerNorm(W x + b) [B, outputs] of x [B, inputs] (IV-C5: "linear layers followed by a normalization")."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, outputs), nn.LayerNorm(outputs))


class ResidualProjection(nn.Module):
    """z = LayerNorm(a + Dropout(W2 GELU(a) + b2)), a = W1 x + b1; [B, outputs] of x [B, inputs] (code)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, outputs)
        self.second = nn.Linear(outputs, outputs)
        self.dropout = nn.Dropout(DROPOUT)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        z: Tensor = self.norm(a + self.dropout(self.second(gelu(a))))
        return z


class CrossAttention(nn.Module):
    """u = softmax(q wᵀ / √D_text) w, one query a row, w as keys and values alike (Eq. 7).

    In float32 whatever autocast says: without the division scores reach hundreds, where bfloat16 knows whole numbers
    only and a step of one is a factor of e.

    Args:
        table_dim: D_tab. text_dim: D_text.
        norm: q = LayerNorm(Q v + b) (code) instead of q = Q v.
        scale: whether to divide by √D_text.
    """

    def __init__(self, table_dim: int, text_dim: int, norm: bool, scale: bool) -> None:
        super().__init__()
        query = nn.Linear(table_dim, text_dim, bias=norm)
        self.query = nn.Sequential(query, nn.LayerNorm(text_dim)) if norm else query
        self.factor = text_dim**-0.5 if scale else 1.0

    def forward(self, v: Tensor, w: Tensor, attended: Tensor | None) -> Tensor:
        """u [B, D_text] of v [B, D_tab] and w [B, L, D_text]; ``attended`` [B, L] bool, None for all."""
        with full_precision(w):
            v, w = widened(v), widened(w)
            q: Tensor = self.query(v).unsqueeze(1)
            scores = torch.bmm(q, w.transpose(1, 2)) * self.factor
            if attended is not None:
                scores = scores.masked_fill(~attended.unsqueeze(1), -math.inf)
            return torch.bmm(softmax(scores, dim=2), w).squeeze(1)


class FieldMLPs(nn.Module):
    """An independent MLP g^(f) for each field: linear, ReLU, linear (Eq. 8).

    Args:
        inputs: size of x. fields: F. hidden: width between. outputs: d.
    """

    def __init__(self, inputs: int, fields: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Parameter(_uniform(inputs, fields, inputs, hidden))
        self.first_bias = nn.Parameter(_uniform(inputs, fields, 1, hidden))
        self.second = nn.Parameter(_uniform(hidden, fields, hidden, outputs))
        self.second_bias = nn.Parameter(_uniform(hidden, fields, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """h [B, F, d] of x [B, inputs]."""
        inner = torch.matmul(x, self.first) + self.first_bias
        return (torch.matmul(inner.relu(), self.second) + self.second_bias).transpose(0, 1)


class FieldLinear(nn.Linear):
    """One linear map whose f-th slice serves field f (code): h [B, F, d] of x [B, inputs]."""

    def __init__(self, inputs: int, fields: int, outputs: int) -> None:
        super().__init__(inputs, fields * outputs)
        self.fields = fields

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), self.fields, -1)


class FeatureOutput(nn.Module):
    """Logits of features: c_j = h · e'_j + b'_j, with a table of its own (code; Eq. 8 writes the product only).

    With ``nce``, b' starts at ln q_j + ln M and -ln M - ln q_j - ln K is added: at the start every feature has
    the logit h · e'_j - ln K, however frequent. Without, b' starts at 0.

    Args:
        counts: [M] int64, see :func:`flipbench.methods.flip.noise.feature_counts`.
        dim: d. noise: K.
    """

    offset: Tensor

    def __init__(self, counts: Tensor, dim: int, noise: int, nce: bool) -> None:
        super().__init__()
        features = len(counts)
        self.table = FeatureEmbedding(features, dim)
        self.bias = FeatureEmbedding(features, 1)
        relative = (frequencies(counts) * features).log() if nce else torch.zeros(features)
        nn.init.uniform_(self.table.weight, -(dim**-0.5), dim**-0.5)
        with torch.no_grad():
            self.bias.weight.copy_(relative.unsqueeze(1))
        offset = -relative - math.log(noise) if nce else relative
        self.register_buffer(
            "offset", offset.to(self.bias.weight.dtype), persistent=False
        )  # of the counts, not learned

    def forward(self, h: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, n, C] float32 of the candidates [B, n, C] for the predictions h [B, n, d]."""
        scores = (self.table(candidates) * widened(h).unsqueeze(2)).sum(3)
        logits: Tensor = scores + self.bias(candidates).squeeze(3) + self.offset[candidates]
        return logits


class TokenOutput(nn.Sequential):
    """Logits over the vocabulary: W4 Dropout(tanh(W3 x + b3)) + b4, [m, V] of x [m, inputs] (code; Eq. 5)."""

    def __init__(self, inputs: int, hidden: int, vocabulary: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(hidden, vocabulary))


def _uniform(fan_in: int, *shape: int) -> Tensor:
    """nn.Linear's initialisation, for several at once."""
    return torch.empty(*shape).uniform_(-(fan_in**-0.5), fan_in**-0.5)
