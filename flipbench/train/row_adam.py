"""Adam that touches only the rows of a large table that a batch reads, and still is Adam.

Adam moves a row that no batch reads too, as long as its first moment lives. Nothing of that has to be computed before
the row is read again: after step s, n steps without a gradient leave

    m ← β1ⁿ m,    v ← β2ⁿ v,    w ← w - lr m Σ_{j=1..n} a_j / (√v + ε x_j)
    x_j = √((1 - β2^{s+j}) / β2ʲ),    a_j = β1ʲ x_j / (1 - β1^{s+j})

The sum is the integral of 1 / (√v + ε x) over a measure that depends on s and n alone, and x hardly varies where a_j is
not negligible: Gauss' rule with two nodes gives it to float32's precision, but for the first steps, where terms are
added up. PyTorch's SparseAdam leaves the drift out, and is another method.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flipbench.models.embedding import FeatureEmbedding

EARLY_STEPS = 128
"""Steps in which the bias corrections change too fast for two nodes: after them the sum's relative error is below 1e-5
where √v is far below ε, and below 1e-7 elsewhere."""
SETTLED_STEPS = 40_000
"""Steps after which the bias corrections are 1 in float64."""
MIN_ROWS = 1 << 18
"""Rows of a table from which on the bookkeeping pays on a CPU."""
BLOCK_ROWS = 1 << 16
"""Rows brought up to date at a time: bounds the memory."""


_Moments = tuple[Tensor, Tensor]


class RowAdam(torch.optim.Adam):
    """``torch.optim.Adam`` up to rounding, at a cost that does not grow with the tables (float32, no weight decay).

    Tables are updated by rows, all other parameters as usual. A row is brought up to date before it is read: call
    :meth:`catch_up` with a batch's ids before its forward pass, and without before whole tables are read.

    Args:
        tables: embeddings with the same features; their gradients become sparse.
        rest: all other parameters.
    """

    def __init__(self, tables: Iterable[FeatureEmbedding], rest: Iterable[nn.Parameter], learning_rate: float) -> None:
        tables = list(tables)
        self.weights = [table.weight for table in tables]
        for table in tables:
            table.sparse = True
        groups: list[dict[str, Any]] = [{"params": self.weights}, {"params": list(rest)}]
        super().__init__(groups, lr=learning_rate, fused=True)
        for weight in self.weights:
            moments = {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
            self.state[weight] = {"step": torch.zeros(()), **moments}
        # The step that each row stands at, in all tables; a whole number below 2^24, 0 for one never read.
        self.state[self.weights[0]]["current"] = torch.zeros(len(self.weights[0]))
        self._read: tuple[Tensor, list[_Moments]] | None = None

    @property
    def _clock(self) -> tuple[Tensor, Tensor]:
        state = self.state[self.weights[0]]
        return state["step"], state["current"]

    @torch.no_grad()
    def catch_up(self, ids: Tensor | None = None) -> None:
        """Make up for the steps that rows have missed: those of ``ids`` (any shape, integers), or all."""
        if self._read:
            self._write(*self._read)
        if ids is not None:
            rows = torch.unique(ids.flatten().long())
            self._read = rows, self._drift(rows)
            return
        self._read = None
        now, current = self._clock
        for start in range(0, len(current), BLOCK_ROWS):
            block = current[start : start + BLOCK_ROWS]
            rows = start + ((block > 0) & (block < now)).nonzero().squeeze(1)
            self._write(rows, self._drift(rows))

    def _drift(self, rows: Tensor) -> list[_Moments]:
        """Apply the missed steps of some rows to the tables; returns their moments after them, table by table."""
        now, current = self._clock
        group = self.param_groups[0]
        beta1, beta2 = group["betas"]
        since = current.index_select(0, rows).long()
        missed = now.long() - since
        rule = (_terms if now <= EARLY_STEPS else _nodes)(since, missed, beta1, beta2)
        terms = [(a.float().unsqueeze(1), x.float().unsqueeze(1)) for a, x in rule]
        decays = [(beta ** missed.double()).float().unsqueeze(1) for beta in (beta1, beta2)]
        moments = []
        for weight in self.weights:
            m, v = (self.state[weight][name].index_select(0, rows) for name in ("exp_avg", "exp_avg_sq"))
            root, total = v.sqrt(), torch.zeros_like(v)
            for a, x in terms:
                total += a / torch.add(root, x, alpha=group["eps"])
            weight.index_copy_(0, rows, weight.index_select(0, rows).addcmul_(m, total, value=-group["lr"]))
            moments.append((m.mul_(decays[0]), v.mul_(decays[1])))
        return moments

    def _write(self, rows: Tensor, moments: list[_Moments]) -> None:
        """Keep the moments of rows that are up to date."""
        now, current = self._clock
        current.index_fill_(0, rows, now.item())
        for weight, (m, v) in zip(self.weights, moments, strict=True):
            self.state[weight]["exp_avg"].index_copy_(0, rows, m)
            self.state[weight]["exp_avg_sq"].index_copy_(0, rows, v)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the rows that were caught up with, and all other parameters."""
        if self._read is None:
            raise RuntimeError("catch_up(ids) comes before the forward pass")
        (rows, moments), self._read = self._read, None
        group, (now, _) = self.param_groups[0], self._clock
        beta1, beta2 = group["betas"]
        for weight in self.weights:
            self.state[weight]["step"] += 1
        t = now.item()
        for weight, (m, v) in zip(self.weights, moments, strict=True):
            g = torch.zeros_like(m)
            if weight.grad is not None:
                g.index_add_(0, torch.searchsorted(rows, weight.grad._indices()[0]), weight.grad._values())
            m.lerp_(g, 1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            root = v.sqrt().div_((1 - beta2**t) ** 0.5).add_(group["eps"])
            moved = weight.index_select(0, rows).addcdiv_(m, root, value=-group["lr"] / (1 - beta1**t))
            weight.index_copy_(0, rows, moved)
            weight.grad = None
        self._write(rows, moments)
        if t == EARLY_STEPS:  # from here on no row stands at a step that two nodes are too few for
            self.catch_up()
        super().step(closure)


def _terms(since: Tensor, missed: Tensor, beta1: float, beta2: float) -> Iterator[tuple[Tensor, Tensor]]:
    """(a_j, x_j), each [n] float64, of every missed step j; a_j is 0 where fewer were missed."""
    for j in range(1, int(missed.max()) + 1 if len(missed) else 1):
        at = (since + j).double()
        x = ((1 - beta2**at) / beta2**j).sqrt()
        yield torch.where(missed >= j, beta1**j * x / (1 - beta1**at), 0.0), x


def _nodes(since: Tensor, missed: Tensor, beta1: float, beta2: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Gauss' two (weight, node), each [n] float64, of the measure that has a_j at x_j."""
    tails, ratios = _tails(beta1, beta2)
    ends, n = since + missed, missed.double()
    powers = (
        tail[since.clamp(max=SETTLED_STEPS)] - ratio**n * tail[ends.clamp(max=SETTLED_STEPS)]
        for tail, ratio in zip(tails, ratios, strict=True)
    )
    total, *sums = powers  # Σ a_j x_jⁱ, i from 0 to 3; all 0 where nothing was missed
    mean, square, cube = (each / total.clamp(min=1e-30) for each in sums)
    variance = (square - mean**2).clamp(min=1e-18)
    skew = (cube - 3 * mean * square + 2 * mean**3) / variance
    half = (skew**2 / 4 + variance).sqrt()
    low, high = mean + skew / 2 - half, mean + skew / 2 + half
    share = (mean - low) / (high - low)
    yield total * (1 - share), low
    yield total * share, high


@cache
def _tails(beta1: float, beta2: float) -> tuple[list[Tensor], list[float]]:
    """Σ_{j≥1} a_j x_jⁱ after every step s up to SETTLED_STEPS, [SETTLED_STEPS + 1] float64 for each i from 0 to 3; and
    the ratios by which a term is smaller than the one before, bias corrections aside."""
    steps = np.arange(1, SETTLED_STEPS + 1)
    ratios = [beta1 * beta2 ** (-(i + 1) / 2) for i in range(4)]
    tails = []
    for i, ratio in enumerate(ratios):
        corrections = (1 - beta2**steps) ** ((i + 1) / 2) / (1 - beta1**steps)
        tail = np.full(SETTLED_STEPS + 1, ratio / (1 - ratio))  # of corrections that are all 1
        for s in range(SETTLED_STEPS - 1, -1, -1):
            tail[s] = ratio * (corrections[s] + tail[s + 1])
        tails.append(torch.from_numpy(tail))
    return tails, ratios
