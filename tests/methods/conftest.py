"""Small models on planted rows: an ID model of each kind, and an encoder of one layer."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny_encoder import TinyEncoder
from torch import Tensor, nn

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.methods.flip.batch import PretrainBatch, draw_batch
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.noise import Noise, feature_counts
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.encoder import load_tokenizer
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.text.tokens import TokenStore
from flipbench.train.rng import Streams

ROWS = 48


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def table():
    return open_table("planted-tiny")


@pytest.fixture(scope="package")
def store(table) -> TokenStore:
    return TokenStore.build(table, load_tokenizer("small", table))


@pytest.fixture(scope="package")
def parts(table):
    """(train, valid), a few hundred rows each."""
    train, valid = split.selection_rows(table, "chronological", "held-out")
    cut = [split.Rows(r.ids[:320], r.labels[:320], r.users[:320]) for r in (train, valid)]
    return cut[0], cut[1]


@pytest.fixture(scope="package")
def counts(table) -> Tensor:
    return feature_counts(torch.from_numpy(split.training_rows(table, "chronological").ids), table.num_features)


@pytest.fixture(scope="package")
def build_id(table) -> Callable[..., Any]:
    def build(name: str = "dcnv2", seed: int = 0, std: float | None = None, **changes: Any) -> Any:
        declared = registry.get(name)
        own = {k: s.value for k, s in declared.settings.items() if k not in TRAINING}
        own |= {"embedding_dim": 4} | ({"hidden": [12, 6]} if "hidden" in own else {}) | changes
        torch.manual_seed(seed)
        model = declared.load()(table.num_features, len(table.fields), **own)
        if std is not None:  # a fresh model's representation hardly varies: too still to test against
            for parameter in model.embedding_tables():
                nn.init.normal_(parameter, std=std)
        return model

    return build


@pytest.fixture(scope="package")
def build(build_id, store, counts) -> Callable[..., Pretraining]:
    """``build(dropout=.., id_model=.., seed=.., **settings)``"""

    def build(
        dropout: float = 0.0, id_model: str = "dcnv2", seed: int = 0, std: float | None = 0.5, **settings: Any
    ) -> Pretraining:
        backbone = build_id(id_model, seed, std)
        torch.manual_seed(seed)
        encoder = TinyEncoder(store.vocab_size, dropout=dropout)
        model = Pretraining(backbone, encoder, PretrainSettings(**settings), counts)  # type: ignore[arg-type]
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        return model

    return build


@pytest.fixture(scope="package")
def draw(parts, store, counts) -> Callable[..., PretrainBatch]:
    """``draw(settings, seed, epoch, step)``: one batch of the first training rows."""

    def draw(settings: PretrainSettings, seed: int = 0, epoch: int = 0, step: int = 0, **more: Any) -> PretrainBatch:
        ids = torch.from_numpy(parts[0].ids[:ROWS])
        return draw_batch(ids, store, Noise(counts), settings, Streams(seed), epoch, step, **more)

    return draw
