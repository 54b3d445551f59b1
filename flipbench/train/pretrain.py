"""Training without labels: an ID-based model, a PLM or both under objectives of their own."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flipbench.errors import UserError
from flipbench.models.precision import autocast, check_precision
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import Decay, TrainConfig
from flipbench.train.distributed import rank, world_size
from flipbench.train.history import Fitted, Schedule
from flipbench.train.lr_schedule import lr_scheduler
from flipbench.train.move import move
from flipbench.train.rng import Streams
from flipbench.train.trainer import Progress, Training, train


class PretrainModel(nn.Module):
    """Base of what is pretrained: ``forward`` takes a batch's fields by name and gives losses by name, float32 scalars.

    Its parts that a finetuning starts from are named ``id_model`` and ``encoder``.
    """

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The loss to minimise."""
        first, *rest = losses.values()
        return sum(rest, start=first)

    def id_parameters(self) -> list[nn.Parameter]:
        """Those that ``id_learning_rate`` is of."""
        return []


MakeBatch = Callable[[Tensor, int, int, slice], Any]
"""Given the ids [B, F] of the global batch, epoch, step and this process's share of the rows: its batch, a dataclass of
tensors on the CPU. Every draw is a function of seed, epoch and step."""


def pretrain(
    model: PretrainModel,
    ids: NDArray[np.int32],
    make_batch: MakeBatch,
    config: TrainConfig,
    streams: Streams,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Pretrain ``model`` in place with AdamW; it then holds the last epoch's weights.

    With ``checkpoint``: continues where the file says, bit for bit. Where processes have joined a group, each takes its
    share of every batch and holds the same weights after every step.

    Args:
        ids: [N, F] of the rows to pretrain on; their labels are not needed.
        config: without ``decay`` the learning rate is stepped once an epoch (``epoch-cosine``).

    Raises:
        UserError: the device cannot do the configuration's precision, or the processes cannot share a batch equally.
        DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(config.precision, device)
    if config.batch_size % world_size():
        raise UserError(f"batch_size: {config.batch_size} rows do not divide among {world_size()} processes")
    model.to(device).train()
    rows_of_all = torch.from_numpy(ids)
    schedule = Schedule(len(ids), config.batch_size, config.max_epochs)
    optimizer = adamw(model, config)
    decay: Decay = "epoch-cosine" if config.decay == "none" else config.decay
    set_rates = lr_scheduler(optimizer, decay, config.warmup, config.max_epochs, len(schedule.batches))

    def take_step(rows: Tensor, epoch: int, step: int) -> tuple[dict[str, Tensor], int]:
        share = share_of(len(rows))
        batch = move(make_batch(rows_of_all[rows], epoch, step, share), device)
        with autocast(config.precision, device):
            losses: dict[str, Tensor] = parallel(**{f.name: getattr(batch, f.name) for f in fields(batch)})
            loss = model.total(losses)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        set_rates(epoch)
        means = {name: each.detach().double() for name, each in {"loss": loss, **losses}.items()}
        return means, share.stop - share.start

    def measure() -> dict[str, float | None]:
        return {"learning_rate": optimizer.param_groups[0]["lr"]}

    training = Training(model, optimizer, schedule, device, measure=measure, checkpoint=checkpoint)
    parallel = DistributedDataParallel(model, static_graph=True) if world_size() > 1 else model
    return train(training, take_step, streams, dropout_stream=(rank(),), progress=progress)


def adamw(model: PretrainModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, with a second learning rate where ``id_learning_rate`` is not 0."""
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if config.id_learning_rate:
        chosen = model.id_parameters()
        of_id = {id(p) for p in chosen}
        rest = [p for p in model.parameters() if id(p) not in of_id]
        groups = [{"params": rest}, {"params": chosen, "lr": config.id_learning_rate}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def share_of(rows: int) -> slice:
    """This process's rows of a batch: equal parts, so up to processes - 1 rows of an epoch's last batch rest."""
    part = rows // world_size()
    return slice(rank() * part, (rank() + 1) * part)
