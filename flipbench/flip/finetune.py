"""The finetuning loop: one for FLIP, FLIP_ID and FLIP_PLM."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flipbench.data.split import Rows
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.loop import Fitted, Progress, Schedule, train_epochs
from flipbench.engine.streams import Streams
from flipbench.flip.batch import move
from flipbench.flip.ctr import ClickModel
from flipbench.flip.settings import FinetuneSettings
from flipbench.nn.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.text.tokens import TokenBatch, TokenStore

SCORING_BATCH = 1024


def finetune(
    model: ClickModel,
    train: Rows,
    settings: FinetuneSettings,
    streams: Streams,
    *,
    store: TokenStore | None,
    valid: Rows | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train ``model`` in place on its loss with AdamW, the language model at a learning rate of its own.

    With ``valid``: stops when its AUC has not risen for ``patience`` epochs and restores the best epoch.
    Without: trains exactly ``max_epochs``. With ``checkpoint``: continues where the file says, bit for bit.

    Args:
        store: tokens by feature, on the CPU; None for FLIP_ID, which reads none.

    Raises:
        UserError: the device cannot do the settings' precision.
        DivergedError: the loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(settings.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train.ids), torch.from_numpy(train.labels)
    tables = model.embedding_tables() if settings.embedding_l2 else []

    def loss_of(rows: Tensor) -> Tensor:
        if store is not None:
            rows = rows[store.lengths(ids[rows]).argsort(stable=True)]
        chosen, text = _inputs(ids[rows], store, device)
        with autocast(settings.precision, device):
            return model.loss(chosen, text, move(labels[rows].float(), device))

    def shrink() -> None:
        for table in tables:
            if table.grad is not None:
                table.grad.add_(table.detach(), alpha=settings.embedding_l2)

    return train_epochs(
        model,
        adamw(model, settings),
        loss_of,
        Schedule(len(train), settings.batch_size, settings.max_epochs, settings.patience),
        streams,
        device,
        valid=valid,
        scores=lambda rows: predict(model, rows, store, settings.precision, device),
        before_step=shrink,
        rows_on=ids.device,  # batches are made on the host, so that none waits for the device
        checkpoint=checkpoint,
        progress=progress,
    )


def adamw(model: ClickModel, settings: FinetuneSettings) -> torch.optim.AdamW:
    """AdamW with two learning rates; without weight decay it is the paper's Adam."""
    encoder = model.plm_parameters()
    chosen = {id(p) for p in encoder}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in chosen], "lr": settings.learning_rate},
        {"params": encoder, "lr": settings.plm_learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


@torch.inference_mode()
def predict(
    model: ClickModel,
    rows: Rows,
    store: TokenStore | None,
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
    if store is not None:
        order = torch.cat([store.lengths(part).cpu() for part in torch.split(ids, 1 << 16)]).argsort(stable=True)
    logits = torch.empty(len(ids))
    for part in torch.split(order, SCORING_BATCH):
        with autocast(precision, device):
            logits[part] = model(*_inputs(ids[part], store, device)).float().cpu()
    found: NDArray[np.float32] = logits.numpy()
    return found


def _inputs(ids: Tensor, store: TokenStore | None, device: torch.device) -> tuple[Tensor, TokenBatch | None]:
    text = None if store is None else move(store.batch(ids), device)
    return move(ids.long(), device), text
