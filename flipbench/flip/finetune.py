"""The finetuning loop: one for FLIP, FLIP_ID and FLIP_PLM."""

from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.fit import Epoch, Fitted, Progress, batch_bounds, check_finite
from flipbench.engine.precision import autocast, check_precision
from flipbench.engine.streams import Streams
from flipbench.flip.batch import move
from flipbench.flip.ctr import ClickModel
from flipbench.flip.settings import FinetuneSettings
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
    optimiser = adamw(model, settings)
    tables = model.embedding_tables() if settings.embedding_l2 else []
    bounds = batch_bounds(len(labels), settings.batch_size)
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

    for epoch in range(start_epoch, settings.max_epochs):
        if fitted.exhausted(settings.patience):
            break
        order = torch.randperm(len(labels), generator=streams.generator("order", epoch))
        model.train()
        for step in range(start_step, len(bounds)):
            rows = order[slice(*bounds[step])]
            chosen, text = _inputs(ids[rows], store, device)
            torch.manual_seed(streams.seed_of("dropout", epoch, step))
            with autocast(settings.precision, device):
                loss = model.loss(chosen, text, move(labels[rows].float(), device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for table in tables:
                if table.grad is not None:
                    table.grad.add_(table.detach(), alpha=settings.embedding_l2)
            optimiser.step()
            total += loss.detach() * len(rows)
            if checkpoint and checkpoint.due():
                save(epoch, step + 1)
            if progress and step % 16 == 15:
                progress(epoch, (step + 1) / len(bounds), fitted.history[-1] if fitted.history else None)
        start_step = 0
        check_finite(model, total, epoch, len(bounds))
        figures = _validate(model, valid, store, settings.precision, device)
        fitted.history.append(Epoch(epoch, total.item() / len(labels), **figures))
        total.zero_()
        if valid is not None and fitted.best.epoch == epoch:
            best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        save(epoch + 1, 0)
        if progress:
            progress(epoch, 1.0, fitted.history[-1])
    if best is not None:
        model.load_state_dict(best)
    return fitted


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


def _validate(
    model: ClickModel, valid: Rows | None, store: TokenStore | None, precision: Precision, device: torch.device
) -> dict[str, float]:
    if valid is None:
        return {}
    logits = predict(model, valid, store, precision, device)
    return {"auc": metrics.auc(valid.labels, logits), "logloss": metrics.logloss(valid.labels, logits)}
