"""What a floor is: a score so simple that every other method should beat it. Imports torch.

``flipbench.floors`` is the group of entry points that :class:`Floor` classes are registered in. They go through the
stages of every other method, but are fitted at once, to their optimum, and not by the training loop.
"""

from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.plan.settings import Grid, Settings

Float = NDArray[np.float64]


class Floor(nn.Module):
    """Base of the floors: logit = bias + Σ_f weight[id_f], in float64.

    A subclass declares ``version`` (raise it when its results change), ``settings`` and ``grid``, and defines
    :meth:`solve`.

    Attributes:
        weight: [features] float64; 0 for a feature that no row fitted on has. bias: [] float64.
        chosen: the values of its settings.
    """

    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid]

    def __init__(self, table: Table, **settings: Any) -> None:
        super().__init__()
        self.features, self._identifiers = table.num_features, {}
        for side in ("user", "item"):
            with suppress(UserError):  # only some floors read it, and say then that there is none
                self._identifiers[side] = getattr(table, f"{side}_column")
        self._table = table.name
        self.chosen = settings
        self.weight = nn.Parameter(torch.zeros(self.features, dtype=torch.float64), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)

    @property
    def user(self) -> int:
        """Column of the user's identifier; raises UserError where the data have none."""
        return self._identifier("user")

    @property
    def item(self) -> int:
        """Column of the item's identifier; raises UserError where the data have none."""
        return self._identifier("item")

    def _identifier(self, side: str) -> int:
        if side not in self._identifiers:
            raise UserError(
                f"{type(self).__name__} needs a column of {side}s, and {self._table} has none among its fields"
            )
        column: int = self._identifiers[side]
        return column

    def solve(self, rows: Rows, rate: float) -> tuple[Float, float]:
        """The weights [features] and the bias for some rows, of which the share ``rate``, in (0, 1), are clicks."""
        raise NotImplementedError

    def fit(self, rows: Rows) -> None:
        """Fit in place, the same bits every time.

        Raises:
            UserError: the rows are all clicks, or none is.
        """
        clicks = int(rows.labels.sum())
        if not 0 < clicks < len(rows):
            raise UserError(f"{clicks} of the {len(rows)} rows to fit on are clicks: nothing to tell apart")
        weight, bias = self.solve(rows, clicks / len(rows))
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.fill_(bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B] float64 of the ids [B, F]."""
        return self.bias + self.weight[ids.long()].sum(1)
