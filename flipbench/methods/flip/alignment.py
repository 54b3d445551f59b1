"""Whether a pretraining finds the same field masked in text and table (paper V-F, figure 9)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from flipbench.methods.flip.masking import mask_table, mask_values
from flipbench.methods.flip.model import Pretraining

if TYPE_CHECKING:
    from flipbench.text.tokens import TokenStore

BATCH = 64
"""Rows encoded at once, each masked in every field."""


@torch.no_grad()
def similarities(model: Pretraining, ids: Tensor, store: "TokenStore", device: torch.device | str) -> Tensor:
    """Cosines s[i, f, g] of row i's text with field f masked and its table with field g masked.

    Both as ICL projects them, in float32 and without dropout; the model is left in evaluation mode.

    Args:
        model: pretrained with ICL.
        ids: [n, F], clean, on the CPU.

    Returns:
        [n, F, F] float32 on the CPU, in [-1, 1].

    Raises:
        ValueError: the pretraining had no ICL, so nothing projects.
    """
    if model.icl is None:
        raise ValueError("this pretraining has no ICL projections to compare")
    model.to(device).eval()
    cosines = []
    for part in torch.split(ids, BATCH):
        clean = store.batch(part)
        texts, tables = [], []
        for f in range(ids.shape[1]):
            field = torch.full((len(part), 1), f)
            text = mask_values(clean, field, store.mask_id).tokens.to(device)
            states = model.encoder(text, clean.attention_mask.to(device))
            texts.append(normalize(model.icl.project_text(states[:, 0]), dim=1))
            v = model.id_model.represent(mask_table(part.long(), field).ids.to(device))
            tables.append(normalize(model.icl.project_table(v), dim=1))
        cosines.append(torch.einsum("fbd,gbd->bfg", torch.stack(texts), torch.stack(tables)).cpu())
    return torch.cat(cosines)


def top1(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """How often the same field is found: its similarity above those of all other fields, ties not counted.

    Args:
        similarity: [n, F, F] as :func:`similarities` gives it.

    Returns:
        Shares [F] of the n rows: of a masked text among the tables, and of a masked table among the texts. Chance is
        1 / F.
    """
    diagonal = similarity.diagonal(dim1=1, dim2=2)
    others = similarity.masked_fill(torch.eye(similarity.shape[1], dtype=torch.bool), -torch.inf)
    return (
        (diagonal > others.amax(dim=2)).float().mean(dim=0),
        (diagonal > others.amax(dim=1)).float().mean(dim=0),
    )
