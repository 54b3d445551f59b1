"""FLIP small enough to test with: an encoder of one layer, small ID-based models, and some planted rows."""

from dataclasses import asdict
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.methods.flip.batch import PretrainBatch, draw_batch
from flipbench.methods.flip.ctr import FLIP, FLIPPLM
from flipbench.methods.flip.methods import Alignment
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.noise import Noise, feature_counts
from flipbench.methods.flip.settings import RELEASED, PretrainSettings
from flipbench.models.click_model import ClickModel, IDClickModel
from flipbench.models.encoder import load_tokenizer
from flipbench.models.id_model import IDModel
from flipbench.plan import expand, registry, suite
from flipbench.plan.settings import TRAINING
from flipbench.text.collator import PromptCollator
from flipbench.text.tokens import TokenBatch, TokenStore
from flipbench.train.config import TrainConfig
from flipbench.train.history import Fitted
from flipbench.train.pretrain import pretrain
from flipbench.train.rng import Streams

FLAVOURS = {"paper": {}, "released": {k: v for k, v in RELEASED["pretrain"].items() if k != "learning_rate"}}
"""What each has otherwise than the paper, of a :class:`PretrainSettings`."""


@cache
def planted() -> Table:
    return open_table("planted-tiny")


@cache
def tokens() -> TokenStore:
    return TokenStore.build(planted(), load_tokenizer("small", planted()))


@cache
def counts() -> Tensor:
    """Of the planted features in all training rows."""
    ids = split.training_rows(planted(), "chronological").ids
    return feature_counts(torch.from_numpy(ids), planted().num_features)


@cache
def planted_rows() -> list[split.Rows]:
    """Training and validation rows, 320 of each: five batches of 64."""
    whole = split.selection_rows(planted(), "chronological", "held-out")
    return [split.Rows(part.ids[:320], part.labels[:320], part.users[:320]) for part in whole]


class TinyEncoder(nn.Module):
    """One attention layer of two heads and a feed-forward layer, on token and position embeddings."""

    def __init__(self, hidden_size: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = tokens().vocab_size, hidden_size, 256
        self.tokens = nn.Embedding(self.vocab_size, hidden_size)
        self.positions = nn.Embedding(self.max_positions, hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.feed = nn.Sequential(nn.Linear(hidden_size, 32), nn.GELU(), nn.Linear(32, hidden_size))
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.calls = 0

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        self.calls += 1
        x = self.dropout(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]])
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=attention_mask.bool()[:, None, None])
        x = x + attended.transpose(1, 2).flatten(2)
        return self.norm(x + self.dropout(self.feed(x)))

    def states(self, text: TokenBatch, at: Tensor | None = None) -> Tensor:
        padded: Tensor = self(text.tokens, text.attention_mask)
        return padded if at is None else padded.flatten(0, 1)[at]


def build_id(name: str = "dcnv2", seed: int = 0, std: float | None = None, **given: Any) -> IDModel:
    """With ``std`` the embeddings are drawn anew: a fresh model's representation hardly varies from row to row."""
    declared, small = registry.get(name), {"embedding_dim": 4, "hidden": [12, 6]}
    settings = {key: small.get(key, s.value) for key, s in declared.settings.items() if key not in TRAINING}
    torch.manual_seed(seed)
    model: IDModel = declared.load()(planted().num_features, len(planted().fields), **settings | given)
    if std is not None:
        for weight in model.embedding_tables():
            nn.init.normal_(weight, std=std)
    return model


def build_click(kind: str, seed: int = 0, dropout: float = 0.0) -> tuple[ClickModel, PromptCollator | None]:
    """A model of kind ``flip``, ``flip_id`` or ``flip_plm``, and its collator."""
    id_model = build_id("deepfm", seed, dropout=dropout)
    encoder: Any = TinyEncoder(dropout=dropout)
    if kind == "flip_id":
        return IDClickModel(id_model), None
    return FLIP(id_model, encoder) if kind == "flip" else FLIPPLM(encoder), PromptCollator(tokens())


def build(dropout: float = 0.0, id_model: str = "dcnv2", seed: int = 0, **settings: Any) -> Pretraining:
    """What FLIP pretrains."""
    backbone = build_id(id_model, seed, std=0.5)
    torch.manual_seed(seed)
    encoder: Any = TinyEncoder()
    model = Pretraining(backbone, encoder, PretrainSettings(**settings), counts())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model


def draw(settings: PretrainSettings, seed: int = 0, epoch: int = 0, step: int = 0, **more: Any) -> PretrainBatch:
    """One batch of the first training rows."""
    ids = torch.from_numpy(planted_rows()[0].ids[:48])
    return draw_batch(ids, tokens(), Noise(counts()), settings, Streams(seed), epoch, step, **more)


def align(model: Pretraining, config: TrainConfig, seed: int = 0, ids: Any = None, **more: Any) -> Fitted:
    """Pretrain as a run does, on the training rows or ``ids``."""
    ids = planted_rows()[0].ids if ids is None else ids
    context: Any = SimpleNamespace(table=planted(), tokens=tokens(), streams=Streams(seed))
    make_batch = Alignment.make_batch(context, torch.from_numpy(ids), **asdict(model.settings))
    return pretrain(model, ids, make_batch, config, context.streams, **more)


def plan(path: Any, only: Any = (), fingerprint: str = "a" * 64) -> expand.Plan:
    """Of a suite on MovieLens-1M and planted-tiny; ``fingerprint`` of the latter."""
    fingerprints = {"planted-tiny": fingerprint, "movielens-1m": "b" * 64}
    return expand.expand(expand.narrow(suite.load(str(path)), only), fingerprints, lambda *_: None)
