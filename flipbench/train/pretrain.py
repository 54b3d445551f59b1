"""The epochs of every training without labels: order, steps, losses by name, checkpoints."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flipbench.errors import UserError
from flipbench.models.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import FromSettings
from flipbench.train.distributed import rank, world_size
from flipbench.train.lr_schedule import scheduled
from flipbench.train.move import move
from flipbench.train.rng import Streams, seed_device
from flipbench.train.trainer import DivergedError, batch_bounds, check_weights

LOOK = 1.0
"""Seconds between looks at the running losses; a look waits for the device."""


@dataclass(frozen=True)
class PretrainRecipe(FromSettings):
    """How a model is pretrained, with AdamW.

    Attributes:
        learning_rate: at the start. weight_decay: on every parameter.
        batch_size: rows a step, over all processes.
        epochs: exactly so many.
        precision: ``bfloat16``: autocast where the model leaves it on.
        decay: ``epoch-cosine``: half a cosine stepped once an epoch, without warm-up; the others are stepped with
            every batch. warmup: share of the steps over which the rate rises before those.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    precision: Precision = "float32"
    decay: Literal["epoch-cosine", "linear", "cosine"] = "epoch-cosine"
    warmup: float = 0.0


class PretrainModel(nn.Module):
    """Base of what is pretrained: ``forward`` takes a batch's fields by name and gives losses by name, float32 scalars.

    Its parts that a finetuning starts from are named ``id_model`` and ``encoder``.
    """

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The loss to minimise."""
        first, *rest = losses.values()
        return sum(rest, start=first)


@dataclass(frozen=True)
class PretrainEpoch:
    """One epoch's mean losses over its rows; an objective that is off is None.

    Attributes:
        loss: the weighted sum that is minimised (Eq. 14).
    """

    epoch: int
    learning_rate: float
    loss: float
    mlm: float | None = None
    mtm: float | None = None
    icl: float | None = None


Progress = Callable[[int, float, PretrainEpoch], None]
"""Called with (epoch, share of it done, the losses so far in it)."""


Draw = Callable[[Tensor, int, int, slice], Any]
"""Given the ids [B, F] of the global batch, epoch, step and this process's share of the rows: its batch, a dataclass of
tensors on the CPU. Every draw is a function of seed, epoch and step."""


def pretrain(
    model: PretrainModel,
    ids: NDArray[np.int32],
    draw: Draw,
    recipe: PretrainRecipe,
    streams: Streams,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> list[PretrainEpoch]:
    """Pretrain ``model`` in place; it then holds the last epoch's weights. Returns every epoch's figures.

    With ``checkpoint``: continues where the file says, bit for bit. Every draw (order, masks, dropout) is a function
    of seed, epoch and step. Where processes have joined a group, each takes its share of every batch and holds the
    same weights after every step.

    Args:
        ids: [N, F] of the rows to pretrain on; their labels are not needed.
        draw: makes the batches.

    Raises:
        UserError: the device cannot do the recipe's precision, or the processes cannot share a batch equally.
        DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(recipe.precision, device)
    if recipe.batch_size % world_size():
        raise UserError(f"batch_size: {recipe.batch_size} rows do not divide among {world_size()} processes")
    model.to(device).train()
    rows = torch.from_numpy(ids)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    bounds = [b for b in batch_bounds(len(rows), recipe.batch_size) if b[1] - b[0] >= world_size()]
    rates = None
    if recipe.decay != "epoch-cosine":
        rates = scheduled(optimizer, len(bounds) * recipe.epochs, recipe.warmup, recipe.decay)
    history: list[PretrainEpoch] = []
    start_epoch, start_step = 0, 0
    sums = Sums(device)

    if checkpoint and (saved := checkpoint.load()):
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = [PretrainEpoch(**e) for e in saved["history"]]
        start_epoch, start_step = saved["epoch"], saved["step"]
        sums.load(saved["sums"])
        sums.saved = f"epoch {start_epoch + 1}, step {start_step}"

    def save(epoch: int, step: int) -> None:
        if not checkpoint or rank() > 0:
            return
        if step:
            sums.check_finite(epoch, step, model)
        checkpoint.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": [asdict(e) for e in history],
                "epoch": epoch,
                "step": step,
                "sums": sums.state(),
            }
        )
        sums.saved = f"epoch {epoch + 1}, step {step}"

    parallel = DistributedDataParallel(model, static_graph=True) if world_size() > 1 else model
    looked = time.monotonic()
    for epoch in range(start_epoch, recipe.epochs):
        if recipe.decay == "epoch-cosine":
            for group in optimizer.param_groups:
                group["lr"] = cosine(recipe.learning_rate, epoch, recipe.epochs)
        order = torch.randperm(len(rows), generator=streams.generator("order", epoch))
        for step in range(start_step, len(bounds)):
            chosen = rows[order[slice(*bounds[step])]]
            share = share_of(len(chosen))
            batch = move(draw(chosen, epoch, step, share), device)
            seed_device(device, streams.seed_of("dropout", epoch, step, rank()))
            with autocast(recipe.precision, device):
                losses: dict[str, Tensor] = parallel(**{f.name: getattr(batch, f.name) for f in fields(batch)})
                loss = model.total(losses)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if rates:
                rates()
            optimizer.step()
            sums.add({"loss": loss, **losses}, share.stop - share.start)
            if checkpoint and checkpoint.due():
                save(epoch, step + 1)
            if progress and time.monotonic() - looked >= LOOK:
                sums.check_finite(epoch, step + 1)
                rate = optimizer.param_groups[0]["lr"]
                progress(epoch, (step + 1) / len(bounds), PretrainEpoch(epoch, rate, **sums.means()))
                looked = time.monotonic()
        start_step = 0
        sums.check_finite(epoch, len(bounds), model)
        rate = optimizer.param_groups[0]["lr"]
        history.append(PretrainEpoch(epoch, rate, **sums.means(over_processes=True)))
        sums.clear()
        save(epoch + 1, 0)
        if progress:
            progress(epoch, 1.0, history[-1])
    return history


