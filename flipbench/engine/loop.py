"""The epochs of every training with labels: order, steps, early stopping, checkpoints."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.streams import Streams, seed_device

LOOK = 16
"""Steps between looks at how far the epoch is."""


class DivergedError(RuntimeError):
    """The training loss is no longer a number."""


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; ``auc`` and ``logloss`` are of the validation part, None without one."""

    epoch: int
    loss: float
    auc: float | None = None
    logloss: float | None = None


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

    def exhausted(self, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best; never without validation."""
        last = self.history[-1] if self.history else None
        return last is not None and last.auc is not None and last.epoch - self.best.epoch >= patience


Progress = Callable[[int, float, Epoch | None], None]
"""Called with (epoch, share of it done, the last finished epoch's figures)."""


@dataclass(frozen=True)
class Schedule:
    """How long: ``rows`` an epoch, ``batch_size`` of them a step, ``patience`` epochs without a better AUC."""

    rows: int
    batch_size: int
    max_epochs: int
    patience: int


def train_epochs(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    schedule: Schedule,
    streams: Streams,
    device: torch.device,
    *,
    valid: Rows | None,
    scores: Callable[[Rows], NDArray[np.float32]],
    before_step: Callable[[], None] | None = None,
    rows_on: torch.device | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train ``model`` in place; every draw is a function of seed, epoch and step, so that resuming is bit-exact.

    Args:
        loss_of: rows [b] int64 to their mean loss.
        valid: rows whose AUC stops the training; without them it lasts exactly ``max_epochs``.
        scores: logits of rows, in evaluation mode.
        before_step: called between backward and step.
        rows_on: where ``loss_of`` wants its rows; ``device`` unless given.

    Raises:
        DivergedError: the loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    bounds = batch_bounds(schedule.rows, schedule.batch_size)
    fitted, start_epoch, start_step = Fitted(), 0, 0
    best: dict[str, Tensor] | None = None
    total = torch.zeros((), device=device, dtype=torch.float64)

    if checkpoint and (saved := checkpoint.load()):
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        fitted = Fitted([Epoch(**e) for e in saved["history"]])
        start_epoch, start_step, best = saved["epoch"], saved["step"], saved["best"]
        total.copy_(saved["total"])

    def save(epoch: int, step: int) -> None:
        if checkpoint:
            check_finite(model, total, epoch, step)
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "history": [asdict(e) for e in fitted.history],
                    "epoch": epoch,
                    "step": step,
                    "best": best,
                    "total": total,
                }
            )

    for epoch in range(start_epoch, schedule.max_epochs):
        if fitted.exhausted(schedule.patience):
            break
        order = torch.randperm(schedule.rows, generator=streams.generator("order", epoch)).to(rows_on or device)
        model.train()
        for step in range(start_step, len(bounds)):
            rows = order[slice(*bounds[step])]
            seed_device(device, streams.seed_of("dropout", epoch, step))
            loss = loss_of(rows)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if before_step:
                before_step()
            optimiser.step()
            total += loss.detach() * len(rows)
            if checkpoint and checkpoint.due():
                save(epoch, step + 1)
            if progress and step % LOOK == LOOK - 1:
                progress(epoch, (step + 1) / len(bounds), fitted.history[-1] if fitted.history else None)
        start_step = 0
        check_finite(model, total, epoch, len(bounds))
        fitted.history.append(Epoch(epoch, total.item() / schedule.rows, *_figures(valid, scores)))
        total.zero_()
        if valid is not None and fitted.best.epoch == epoch:
            best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        save(epoch + 1, 0)
        if progress:
            progress(epoch, 1.0, fitted.history[-1])
    if best is not None:
        model.load_state_dict(best)
    return fitted


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Batches as (start, stop). A last batch of one row joins its neighbour: batch norm needs two."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


def check_finite(model: nn.Module, total: Tensor, epoch: int, step: int) -> None:
    """Look at the summed loss, and at the weights, which are a step ahead of it.

    Raises:
        DivergedError: one is not finite.
    """
    where = f"epoch {epoch + 1}, by step {step}"
    if not math.isfinite(total.item()):
        raise DivergedError(f"the training loss is {total.item()} in {where}")
    check_weights(model, where)


def check_weights(model: nn.Module, where: str) -> None:
    """Raises DivergedError where a weight is not finite; ``where`` says how far training was."""
    for name, weights in model.named_parameters():
        if not torch.isfinite(weights).all():
            raise DivergedError(f"the weights {name} are not finite in {where}")


def _figures(valid: Rows | None, scores: Callable[[Rows], NDArray[np.float32]]) -> tuple[float | None, float | None]:
    if valid is None:
        return None, None
    logits = scores(valid)
    return metrics.auc(valid.labels, logits), metrics.logloss(valid.labels, logits)
