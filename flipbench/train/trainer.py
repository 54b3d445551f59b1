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
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.rng import Streams, seed_device

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

    @property
    def last(self) -> Epoch | None:
        """The last finished epoch; None before the first."""
        return self.history[-1] if self.history else None

    def exhausted(self, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best; never without validation."""
        last = self.last
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


class Training:
    """Where one training stands, what it has found so far, and its checkpoint, from which it goes on.

    Attributes:
        epoch: the one to train next or now. step: of it, the first that is still to take.
        total: float64 scalar, the loss summed over the rows of this epoch so far.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        device: torch.device,
        *,
        valid: Rows | None,
        scores: Callable[[Rows], NDArray[np.float32]],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.valid, self.scores, self.checkpoint = valid, scores, checkpoint
        self.fitted, self.epoch, self.step = Fitted(), 0, 0
        self.total = torch.zeros((), device=device, dtype=torch.float64)
        self._best: dict[str, Tensor] | None = None
        if checkpoint and (saved := checkpoint.load()):
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            self.fitted = Fitted([Epoch(**e) for e in saved["history"]])
            self.epoch, self.step, self._best = saved["epoch"], saved["step"], saved["best"]
            self.total.copy_(saved["total"])

    @property
    def over(self) -> bool:
        """Whether it has had its epochs, or ``patience`` of them without a better AUC."""
        return self.epoch >= self.schedule.max_epochs or self.fitted.exhausted(self.schedule.patience)

    def save(self) -> None:
        """Write the checkpoint, if there is one.

        Raises:
            DivergedError: the loss or a weight is not finite; the checkpoint is of an earlier, finite step.
        """
        if self.checkpoint:
            check_finite(self.model, self.total, self.epoch, self.step)
            self.checkpoint.save(
                {
                    "model": copies(self.model),  # a view would be written with all that it is a view of
                    "optimizer": self.optimizer.state_dict(),
                    "history": [asdict(e) for e in self.fitted.history],
                    "epoch": self.epoch,
                    "step": self.step,
                    "best": self._best,
                    "total": self.total,
                }
            )

    def close_epoch(self) -> Epoch:
        """The figures of the epoch just trained; keeps its weights where it is the best.

        Raises:
            DivergedError: the loss or a weight is not finite.
        """
        check_finite(self.model, self.total, self.epoch, self.step)
        closed = Epoch(self.epoch, self.total.item() / self.schedule.rows, *_figures(self.valid, self.scores))
        self.fitted.history.append(closed)
        if self.valid is not None and self.fitted.best is closed:
            self._best = {name: tensor.cpu() for name, tensor in copies(self.model).items()}
        self.total.zero_()
        self.epoch, self.step = self.epoch + 1, 0
        self.save()
        return closed

    def finish(self) -> Fitted:
        """Put the best epoch's weights back into the model."""
        if self._best is not None:
            self.model.load_state_dict(self._best)
        return self.fitted


def train_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    gradients: Callable[[Tensor], Tensor],
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
        gradients: rows [b] int64 to their mean loss; leaves every parameter's gradient of it.
        valid: rows whose AUC stops the training; without them it lasts exactly ``max_epochs``.
        scores: logits of rows, in evaluation mode.
        before_step: called between backward and step.
        rows_on: where ``gradients`` wants its rows; ``device`` unless given.

    Raises:
        DivergedError: the loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    bounds = batch_bounds(schedule.rows, schedule.batch_size)
    training = Training(model, optimizer, schedule, device, valid=valid, scores=scores, checkpoint=checkpoint)
    while not training.over:
        epoch = training.epoch
        order = torch.randperm(schedule.rows, generator=streams.generator("order", epoch)).to(rows_on or device)
        model.train()
        for step in range(training.step, len(bounds)):
            rows = order[slice(*bounds[step])]
            seed_device(device, streams.seed_of("dropout", epoch, step))
            loss = gradients(rows)
            if before_step:
                before_step()
            optimizer.step()
            training.total += loss * len(rows)
            training.step = step + 1
            if checkpoint and checkpoint.due():
                training.save()
            if progress and step % LOOK == LOOK - 1:
                progress(epoch, training.step / len(bounds), training.fitted.last)
        closed = training.close_epoch()
        if progress:
            progress(epoch, 1.0, closed)
    return training.finish()


def backpropagate(loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """Leave every parameter's gradient of the loss; returns the loss alone."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Batches as (start, stop). A last batch of one row joins its neighbour: batch norm needs two."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


def copies(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, in memory of its own."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


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
    weights = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.numel()}
    # NaN is its own extreme; `isfinite` would make tensors as large as the tables, and wait for a GPU at every one
    extremes = [torch.stack(torch.aminmax(tensor)).double() for tensor in weights.values()]
    for name, finite in zip(weights, torch.isfinite(torch.stack(extremes)).all(1).tolist(), strict=True):
        if not finite:
            raise DivergedError(f"the weights {name} are not finite in {where}")


def _figures(valid: Rows | None, scores: Callable[[Rows], NDArray[np.float32]]) -> tuple[float | None, float | None]:
    if valid is None:
        return None, None
    logits = scores(valid)
    return metrics.auc(valid.labels, logits), metrics.logloss(valid.labels, logits)
