"""One training loop for every ID-based model."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.precision import autocast, check_precision
from flipbench.engine.streams import Streams
from flipbench.nn.id_model import IDModel
from flipbench.protocol import Precision

SCORING_BATCH = 8192


class DivergedError(RuntimeError):
    """The training loss is no longer a number."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        learning_rate: Adam's.
        embedding_l2: lambda of ``lambda/2 |E|^2`` beside the mean BCE, over all rows of the embedding tables.
        batch_size: rows a step.
        max_epochs: upper limit, or the exact number where there is no validation part.
        patience: epochs without a better validation AUC before stopping.
        precision: ``float32``, or ``bfloat16`` for the matrix products; tables, sums and the optimiser stay float32.
    """

    learning_rate: float
    embedding_l2: float
    batch_size: int
    max_epochs: int
    patience: int
    precision: Precision = "float32"


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; ``auc`` and ``logloss`` are of the validation part, None without one."""

    epoch: int
    loss: float
    auc: float | None = None
    logloss: float | None = None


@dataclass
class Fitted:
    """What :func:`fit` leaves; the model holds the best epoch's weights (the last's without validation)."""

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


def fit(
    model: IDModel,
    train: Rows,
    recipe: Recipe,
    streams: Streams,
    *,
    valid: Rows | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train ``model`` in place with Adam on the mean BCE.

    With ``valid``: stops when its AUC has not risen for ``patience`` epochs and restores the best epoch.
    Without: trains exactly ``max_epochs``. With ``checkpoint``: continues where the file says, bit for bit.

    Raises:
        DivergedError: the loss is not finite.
    """
    device = torch.device(device)
    check_precision(recipe.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train.ids).to(device), torch.from_numpy(train.labels).to(device)
    optimiser = adam(model, recipe)
    bounds = batch_bounds(len(labels), recipe.batch_size)
    fitted, start_epoch, start_step = Fitted(), 0, 0
    best: dict[str, Tensor] | None = None
    total = torch.zeros((), device=device, dtype=torch.float64)
    torch.manual_seed(streams.seed_of("dropout"))

    if checkpoint and (saved := checkpoint.load()):
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        fitted = Fitted([Epoch(**e) for e in saved["history"]])
        start_epoch, start_step, best = saved["epoch"], saved["step"], saved["best"]
        total.copy_(saved["total"])
        _set_dropout_state(saved["dropout"], device)

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
                    "dropout": _dropout_state(device),
                }
            )

    for epoch in range(start_epoch, recipe.max_epochs):
        if fitted.exhausted(recipe.patience):
            break
        order = torch.randperm(len(labels), generator=streams.generator("order", epoch)).to(device)
        model.train()
        for step in range(start_step, len(bounds)):
            rows = order[slice(*bounds[step])]
            with autocast(recipe.precision, device):
                logits = model(ids[rows])
            loss = binary_cross_entropy_with_logits(logits.float(), labels[rows].float())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.detach() * len(rows)
            if step % 64 == 63:
                if progress:
                    progress(epoch, (step + 1) / len(bounds), fitted.history[-1] if fitted.history else None)
                if checkpoint and checkpoint.due():
                    save(epoch, step + 1)
        start_step = 0
        check_finite(model, total, epoch, len(bounds))
        fitted.history.append(_close_epoch(model, epoch, total.item() / len(labels), valid, device, recipe.precision))
        total.zero_()
        if valid is not None and fitted.best.epoch == epoch:
            best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        save(epoch + 1, 0)
        if progress:
            progress(epoch, 1.0, fitted.history[-1])
    if best is not None:
        model.load_state_dict(best)
    return fitted


def adam(model: IDModel, recipe: Recipe) -> torch.optim.Adam:
    """Adam whose weight decay on the embedding tables is the gradient of ``lambda/2 |E|^2``, at no extra pass."""
    tables = model.embedding_tables()
    chosen = {id(p) for p in tables}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": tables, "weight_decay": recipe.embedding_l2}, {"params": rest}]
    return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Batches as (start, stop). A last batch of one row joins its neighbour: batch norm needs two."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


@torch.inference_mode()
def predict(
    model: IDModel, rows: Rows, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> NDArray[np.float32]:
    """Logits [n] of ``rows``, in evaluation mode."""
    device = torch.device(device)
    model.to(device).eval()
    ids = torch.from_numpy(rows.ids)
    parts = torch.split(ids, SCORING_BATCH)
    with autocast(precision, device):
        logits: NDArray[np.float32] = torch.cat([model(part.to(device)).float().cpu() for part in parts]).numpy()
    return logits


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and bytes of a state dict's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _close_epoch(
    model: IDModel, epoch: int, loss: float, valid: Rows | None, device: torch.device, precision: Precision
) -> Epoch:
    if valid is None:
        return Epoch(epoch, loss)
    logits = predict(model, valid, device, precision)
    return Epoch(epoch, loss, metrics.auc(valid.labels, logits), metrics.logloss(valid.labels, logits))


def check_finite(model: nn.Module, total: Tensor, epoch: int, step: int) -> None:
    """Look at the summed loss, and at the weights, which are a step ahead of it.

    Raises:
        DivergedError: one is not finite.
    """
    where = f"epoch {epoch + 1}, by step {step}"
    if not math.isfinite(total.item()):
        raise DivergedError(f"the training loss is {total.item()} in {where}")
    for name, weights in model.named_parameters():
        if not torch.isfinite(weights).all():
            raise DivergedError(f"the weights {name} are not finite in {where}")


def _dropout_state(device: torch.device) -> dict[str, Any]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_dropout_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
