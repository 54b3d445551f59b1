"""Training an ID-based model, against plain restatements of what it promises."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench import metrics
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.methods.context import fresh_id_model
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.train import checkpoint, id_models
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import batch_bounds
from flipbench.train.id_models import adam, fit, predict
from flipbench.train.lr_schedule import plateau_factors
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.row_adam import RowAdam
from flipbench.train.weights import weights_sha256

CONFIG = TrainConfig(1e-2, batch_size=128, max_epochs=3, patience=3, embedding_l2=1e-4)


@pytest.fixture(scope="module")
def rows():
    """Training and validation rows, 640 of each: five batches of 128."""
    make_deterministic(1)
    whole = split.selection_rows(open_table("planted-tiny"), "chronological", "held-out")
    return [split.Rows(part.ids[:640], part.labels[:640], part.users[:640]) for part in whole]


def build(seed=0, name="deepfm"):
    settings = {key: s.value for key, s in registry.get(name).settings.items() if key not in TRAINING}
    return fresh_id_model(name, settings | {"hidden": [16, 8]}, open_table("planted-tiny"), seed)


@pytest.mark.parametrize("validated", [True, False])
def test_tables_updated_by_rows_end_where_whole_ones_do(rows, monkeypatch, validated):
    train, valid = rows
    # a learning rate at which differences of 1e-10 do not grow
    config = replace(CONFIG, embedding_l2=0.0, learning_rate=1e-4, batch_size=32)
    whole, by_rows = build(), build()
    fit(whole, train, config, Streams(0), valid=valid if validated else None)
    monkeypatch.setattr(id_models, "MIN_ROWS", 1)
    assert isinstance(adam(by_rows, config), RowAdam)
    fit(by_rows, train, config, Streams(0), valid=valid if validated else None)
    np.testing.assert_allclose(predict(by_rows, valid), predict(whole, valid), atol=1e-4)


def test_a_checkpoint_that_takes_long_is_made_seldom(tmp_path, monkeypatch):
    clock = iter([0.0, *(0.0, 4.0), 100.0, 125.0])  # made; a save of four seconds; asked twice
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    made = Checkpoint(tmp_path / "c.pt", "k", every=30)
    made.save({})
    assert [made.due(), made.due()] == [False, True]


def test_a_checkpoint_of_another_stage_is_not_used(rows, tmp_path):
    path, config = tmp_path / "c.pt", replace(CONFIG, max_epochs=1)
    fit(build(3), rows[0], config, Streams(3), checkpoint=Checkpoint(path, "other"))
    expected, model = build(), build()
    fit(expected, rows[0], config, Streams(0))
    fit(model, rows[0], config, Streams(0), checkpoint=Checkpoint(path, "k"))
    assert weights_sha256(model.state_dict()) == weights_sha256(expected.state_dict())


def test_every_seed_is_another_start():
    assert len({weights_sha256(build(seed).state_dict()) for seed in range(5)}) == 5


def test_one_stream_never_moves_another():
    streams = Streams(0)
    before = torch.rand(3, generator=streams.generator("order", 1))
    streams.generator("noise").manual_seed(5)
    torch.rand(10)
    assert torch.equal(before, torch.rand(3, generator=streams.generator("order", 1)))
    seeds = [Streams(s).seed_of(n, *p) for s in range(3) for n in ("init", "order") for p in ((), (0,), (1,))]
    assert len(set(seeds)) == len(seeds)


def test_embedding_l2_gradient(rows):
    config = replace(CONFIG, embedding_l2=0.05)
    model, reference = build(), build()
    ids, labels = torch.from_numpy(rows[0].ids[:128]), torch.from_numpy(rows[0].labels[:128]).float()
    optimizers = [adam(model, config), torch.optim.Adam(reference.parameters(), lr=config.learning_rate)]
    for _ in range(5):
        penalty = sum(0.05 / 2 * table.square().sum() for table in reference.embedding_tables())
        losses = [binary_cross_entropy_with_logits(m(ids), labels) for m in (model, reference)]
        for optimizer, loss in zip(optimizers, (losses[0], losses[1] + penalty), strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(rows):
    train, valid = rows
    model = build()
    fitted = fit(model, train, replace(CONFIG, max_epochs=50, patience=2), Streams(0), valid=valid)
    aucs = [e.auc for e in fitted.history]
    assert len(aucs) < 50
    assert fitted.best.epoch == int(np.argmax(aucs)) == len(aucs) - 3
    assert metrics.auc(valid.labels, predict(model, valid)) == fitted.best.auc


def test_rates_fall_on_a_plateau_and_again_after_a_checkpoint(rows, tmp_path, monkeypatch):
    train, valid = rows
    config, used = replace(CONFIG, max_epochs=12, patience=3, decay="plateau"), []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (used.append(self.param_groups[1]["lr"]), step(self)))
    fitted = fit(build(), train, config, Streams(0), valid=valid)
    expected = plateau_factors([epoch.auc for epoch in fitted.history])
    assert used[::5] == pytest.approx([config.learning_rate * factor for factor in expected[:-1]])
    assert expected[-1] == pytest.approx(expected[-4] / 1000)  # three epochs without a better one ended it

    resumed, saved = build(), Checkpoint(tmp_path / "c.pt", "k")
    fit(resumed, train, replace(config, max_epochs=len(expected) - 2), Streams(0), valid=valid, checkpoint=saved)
    resumed = build()
    again = fit(resumed, train, config, Streams(0), valid=valid, checkpoint=Checkpoint(tmp_path / "c.pt", "k"))
    assert [epoch.auc for epoch in again.history] == [epoch.auc for epoch in fitted.history]

    used.clear()
    refitted = fit(build(), train, replace(config, max_epochs=3), Streams(0), rate_factors=[1.0, 0.1, 0.1])
    assert used[::5] == pytest.approx([config.learning_rate * factor for factor in (1.0, 0.1, 0.1)])
    assert len(refitted.history) == 3


def test_unseen_features_share_a_trained_row(rows):
    train, _ = rows
    table = open_table("planted-tiny")
    settings = {key: s.value for key, s in registry.get("deepfm").settings.items() if key not in TRAINING}
    settings |= {"hidden": [16, 8], "oov": "trained"}
    model = fresh_id_model("deepfm", settings, table, 0)
    start = model.embed.weight[table.num_features :].detach().clone()
    fit(model, train, CONFIG, Streams(0))
    learned = (model.embed.weight[table.num_features :] - start).abs().amax(1)
    assert (learned > 10 * start.abs().max()).all()
    known = np.zeros(table.num_features, bool)
    known[train.ids] = True
    assert torch.equal(model.out_of_vocabulary.seen, torch.from_numpy(known))
    scored, column = train.ids[:2].copy(), table.item_column
    cold = np.flatnonzero(~known[table.offsets[column] :])[:2] + table.offsets[column]
    scored[0], scored[:, column] = scored[1], cold
    one, other = predict(model, split.Rows(scored, train.labels[:2], train.users[:2]))
    assert one == other  # rows that differ in an unseen item alone
    again = fresh_id_model("deepfm", settings, table, 1)
    again.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(predict(again, train), predict(model, train))


def test_without_validation_it_trains_exactly_so_long(rows):
    fitted = fit(build(), rows[0], CONFIG, Streams(0))
    assert [e.epoch for e in fitted.history] == [0, 1, 2]
    assert (fitted.best.epoch, fitted.best.auc) == (2, None)


@given(st.integers(1, 5000), st.integers(1, 600))
@example(641, 128)
def test_batches_cover_every_row_once(rows, batch_size):
    bounds = batch_bounds(rows, batch_size)
    assert (bounds[0][0], bounds[-1][1]) == (0, rows)
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) <= batch_size + 1
    assert min(sizes) > 1 or rows == 1 or batch_size == 1


def test_prediction_does_not_depend_on_how_rows_are_batched(rows, monkeypatch):
    model = build(name="dcnv2")
    whole = predict(model, rows[0])
    monkeypatch.setattr(id_models, "SCORING_BATCH", 37)
    np.testing.assert_allclose(predict(model, rows[0]), whole, atol=1e-6)
