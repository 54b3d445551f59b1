"""Training and scoring a model with a PLM."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipbench.data.split import Rows
from flipbench.models.click_model import ClickModel
from flipbench.models.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.text.collator import TextCollator
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import Fitted, Schedule, batch_bounds
from flipbench.train.id_models import click_metrics
from flipbench.train.lr_schedule import lr_scheduler
from flipbench.train.move import move
from flipbench.train.rng import Streams
from flipbench.train.trainer import Progress, Training, train

SCORING_BATCH = 1024
"""Rows scored at once."""

Scorer = Callable[[Any, Rows, Any, Precision, torch.device | str], NDArray[np.float32]]
"""Logits [n] of rows, in evaluation mode, as :func:`predict` gives them."""


def finetune(
    model: ClickModel,
    train_rows: Rows,
    config: TrainConfig,
    streams: Streams,
    *,
    collator: TextCollator | None,
    epochs: int | None = None,
    valid: Rows | None = None,
    rate_factors: Sequence[float] = (),
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    scorer: Scorer | None = None,
) -> Fitted:
    """Train ``model`` in place on its loss with AdamW.

    With ``valid``: stops when its AUC has not risen for ``patience`` epochs and restores the best epoch.
    Without: trains exactly ``epochs``. With ``checkpoint``: continues where the file says, bit for bit.

    Args:
        collator: makes the rows' text; None for a model that reads none.
        epochs: as many at most; ``max_epochs`` unless given. What it cuts off changes no learning rate.
        rate_factors: what the learning rates are multiplied by in each epoch, where that is known beforehand.
        scorer: how validation rows are scored; :func:`predict` unless given.

    Raises:
        UserError: the device cannot do the configuration's precision.
        DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(config.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train_rows.ids), torch.from_numpy(train_rows.labels)
    optimizer = adamw(model, config)
    before_step = _before_step(model, optimizer, config, len(train_rows))

    def take_step(rows: Tensor, epoch: int, _step: int) -> tuple[dict[str, Tensor], int]:
        if collator is not None:
            rows = rows[collator.lengths(ids[rows]).argsort(stable=True)]
        batch, text = _inputs(ids[rows], collator, True, device)
        with autocast(config.precision, device):
            loss = model.loss(batch, text, move(labels[rows].float(), device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        before_step(epoch)
        return {"loss": loss.detach()}, len(rows)

    def measure() -> dict[str, float | None]:
        score = scorer or predict
        return click_metrics(valid, None if valid is None else score(model, valid, collator, config.precision, device))

    schedule = Schedule.of(config, len(train_rows), epochs, rate_factors)
    training = Training(model, optimizer, schedule, device, measure=measure, checkpoint=checkpoint)
    return train(training, take_step, streams, progress=progress)


def adamw(model: ClickModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with two learning rates; without weight decay it is Adam."""
    plm = model.plm_parameters()
    of_plm = {id(p) for p in plm}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in of_plm], "lr": config.learning_rate},
        {"params": plm, "lr": config.plm_learning_rate or config.learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, eps=config.adam_eps, fused=True)


def _before_step(
    model: ClickModel, optimizer: torch.optim.Optimizer, config: TrainConfig, rows: int
) -> Callable[[int], None]:
    """Called with the epoch: what happens to gradients and learning rates between backward and step."""
    tables = model.embedding_tables() if config.embedding_l2 else []
    steps = len(batch_bounds(rows, config.batch_size))
    set_rates = lr_scheduler(optimizer, config.decay, config.warmup, config.max_epochs, steps)

    def before_step(epoch: int) -> None:
        for table in tables:
            if table.grad is not None:
                table.grad.add_(table.detach(), alpha=config.embedding_l2)
        if config.clip:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        set_rates(epoch)

    return before_step


@torch.inference_mode()
def predict(
    model: ClickModel,
    rows: Rows,
    collator: TextCollator | None,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Logits [n] of ``rows``, in evaluation mode.

    Rows of like length are scored together: less padding, and the same logits but for rounding.
    """
    device = torch.device(device)
    model.to(device).eval()
    ids = torch.from_numpy(rows.ids)
    order = torch.arange(len(ids))
    if collator is not None:
        order = torch.cat([collator.lengths(block) for block in torch.split(ids, 1 << 16)]).argsort(stable=True)
    logits = torch.empty(len(ids))
    for batch in torch.split(order, SCORING_BATCH):
        with autocast(precision, device):
            logits[batch] = model(*_inputs(ids[batch], collator, False, device)).float().cpu()
    scores: NDArray[np.float32] = logits.numpy()
    return scores


def _inputs(ids: Tensor, collator: TextCollator | None, training: bool, device: torch.device) -> tuple[Tensor, Any]:
    text = None if collator is None else move(collator.batch(ids, training), device)
    return move(ids.long(), device), text
