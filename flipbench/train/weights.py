"""Trained weights on disk, and their digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flipbench.errors import UserError
from flipbench.plan.stage import Stage
from flipbench.store.manifest import WEIGHTS
from flipbench.store.runs import Store


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and bytes of a state dict's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write a model's weights as ``model.safetensors``."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    first = {tensor.data_ptr(): name for name, tensor in reversed(weights.items())}
    # safetensors refuses tensors that share memory, as T5's tied embeddings do: each is written out
    save_file({n: t if first[t.data_ptr()] == n else t.clone() for n, t in weights.items()}, folder / WEIGHTS)


def saved_weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    """The weights that a finished stage left.

    Raises:
        UserError: they are not the ones that its figures name.
    """
    path = store.folder(stage) / WEIGHTS
    weights: dict[str, Tensor] = load_file(path)
    if weights_sha256(weights) != store.metrics(stage)["weights"]:
        raise UserError(f"{path}: not the weights that this run recorded; delete its folder and run the suite again")
    return weights
