"""FLIP's pretraining: its batches under the loop of every pretraining."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flipbench.methods.flip.batch import PretrainBatch, draw_batch
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.noise import Noise, feature_counts
from flipbench.text.tokens import TokenStore
from flipbench.train import pretrain as engine
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.pretrain import PretrainEpoch, PretrainRecipe, Progress
from flipbench.train.rng import Streams


def pretrain(
    model: Pretraining,
    ids: NDArray[np.int32],
    store: TokenStore,
    streams: Streams,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> list[PretrainEpoch]:
    """Pretrain ``model`` in place as its settings say; see :func:`flipbench.train.pretrain.pretrain`.

    Args:
        ids: [N, F] of the rows to pretrain on.
        store: tokens by feature, on the CPU.
    """
    settings = model.settings
    noise = Noise(feature_counts(torch.from_numpy(ids), model.id_model.features))

    def draw(chosen: Tensor, epoch: int, step: int, share: slice) -> PretrainBatch:
        return draw_batch(chosen, store, noise, settings, streams, epoch, step, share)

    recipe = PretrainRecipe(
        settings.learning_rate, settings.weight_decay, settings.batch_size, settings.epochs, settings.precision
    )
    return engine.pretrain(model, ids, draw, recipe, streams, device=device, checkpoint=checkpoint, progress=progress)
