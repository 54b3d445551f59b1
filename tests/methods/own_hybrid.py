"""A hybrid of one's own in one file: a pretraining that matches a row's table with its text, and a click model.

What a user's package would hold; ``test_own_hybrid.py`` registers it as such a package does.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import normalize, softplus

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.models.click_model import ClickModel, id_logit
from flipbench.plan.settings import Guess, Range, Valid
from flipbench.text.tokens import TokenBatch
from flipbench.train.pretrain import PretrainModel


@dataclass(frozen=True)
class Pairs:
    """A batch: ids [B, F] and their text."""

    ids: torch.Tensor
    text: TokenBatch


class Matching(PretrainModel):
    """softplus(margin - cos(table, own text) + cos(table, next text)), mean over the batch."""

    def __init__(self, id_model, encoder, margin):
        super().__init__()
        self.id_model, self.encoder, self.margin = id_model, encoder, margin
        self.project = nn.Linear(id_model.representation_dim, encoder.hidden_size)

    def forward(self, ids, text):
        table = normalize(self.project(self.id_model.represent(ids)), dim=1)
        words = normalize(self.encoder.states(text, text.first).float(), dim=1)
        gap = (table * words).sum(1) - (table * words.roll(1, 0)).sum(1)
        return {"match": softplus(self.margin - gap).mean()}


class Match(PretrainingMethod):
    """Table and text of a row are drawn together, those of two rows apart."""

    version = 1
    settings = {
        "margin": Guess(0.2, "mine", Range(0.0, 1.0)),
        "epochs": Guess(1, "mine", Valid.EPOCHS),
        "batch_size": Guess(128, "mine", Valid.ROWS),
        "learning_rate": Guess(1e-3, "mine", Valid.LEARNING_RATE),
        "weight_decay": Guess(0.0, "mine", Valid.PENALTY),
    }

    @staticmethod
    def model(context, ids, *, margin):
        return Matching(context.id_model(), context.encoder(), margin)

    @staticmethod
    def make_batch(context, ids, *, margin):
        def make(batch, epoch, step, share):
            mine = batch[share].long()
            return Pairs(mine, context.tokens.batch(mine))

        return make


class Summed(ClickModel):
    """logit = s_ID + w · w_CLS + b."""

    def __init__(self, id_model, encoder):
        super().__init__()
        self.id_model, self.encoder = id_model, encoder
        self.head = nn.Linear(encoder.hidden_size, 1)

    def forward(self, ids, text):
        return id_logit(self.id_model, ids) + self.head(self.encoder.states(text, text.first).float()).squeeze(1)

    def plm_parameters(self):
        return list(self.encoder.parameters())

    def embedding_tables(self):
        return self.id_model.embedding_tables()


class MatchSum(PLMMethod):
    """Logits of a matched ID-based model and PLM, summed."""

    version = 1
    pretraining = "match"
    settings = {
        "backbone": Guess("dcnv2", "mine"),
        "plm": Guess("small", "mine"),
        "learning_rate": Guess(1e-3, "mine", Valid.LEARNING_RATE),
        "plm_learning_rate": Guess(5e-5, "mine", Valid.LEARNING_RATE),
        "embedding_l2": Guess(1e-4, "mine", Valid.PENALTY),
        "batch_size": Guess(128, "mine", Valid.ROWS),
        "max_epochs": Guess(2, "mine", Valid.EPOCHS),
        "patience": Guess(1, "mine", Valid.EPOCHS),
    }
    grid = {"learning_rate": [1e-4, 1e-3]}

    @staticmethod
    def model(context):
        return Summed(context.id_model(), context.encoder())
