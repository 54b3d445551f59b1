"""Training and scoring an ID-based model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.models.embedding import FeatureEmbedding
from flipbench.models.id_model import IDModel
from flipbench.models.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import Fitted, Schedule
from flipbench.train.rng import Streams
from flipbench.train.row_adam import MIN_ROWS, RowAdam
from flipbench.train.trainer import Progress, Training, train

SCORING_BATCH = 8192
"""Rows scored at once."""


def fit(
    model: IDModel,
    train_rows: Rows,
    config: TrainConfig,
    streams: Streams,
    *,
    valid: Rows | None = None,
    rate_factors: Sequence[float] = (),
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train ``model`` in place with Adam on the mean binary cross-entropy.

    With ``valid``: stops when its AUC has not risen for ``patience`` epochs and restores the best epoch.
    Without: trains exactly ``max_epochs``. With ``checkpoint``: continues where the file says, bit for bit.

    Args:
        rate_factors: what the learning rate is multiplied by in each epoch, where that is known beforehand.

    Raises:
        UserError: the device cannot do the configuration's precision.
        DivergedError: a loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(config.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train_rows.ids).to(device), torch.from_numpy(train_rows.labels).to(device)
    optimizer = adam(model, config)

    if model.out_of_vocabulary:
        model.out_of_vocabulary.observe(ids)

    def update_rows(batch: Tensor | None) -> None:
        """Bring the tables' rows that are about to be read up to date; all of them without a batch."""
        if isinstance(optimizer, RowAdam):
            optimizer.catch_up(None if batch is None else model.rows_read(batch))

    def take_step(rows: Tensor, _epoch: int, _step: int) -> tuple[dict[str, Tensor], int]:
        rows = rows.to(device)
        batch = ids.index_select(0, rows)
        update_rows(batch)
        with autocast(config.precision, device):
            logits = model(batch)
        loss = binary_cross_entropy_with_logits(logits.float(), labels.index_select(0, rows).float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}, len(rows)

    def measure() -> dict[str, float | None]:
        update_rows(None)
        return click_metrics(valid, None if valid is None else predict(model, valid, device, config.precision))

    schedule = Schedule.of(config, len(train_rows), rate_factors=rate_factors)
    training = Training(model, optimizer, schedule, device, measure=measure, checkpoint=checkpoint)
    return train(training, take_step, streams, progress=progress)


def click_metrics(rows: Rows | None, logits: NDArray[np.float32] | None) -> dict[str, float | None]:
    """``auc`` and ``logloss`` of logits [n] for the rows; None without rows."""
    if rows is None or logits is None:
        return {"auc": None, "logloss": None}
    return {"auc": metrics.auc(rows.labels, logits), "logloss": metrics.logloss(rows.labels, logits)}


def adam(model: IDModel, config: TrainConfig) -> torch.optim.Adam:
    """Adam whose weight decay on the embedding tables is the gradient of ``lambda/2 |E|^2``, at no extra pass.

    By rows where that is the same and costs less: on large tables without weight decay, on the CPU.
    """
    tables = model.embedding_tables()
    chosen = {id(p) for p in tables}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    by_rows = [m for m in model.modules() if isinstance(m, FeatureEmbedding) and m.weight.device.type == "cpu"]
    if not config.embedding_l2 and model.features >= MIN_ROWS and {id(m.weight) for m in by_rows} == chosen:
        return RowAdam(by_rows, rest, config.learning_rate)
    groups: list[dict[str, Any]] = [{"params": tables, "weight_decay": config.embedding_l2}, {"params": rest}]
    return torch.optim.Adam(groups, config.learning_rate, fused=True)


@torch.inference_mode()
def predict(
    model: IDModel, rows: Rows, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> NDArray[np.float32]:
    """Logits [n] of ``rows``, in evaluation mode."""
    device = torch.device(device)
    model.to(device).eval()
    batches = torch.split(torch.from_numpy(rows.ids), SCORING_BATCH)
    with autocast(precision, device):
        logits: NDArray[np.float32] = torch.cat([model(batch.to(device)).float().cpu() for batch in batches]).numpy()
    return logits
