"""A recorded step against the same step by autograd: equal bits."""

import numpy as np
import pytest
import torch
from torch import nn

from flipbench import registry
from flipbench.data.split import Rows
from flipbench.engine import fit as engine
from flipbench.engine import record
from flipbench.engine.fit import Recipe, fit, weights_sha256
from flipbench.engine.streams import Streams, make_deterministic
from flipbench.method import TRAINING
from flipbench.nn.id_model import IDModel

CPU = torch.device("cpu")
MODELS = ["afm", "pnn", "wide_deep", "dcn", "deepfm", "xdeepfm", "autoint", "dcnv2", "dcnv2_mix"]
SIZES = (60, 2, 7, 21, 34, 36, 36, 18)


@pytest.fixture(scope="module")
def train():
    make_deterministic(1)
    draw = np.random.default_rng(0)
    ids = np.stack([draw.integers(0, size, 40 * 3 + 7) for size in SIZES], axis=1) + np.cumsum([1, *SIZES[:-1]])
    return Rows(ids.astype(np.int32), draw.integers(0, 2, len(ids), dtype=np.uint8), ids[:, 0])


def build(name, **changes):
    declared = registry.get(name)
    own = {key: setting.value for key, setting in declared.settings.items() if key not in TRAINING} | changes
    return declared.load()(1 + sum(SIZES), len(SIZES), **{k: v for k, v in own.items() if k in declared.settings})


def trained(make, train, monkeypatch, worth, precision="float32"):
    """Weights and losses after two epochs; how many records were made."""
    made = []
    original = record._record
    monkeypatch.setattr(record, "_record", lambda *args: made.append(1) or original(*args))
    monkeypatch.setattr(engine, "WORTH", worth)
    torch.manual_seed(0)
    model = make()
    found = fit(model, train, Recipe(1e-2, 1e-4, 40, max_epochs=2, patience=2, precision=precision), Streams(0))
    monkeypatch.undo()
    return weights_sha256(model.state_dict()), [epoch.loss for epoch in found.history], len(made)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_recorded_training_is_the_same_bit_for_bit(train, monkeypatch, name, precision):
    def make():
        return build(name, dropout=0.3)

    *eager, none = trained(make, train, monkeypatch, 10**9, precision)
    *recorded, once = trained(make, train, monkeypatch, 0, precision)
    assert recorded == eager
    assert (none, once) == (0, 1)


class Careless(IDModel):
    """Shares a layer, writes into tensors that were cast, and has a weight that no gradient reaches."""

    version, settings, grid = 1, {}, {}
    steps_alike = True

    def __init__(self):
        super().__init__(1 + sum(SIZES), len(SIZES), 4, representation_dim=32)
        self.shared = nn.Linear(32, 32)
        self.idle = nn.Parameter(torch.zeros(3))

    def represent(self, ids):
        x = self.embed(ids).flatten(1)
        scaled = x * 1
        first = self.shared(scaled.bfloat16().float())
        scaled.mul_(3.0)
        second = self.shared(scaled.bfloat16().float())
        return torch.addcmul(x, second, first).sub_(x.bfloat16().add_(1).float())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tensors_written_into_are_not_taken_for_what_they_were(train, monkeypatch, precision):
    *eager, none = trained(Careless, train, monkeypatch, 10**9, precision)
    *recorded, once = trained(Careless, train, monkeypatch, 0, precision)
    assert recorded == eager
    assert (none, once) == (0, 1)


def test_only_what_says_so_on_a_cpu_without_batch_norm_is_recorded():
    assert record.can_be_recorded(build("deepfm"), CPU)
    assert not record.can_be_recorded(build("deepfm"), torch.device("cuda"))
    assert not record.can_be_recorded(build("deepfm", batch_norm=True), CPU)
    assert not record.can_be_recorded(build("afn"), CPU)
    model = build("deepfm")
    model.head.weight = nn.Parameter(model.head.weight.detach().expand(2, -1))
    assert not record.can_be_recorded(model, CPU)
    model = build("deepfm")
    model.__class__ = type("Heir", (type(model),), {})  # may branch on its rows, whatever its parent does
    assert not record.can_be_recorded(model, CPU)
