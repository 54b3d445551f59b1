"""Training and scoring a model with a PLM."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipbench.data.split import Rows
from flipbench.models.click_model import ClickModel
from flipbench.models.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.text.reader import Reader
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import FromSettings
from flipbench.train.lr_schedule import scheduled
from flipbench.train.move import move
from flipbench.train.rng import Streams
from flipbench.train.trainer import Fitted, Progress, Schedule, backpropagate, batch_bounds, train_epochs

SCORING_BATCH = 1024


@dataclass(frozen=True)
class FinetuneRecipe(FromSettings):
    """How a model with a PLM is trained: the settings of a method that bear these names.

    Attributes:
        learning_rate: AdamW's, of all but the PLM.
        batch_size: rows a step.
        max_epochs: upper limit; what ``decay`` reaches 0 at.
        patience: epochs without a better validation AUC before stopping.
        plm_learning_rate: of the PLM; 0 for the same as the rest.
        weight_decay: AdamW's, on every parameter; at 0 it is Adam.
        embedding_l2: lambda of ``lambda/2 |E|^2`` beside the loss, over all rows of the ID model's tables.
        precision: ``bfloat16``: autocast where the model leaves it on.
        decay: of the learning rates over ``max_epochs``. warmup: share of the steps over which they rise before.
        adam_eps: AdamW's epsilon.
        clip: largest norm of the gradient; 0 for no limit.
    """

    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int
    plm_learning_rate: float = 0.0
    weight_decay: float = 0.0
    embedding_l2: float = 0.0
    precision: Precision = "float32"
    decay: Literal["none", "linear", "cosine"] = "none"
    warmup: float = 0.0
    adam_eps: float = 1e-8
    clip: float = 0.0


Scores = Callable[[Any, Rows, Any, Precision, torch.device | str], NDArray[np.float32]]
"""Logits [n] of rows, in evaluation mode, as :func:`predict` gives them."""


def finetune(
    model: ClickModel,
    train: Rows,
    recipe: FinetuneRecipe,
    streams: Streams,
    *,
    reader: Reader | None,
    epochs: int | None = None,
    valid: Rows | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    scores: Scores | None = None,
) -> Fitted:
    """Train ``model`` in place on its loss with AdamW.

    With ``valid``: stops when its AUC has not risen for ``patience`` epochs and restores the best epoch.
    Without: trains exactly ``epochs``. With ``checkpoint``: continues where the file says, bit for bit.

    Args:
        reader: makes the rows' text; None for a model that reads none.
        epochs: as many at most; ``max_epochs`` unless given. What it cuts off changes no learning rate.
        scores: how validation rows are scored; :func:`predict` unless given.

    Raises:
        UserError: the device cannot do the recipe's precision.
        DivergedError: the loss or a weight is not finite; the checkpoint is of an earlier, finite step.
    """
    device = torch.device(device)
    check_precision(recipe.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train.ids), torch.from_numpy(train.labels)
    optimizer = adamw(model, recipe)

    def gradients(rows: Tensor) -> Tensor:
        if reader is not None:
            rows = rows[reader.lengths(ids[rows]).argsort(stable=True)]
        chosen, text = _inputs(ids[rows], reader, True, device)
        with autocast(recipe.precision, device):
            loss = model.loss(chosen, text, move(labels[rows].float(), device))
        return backpropagate(loss, optimizer)

    return train_epochs(
        model,
        optimizer,
        gradients,
        Schedule(len(train), recipe.batch_size, epochs or recipe.max_epochs, recipe.patience),
        streams,
        device,
        valid=valid,
        scores=lambda rows: (scores or predict)(model, rows, reader, recipe.precision, device),
        before_step=_before_step(model, optimizer, recipe, len(train)),
        rows_on=ids.device,  # batches are made on the host, so that none waits for the device
        checkpoint=checkpoint,
        progress=progress,
    )


def adamw(model: ClickModel, recipe: FinetuneRecipe) -> torch.optim.AdamW:
    """AdamW with two learning rates; without weight decay it is Adam."""
    plm = model.plm_parameters()
    chosen = {id(p) for p in plm}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in chosen], "lr": recipe.learning_rate},
        {"params": plm, "lr": recipe.plm_learning_rate or recipe.learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, eps=recipe.adam_eps, fused=True)


def _before_step(
    model: ClickModel, optimizer: torch.optim.Optimizer, recipe: FinetuneRecipe, rows: int
) -> Callable[[], None]:
    """What happens to gradients and learning rates between backward and step."""
    tables = model.embedding_tables() if recipe.embedding_l2 else []
    steps = len(batch_bounds(rows, recipe.batch_size)) * recipe.max_epochs
    rates = None if recipe.decay == "none" else scheduled(optimizer, steps, recipe.warmup, recipe.decay)

    def before_step() -> None:
        for table in tables:
            if table.grad is not None:
                table.grad.add_(table.detach(), alpha=recipe.embedding_l2)
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if rates:
            rates()

    return before_step


@torch.inference_mode()
def predict(
    model: ClickModel,
    rows: Rows,
    reader: Reader | None,
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
    if reader is not None:
        order = torch.cat([reader.lengths(part) for part in torch.split(ids, 1 << 16)]).argsort(stable=True)
    logits = torch.empty(len(ids))
    for part in torch.split(order, SCORING_BATCH):
        with autocast(precision, device):
            logits[part] = model(*_inputs(ids[part], reader, False, device)).float().cpu()
    found: NDArray[np.float32] = logits.numpy()
    return found


def _inputs(ids: Tensor, reader: Reader | None, training: bool, device: torch.device) -> tuple[Tensor, Any]:
    text = None if reader is None else move(reader.batch(ids, training), device)
    return move(ids.long(), device), text
