"""PTab."""

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.context import MethodContext
from flipbench.models.click_model import ClickModel, TanhHead
from flipbench.models.encoder import Encoder
from flipbench.models.mlm_head import TokenHead, token_head, token_loss
from flipbench.models.precision import apply_head
from flipbench.models.soft_prompt import pooled
from flipbench.plan.settings import DECAY, PLM_RATE_GRID, TINYBERT, Code, Guess, Paper, Valid
from flipbench.text.masking import TextMask, masked_token_batches
from flipbench.text.tokens import TokenBatch, check_length
from flipbench.train.pretrain import MakeBatch, PretrainModel


class TokenMLM(PretrainingMethod):
    """Masked language modelling of single tokens on the training rows' prompts (Devlin et al., NAACL 2019).

    Each token but the special ones is predicted with probability ``mask_ratio``; of these 80 % are hidden by the mask,
    10 % replaced at random, 10 % left. The head is the checkpoint's own where it holds one.
    """

    version = 1
    settings = {
        "mask_ratio": Code(0.15, "released mlm.py", Valid.RATIO),
        "epochs": Code(10, "released mlm.py; 5 on GoodReads", Valid.EPOCHS),
        "batch_size": Code(1024, "released mlm.py: 512, gradients summed over two steps", Valid.ROWS),
        "learning_rate": Code(5e-5, "released mlm.py", Valid.LEARNING_RATE),
        "weight_decay": Code(1e-3, "released mlm.py", Valid.PENALTY),
        "decay": Code("epoch-cosine", "released mlm.py", ("epoch-cosine", "linear", "cosine")),
        "precision": Guess("float32", "neither says; bfloat16 is for speed", Valid.PRECISION),
    }

    @staticmethod
    def model(context: MethodContext, ids: Tensor, *, mask_ratio: float) -> PretrainModel:
        encoder = context.encoder()
        check_length(context.tokens, ids, encoder.max_positions)
        return MaskedPrompts(encoder, token_head(context.plm, encoder))

    @staticmethod
    def make_batch(context: MethodContext, ids: Tensor, *, mask_ratio: float) -> MakeBatch:
        return masked_token_batches(context.tokens, mask_ratio, context.streams)


class MaskedPrompts(PretrainModel):
    """Predicts hidden tokens from the others of their prompt; mean cross-entropy over all of them."""

    def __init__(self, encoder: Encoder, head: TokenHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, ids: Tensor, text: TokenBatch, mask: TextMask) -> dict[str, Tensor]:
        states = self.encoder.states(replace(text, tokens=mask.tokens), mask.positions)
        logits = self.head(states, self.encoder.token_embedding.weight)
        rows = mask.positions // text.tokens.shape[1]
        return {"mlm": token_loss(logits, mask.targets, rows, len(ids), per_sample=False)}


class PTab(PLMMethod):
    """A PLM that first learns the data's language by MLM, then classifies (Liu et al., arXiv 2209.08060)."""

    version = 1
    pretraining = "mlm"
    settings = {
        "plm": Paper(TINYBERT, "V-A4"),
        "head_dim": Code(128, "released ptab.py", Valid.WIDTH),
        "pooling": Code("cls", "released ptab.py; avg: over all tokens", ("cls", "avg"), unkeyed="cls"),
        "dropout": Code(0.2, "released ptab.py; of the head", Valid.SHARE),
        "learning_rate": Code(5e-5, "released ptab.py", Valid.LEARNING_RATE),
        "weight_decay": Code(1e-3, "released ptab.py", Valid.PENALTY),
        "batch_size": Paper(256, "V-A4; 2048 for GoodReads", Valid.ROWS),
        "decay": DECAY,
        "max_epochs": Code(10, "released ptab.py", Valid.EPOCHS),
        "patience": Code(3, "released ptab.py", Valid.EPOCHS),
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
        return TextClassifier(context.encoder(), head_dim, dropout, pooling)


class TextClassifier(ClickModel):
    """logit = w · Dropout(tanh(W h + b)) + c, h the first token's state or the mean over all (code: the first's)."""

    def __init__(self, encoder: Encoder, head_dim: int, dropout: float, pooling: Literal["cls", "avg"] = "cls") -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.head = TanhHead(encoder.hidden_size, head_dim, dropout)

    def forward(self, ids: Tensor, text: TokenBatch) -> Tensor:
        return apply_head(self.head, pooled(self.encoder, text, self.pooling)).squeeze(1)

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())
