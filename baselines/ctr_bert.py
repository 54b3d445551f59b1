"""CTR-BERT."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipbench.data.split import Rows
from flipbench.methods.base import PLMMethod
from flipbench.methods.context import MethodContext
from flipbench.models.click_model import ClickModel, TanhHead
from flipbench.models.encoder import Encoder
from flipbench.models.precision import apply_head, autocast
from flipbench.models.soft_prompt import pooled
from flipbench.plan.settings import DECAY, PLM_RATE_GRID, TINYBERT, Code, Guess, Paper, Valid
from flipbench.protocol import Precision
from flipbench.text.sides import Sides, SideTexts
from flipbench.train.finetune import SCORING_BATCH, Scorer
from flipbench.train.move import move


class CTRBERT(PLMMethod):
    """Two PLMs, one for the user's text and one for the item's (Muhamed et al., NeurIPS ENLSP workshop 2021).

    logit = w · Dropout(tanh(W [u ; i] + b)) + c,    u, i the first token's state of a text, or the mean over all

    As in FLIP's code, which has neither the original's distillation nor its numerical features: both encoders start
    from the same checkpoint and share no weight.
    """

    version = 1
    settings = {
        "plm": Paper(TINYBERT, "V-A4"),
        "head_dim": Code(128, "released ctr_bert.py", Valid.WIDTH),
        "pooling": Code("cls", "released ctr_bert.py; avg: over all tokens", ("cls", "avg"), unkeyed="cls"),
        "dropout": Code(0.2, "released ctr_bert.py; of the head", Valid.SHARE),
        "learning_rate": Code(5e-5, "released ctr_bert.py", Valid.LEARNING_RATE),
        "weight_decay": Code(1e-3, "released ctr_bert.py", Valid.PENALTY),
        "batch_size": Paper(256, "V-A4; 2048 for GoodReads", Valid.ROWS),
        "decay": DECAY,
        "max_epochs": Code(10, "released ctr_bert.py", Valid.EPOCHS),
        "patience": Code(3, "released ctr_bert.py", Valid.EPOCHS),
        "precision": Guess("float32", "neither says; bfloat16 is for speed", Valid.PRECISION),
    }
    grid = {
        "learning_rate": PLM_RATE_GRID,
        "weight_decay": [0.0, 1e-3, 1e-2, 0.1],  # about the code's 1e-3; ClickPrompt's code tries 0 and .1
        "dropout": [0.0, 0.2, 0.4],  # about the code's .2
        "pooling": ["cls", "avg"],  # as released; ClickPrompt's code
    }

    @staticmethod
    def model(
        context: MethodContext, *, head_dim: int, dropout: float, pooling: Literal["cls", "avg"] = "cls"
    ) -> ClickModel:
        return TwoTowers(context.encoder(), context.encoder(), head_dim, dropout, pooling)

    @staticmethod
    def collator(context: MethodContext, **settings: Any) -> Sides:
        return Sides.of(context.tokens, context.table)

    @classmethod
    def scorer(cls) -> Scorer:
        return score_distinct


class TwoTowers(ClickModel):
    """See :class:`CTRBERT`."""

    def __init__(
        self, user: Encoder, item: Encoder, head_dim: int, dropout: float, pooling: Literal["cls", "avg"] = "cls"
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.towers = nn.ModuleList([user, item])
        self.head = TanhHead(user.hidden_size + item.hidden_size, head_dim, dropout)

    def forward(self, ids: Tensor, text: tuple[SideTexts, SideTexts]) -> Tensor:
        return self.score(*(self.encode(tower, side) for tower, side in zip((0, 1), text, strict=True)))

    def encode(self, tower: int, side: SideTexts) -> Tensor:
        """Vectors [B, D_text] float32 of a side's texts, in the rows' order; tower 0 reads users."""
        return pooled(self.towers[tower], side.text, self.pooling).index_select(0, side.place)  # type: ignore[arg-type]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits [B] of the vectors of users and items, [B, D_text] each."""
        return apply_head(self.head, torch.cat([user, item], dim=1)).squeeze(1)

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.towers.parameters())


@torch.inference_mode()
def score_distinct(
    model: TwoTowers, rows: Rows, collator: Sides, precision: Precision, device: torch.device | str
) -> NDArray[np.float32]:
    """Logits [n] of rows: each distinct user's and item's text is encoded once, and the head joins them by row."""
    device = torch.device(device)
    model.to(device).eval()
    ids = torch.from_numpy(rows.ids)
    states, places = [], []
    with autocast(precision, device):
        for tower, columns in enumerate(collator.columns):
            distinct, place = torch.unique(ids[:, columns], dim=0, return_inverse=True)
            order = collator.store.lengths(distinct).argsort(stable=True)
            encoded = [
                model.encode(tower, move(collator.side(part), device))
                for part in torch.split(distinct[order], SCORING_BATCH)
            ]
            states.append(torch.cat(encoded))
            places.append(order.argsort()[place].to(device))
        pairs = zip(*(torch.split(place, SCORING_BATCH) for place in places), strict=True)
        logits = [model.score(states[0][user], states[1][item]).cpu() for user, item in pairs]
    scores: NDArray[np.float32] = torch.cat(logits).numpy()
    return scores