def cosine(rate: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch: half a cosine from ``rate``, a step an epoch, no warm-up (V-A4, and code)."""
    return rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def share_of(rows: int) -> slice:
    """This process's rows of a batch: equal parts, so up to processes - 1 rows of an epoch's last batch rest."""
    part = rows // world_size()
    return slice(rank() * part, (rank() + 1) * part)


class Sums:
    """Losses summed over an epoch's rows, on the device, so that no step waits for it.

    Attributes:
        saved: where the last good checkpoint stands, for the message of a run that diverged.
    """

    saved = "none"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.total: dict[str, Tensor] = {}
        self.rows = 0

    def add(self, losses: dict[str, Tensor], rows: int) -> None:
        for name, loss in losses.items():
            weighted = loss.detach().double() * rows
            self.total[name] = self.total[name] + weighted if name in self.total else weighted
        self.rows += rows

    def means(self, over_processes: bool = False) -> dict[str, float]:
        """Mean losses by name; ``over_processes`` averages them, and every process must ask at the same place."""
        totals = torch.stack(list(self.total.values()))
        if over_processes and world_size() > 1:
            dist.all_reduce(totals)
            totals /= world_size()
        return dict(zip(self.total, (totals / self.rows).tolist(), strict=True))

    def check_finite(self, epoch: int, step: int, model: nn.Module | None = None) -> None:
        """Look at the losses so far, and at the weights where a model is given: they are a step ahead.

        Raises:
            DivergedError: one is not finite.
        """
        where = f"epoch {epoch + 1}, by step {step}; last good checkpoint: {self.saved}"
        for name, value in self.means().items():
            if not math.isfinite(value):
                raise DivergedError(f"the pretraining loss {name} is {value} in {where}")
        if model is not None:
            check_weights(model, where)

    def state(self) -> dict[str, Tensor | int]:
        return {"rows": self.rows, **self.total}

    def load(self, state: dict[str, Tensor | int]) -> None:
        self.clear()
        for name, value in state.items():
            if isinstance(value, Tensor):
                self.total[name] = value.to(self.device)
            else:
                self.rows = value

    def clear(self) -> None:
        self.total, self.rows = {}, 0
