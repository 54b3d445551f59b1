"""The one training loop: order, steps, early stopping, checkpoints, resuming, divergence and progress.

Trainings with labels (:mod:`flipbench.train.id_models`, :mod:`flipbench.train.finetune`) and without
(:mod:`flipbench.train.pretrain`) differ in how a step computes its losses and gradients, and in what is measured after
an epoch. Every draw is a function of seed, epoch and step, so that a training goes on from a checkpoint bit for bit.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flipbench.train.checkpoint import Checkpoint
from flipbench.train.distributed import rank, world_size
from flipbench.train.history import Epoch, Fitted, Schedule
from flipbench.train.rng import Streams

PROGRESS_SECONDS = 1.0
"""Between looks at the running loss, each of which waits for the device, and reports of progress."""

CHECKPOINT_FORMAT = 2
"""Of the state in a checkpoint; one of another format is left alone."""


class DivergedError(RuntimeError):
    """A training loss or a weight is no longer a number."""


Progress = Callable[[int, float, Epoch | None], None]
"""Called with (epoch, share of it done, the last finished epoch)."""

TakeStep = Callable[[Tensor, int, int], tuple[dict[str, Tensor], int]]
"""Given the numbers [b] int64 of a batch's rows, epoch and step: leaves every parameter's gradient, and returns the
mean losses by name and the number of rows that they are means of."""


class Training:
    """Where one training stands, and its checkpoint, from which it goes on.

    Args:
        measure: further figures of the epoch just trained.
        checkpoint: where to save; written by the first process alone.

    Attributes:
        epoch: the one to train next or now. step: of it, the first that is still to take.
        sums: float64 scalars on the device, each loss summed over the ``rows`` of this epoch so far: no step waits.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        device: torch.device,
        *,
        measure: Callable[[], Mapping[str, float | None]],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule, self.device = model, optimizer, schedule, device
        self.measure, self.checkpoint = measure, checkpoint
        self.fitted, self.epoch, self.step = Fitted(), 0, 0
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self.sums: dict[str, Tensor] = {}
        self.rows = 0
        self._best: dict[str, Tensor] | None = None
        self._saved = "none"
        if checkpoint and (state := checkpoint.load()) and state.get("format") == CHECKPOINT_FORMAT:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fitted = Fitted([Epoch(epoch, figures) for epoch, figures in state["history"]])
        self.epoch, self.step, self._best = state["epoch"], state["step"], state["best"]
        self.sums = {name: total.to(self.device) for name, total in state["sums"].items()}
        self.rows = state["rows"]
        self._saved = self._position()

    @property
    def finished(self) -> bool:
        """Whether it has had its epochs, or ``patience`` of them without a better AUC."""
        return self.epoch >= self.schedule.max_epochs or self.fitted.should_stop(self.schedule.patience)

    def start_epoch(self) -> None:
        """Set the learning rates, where they depend on the epochs before; the same again after a checkpoint."""
        if (factor := self.schedule.rate_factor(self.fitted)) is not None:
            for group, rate in zip(self.optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = rate * factor

    def add(self, losses: Mapping[str, Tensor], rows: int) -> None:
        """Count a step's mean losses over ``rows`` rows."""
        for name, loss in losses.items():
            weighted = (loss.detach() * rows).double()
            self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted
        self.rows += rows

    def save(self) -> None:
        """Write the checkpoint, if there is one.

        Raises:
            DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
        """
        if self.checkpoint and rank() == 0:
            self.check_finite(weights=True)
            self.checkpoint.save(
                {
                    "format": CHECKPOINT_FORMAT,
                    "model": copy_of_state(self.model),  # a view would be written with all that it is a view of
                    "optimizer": self.optimizer.state_dict(),
                    "history": [(e.epoch, dict(e.figures)) for e in self.fitted.history],
                    "epoch": self.epoch,
                    "step": self.step,
                    "best": self._best,
                    "sums": self.sums,
                    "rows": self.rows,
                }
            )
            self._saved = self._position()

    def close_epoch(self) -> Epoch:
        """The figures of the epoch just trained; keeps its weights where it is the best.

        Raises:
            DivergedError: a loss or a weight is not finite.
        """
        self.check_finite(weights=True)
        closed = Epoch(self.epoch, {**self._mean_losses(), **self.measure()})
        self.fitted.history.append(closed)
        if closed.auc is not None and self.fitted.best is closed:
            self._best = {name: tensor.cpu() for name, tensor in copy_of_state(self.model).items()}
        self.sums, self.rows = {}, 0
        self.epoch, self.step = self.epoch + 1, 0
        self.save()
        return closed

    def finish(self) -> Fitted:
        """Put the best epoch's weights back into the model."""
        if self._best is not None:
            self.model.load_state_dict(self._best)
        return self.fitted

    def check_finite(self, weights: bool = False) -> None:
        """Look at the losses so far, and at the weights, which are a step ahead, where asked.

        Raises:
            DivergedError: one is not finite; says where, and of which step the last good checkpoint is.
        """
        where = f"epoch {self.epoch + 1}, by step {self.step}; last good checkpoint: {self._saved}"
        for name, total in self.sums.items():
            if not math.isfinite(total.item()):
                raise DivergedError(f"the training loss '{name}' is {total.item()} in {where}")
        if weights:
            check_weights(self.model, where)

    def _mean_losses(self) -> dict[str, float]:
        totals = torch.stack(list(self.sums.values()))
        if world_size() > 1:
            dist.all_reduce(totals)
            totals /= world_size()
        return dict(zip(self.sums, (totals / self.rows).tolist(), strict=True))

    def _position(self) -> str:
        return f"epoch {self.epoch + 1}, step {self.step}"


def train(
    training: Training,
    take_step: TakeStep,
    streams: Streams,
    *,
    dropout_stream: tuple[int, ...] = (),
    progress: Progress | None = None,
) -> Fitted:
    """Train to the end, from where ``training`` stands; its model is trained in place.

    Args:
        dropout_stream: further parts of the seed of every step's dropout; a process's number, where several train.

    Raises:
        DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    schedule = training.schedule
    reported = time.monotonic()
    while not training.finished:
        epoch = training.epoch
        order = torch.randperm(schedule.rows, generator=streams.generator("order", epoch))
        training.start_epoch()
        training.model.train()
        for step in range(training.step, len(schedule.batches)):
            torch.manual_seed(streams.seed_of("dropout", epoch, step, *dropout_stream))
            losses, rows = take_step(order[slice(*schedule.batches[step])], epoch, step)
            training.optimizer.step()
            training.add(losses, rows)
            training.step = step + 1
            if training.checkpoint and training.checkpoint.due():
                training.save()
            if progress and time.monotonic() - reported >= PROGRESS_SECONDS:
                training.check_finite()
                progress(epoch, training.step / len(schedule.batches), training.fitted.last)
                reported = time.monotonic()
        closed = training.close_epoch()
        if progress:
            progress(epoch, 1.0, closed)
    return training.finish()


def copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, in memory of its own."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def check_weights(model: nn.Module, where: str) -> None:
    """Raises DivergedError where a weight is not finite; ``where`` says how far training was."""
    weights = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.numel()}
    # NaN is its own extreme; `isfinite` would make tensors as large as the tables, and wait for a GPU at every one
    extremes = [torch.stack(torch.aminmax(tensor)).double() for tensor in weights.values()]
    for name, finite in zip(weights, torch.isfinite(torch.stack(extremes)).all(1).tolist(), strict=True):
        if not finite:
            raise DivergedError(f"the weights {name} are not finite in {where}")
