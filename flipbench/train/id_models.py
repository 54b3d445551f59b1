"""Training and scoring an ID-based model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench.data.split import Rows
from flipbench.models.embedding import FeatureEmbedding
from flipbench.models.id_model import IDModel
from flipbench.models.precision import autocast, check_precision
from flipbench.protocol import Precision
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.rng import Streams
from flipbench.train.row_adam import LARGE, RowAdam
from flipbench.train.trainer import Fitted, Progress, Schedule, backpropagate, train_epochs

SCORING_BATCH = 8192


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        learning_rate: Adam's.
        embedding_l2: lambda of ``lambda/2 |E|^2`` beside the mean BCE, over all rows of the embedding tables.
        batch_size: rows a step.
        max_epochs: upper limit, or the exact number where there is no validation part.
        patience: epochs without a better validation AUC before stopping.
        precision: ``float32``, or ``bfloat16`` for the matrix products; tables, sums and the optimizer stay float32.
    """

    learning_rate: float
    embedding_l2: float
    batch_size: int
    max_epochs: int
    patience: int
    precision: Precision = "float32"


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
        DivergedError: the loss or a weight is not finite.
    """
    device = torch.device(device)
    check_precision(recipe.precision, device)
    model.to(device)
    ids, labels = torch.from_numpy(train.ids).to(device), torch.from_numpy(train.labels).to(device)
    optimizer = adam(model, recipe)
    catch_up = optimizer.catch_up if isinstance(optimizer, RowAdam) else _nothing

    schedule = Schedule(len(train), recipe.batch_size, recipe.max_epochs, recipe.patience)

    def gradients(rows: Tensor) -> Tensor:
        batch = ids.index_select(0, rows)
        catch_up(batch)
        with autocast(recipe.precision, device):
            logits = model(batch)
        loss = binary_cross_entropy_with_logits(logits.float(), labels.index_select(0, rows).float())
        return backpropagate(loss, optimizer)

    def scores(rows: Rows) -> NDArray[np.float32]:
        catch_up(None)
        return predict(model, rows, device, recipe.precision)

    fitted = train_epochs(
        model,
        optimizer,
        gradients,
        schedule,
        streams,
        device,
        valid=valid,
        scores=scores,
        checkpoint=checkpoint,
        progress=progress,
    )
    if valid is None:  # else the best epoch's weights were put back, which were up to date
        catch_up(None)
    return fitted


def _nothing(_: Tensor | None) -> None:
    pass


def adam(model: IDModel, recipe: Recipe) -> torch.optim.Adam:
    """Adam whose weight decay on the embedding tables is the gradient of ``lambda/2 |E|^2``, at no extra pass.

    By rows where that is the same and costs less: on large tables without weight decay, on the CPU.
    """
    tables = model.embedding_tables()
    chosen = {id(p) for p in tables}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    by_rows = [m for m in model.modules() if isinstance(m, FeatureEmbedding) and m.weight.device.type == "cpu"]
    if not recipe.embedding_l2 and model.features >= LARGE and {id(m.weight) for m in by_rows} == chosen:
        return RowAdam(by_rows, rest, recipe.learning_rate)
    groups: list[dict[str, Any]] = [{"params": tables, "weight_decay": recipe.embedding_l2}, {"params": rest}]
    return torch.optim.Adam(groups, recipe.learning_rate, fused=True)


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
