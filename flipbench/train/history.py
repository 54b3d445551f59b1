"""How long a training lasts, and what it leaves epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flipbench.train.config import TrainConfig
from flipbench.train.distributed import world_size
from flipbench.train.lr_schedule import plateau_factors


@dataclass(frozen=True)
class Epoch:
    """A finished epoch.

    Attributes:
        epoch: its number, from 0.
        figures: means over its rows of every loss by name (``loss`` is what is minimised), and what was measured after
            it: ``auc`` and ``logloss`` of the validation part (None without one), or ``learning_rate``.
    """

    epoch: int
    figures: Mapping[str, float | None]

    @property
    def auc(self) -> float | None:
        """Of the validation part; None without one."""
        return self.figures.get("auc")

    def as_dict(self) -> dict[str, Any]:
        """``epoch`` and the figures in one mapping, as a run's metrics hold it."""
        return {"epoch": self.epoch, **self.figures}


@dataclass
class Fitted:
    """What a training leaves; the model holds the best epoch's weights (the last's without validation)."""

    history: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch of highest validation AUC, the first of equals; the last epoch without validation."""
        if self.history[-1].auc is None:
            return self.history[-1]
        return max(self.history, key=lambda e: (e.auc or 0.0, -e.epoch))

    @property
    def last(self) -> Epoch | None:
        """The last finished epoch; None before the first."""
        return self.history[-1] if self.history else None

    def should_stop(self, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best; never without validation."""
        last = self.last
        return last is not None and last.auc is not None and last.epoch - self.best.epoch >= patience


@dataclass(frozen=True)
class Schedule:
    """How long: ``rows`` an epoch, ``batch_size`` of them a step, ``patience`` epochs without a better AUC.

    Attributes:
        on_plateau: whether epochs without a better AUC lower the learning rates.
        rate_factors: of each epoch, where they are known beforehand: what the learning rates are multiplied by.
    """

    rows: int
    batch_size: int
    max_epochs: int
    patience: int = 1
    on_plateau: bool = False
    rate_factors: Sequence[float] = ()

    @classmethod
    def of(
        cls, config: TrainConfig, rows: int, epochs: int | None = None, rate_factors: Sequence[float] = ()
    ) -> "Schedule":
        """That of a configuration, with as many ``epochs`` at most instead of its own where they are given."""
        most, on_plateau = epochs or config.max_epochs, config.decay == "plateau"
        return cls(rows, config.batch_size, most, config.patience, on_plateau, rate_factors)

    def rate_factor(self, fitted: Fitted) -> float | None:
        """What the learning rates are multiplied by in the epoch after those finished; None: they are set elsewhere."""
        if self.rate_factors:
            return self.rate_factors[len(fitted.history)]
        return plateau_factors([epoch.auc or 0.0 for epoch in fitted.history])[-1] if self.on_plateau else None

    @cached_property
    def batches(self) -> list[tuple[int, int]]:
        """The batches of an epoch as (start, stop), each of a row or more for every process."""
        bounds = batch_bounds(self.rows, self.batch_size)
        return [(start, stop) for start, stop in bounds if stop - start >= world_size()]


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Batches as (start, stop). A last batch of one row joins its neighbour: batch norm needs two."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))
