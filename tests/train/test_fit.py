"""The training loop against plain restatements of what it promises."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.train import id_models as engine
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.id_models import Recipe, fit, predict, weights_sha256
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.trainer import DivergedError, batch_bounds

RECIPE = Recipe(learning_rate=1e-2, embedding_l2=1e-4, batch_size=128, max_epochs=3, patience=3)


@pytest.fixture(scope="module")
def parts():
    make_deterministic(1)
    return split.selection_rows(open_table("planted-tiny"), "chronological", "held-out")


def build(seed=0, name="deepfm", **changes):
    declared = registry.get(name)
    own = {k: s.value for k, s in declared.settings.items() if k not in TRAINING} | changes
    torch.manual_seed(Streams(seed).seed_of("init"))
    table = open_table("planted-tiny")
    return declared.load()(table.num_features, len(table.fields), **own)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("kill_at", "by_rows", "recorded"),
    [(0, 0, 0), (1, 0, 0), (2, 0, 0), (4, 0, 0), (2, 1, 0), (4, 1, 0), (2, 0, 1), (4, 0, 1), (4, 1, 1)],
)
def test_a_run_killed_anywhere_resumes_bit_for_bit(parts, tmp_path, monkeypatch, kill_at, by_rows, recorded):
    train, valid = parts
    recipe = replace(RECIPE, batch_size=32)
    monkeypatch.setattr(engine, "WORTH", 0 if recorded else 10**9)
    if by_rows:
        monkeypatch.setattr(engine, "LARGE", 1)
        recipe = replace(recipe, embedding_l2=0.0)
    undisturbed = build(dropout=0.3)  # dropout: its stream must resume too
    history = fit(undisturbed, train, recipe, Streams(7), valid=valid).history
    calls = iter(range(100))

    def kill(*_):
        if next(calls) == kill_at:
            raise Killed

    # every=-1: a checkpoint at each of the loop's looks, so within epochs as well
    checkpoint = Checkpoint(tmp_path / "c.pt", "k", -1)
    with pytest.raises(Killed):
        fit(build(dropout=0.3), train, recipe, Streams(7), valid=valid, checkpoint=checkpoint, progress=kill)
    resumed = build(dropout=0.3)
    if checkpoint.path.exists():
        resumed = build(seed=99, dropout=0.3)  # its own start must not matter
    assert fit(resumed, train, recipe, Streams(7), valid=valid, checkpoint=checkpoint).history == history
    assert weights_sha256(resumed.state_dict()) == weights_sha256(undisturbed.state_dict())


@pytest.mark.parametrize("validated", [True, False])
def test_tables_updated_by_rows_end_where_whole_ones_do(parts, monkeypatch, validated):
    train, valid = parts
    recipe = replace(RECIPE, embedding_l2=0.0, learning_rate=1e-4, batch_size=32)  # at 1e-3, 1e-10 grows to 0.06
    models = [build(), build()]
    fit(models[0], train, recipe, Streams(0), valid=valid if validated else None)
    monkeypatch.setattr(engine, "LARGE", 1)
    assert isinstance(engine.adam(models[1], recipe), engine.RowAdam)
    fit(models[1], train, recipe, Streams(0), valid=valid if validated else None)
    np.testing.assert_allclose(predict(models[1], valid), predict(models[0], valid), atol=1e-4)


def test_resume_starts_from_the_saved_step_not_from_the_start(parts, tmp_path, monkeypatch):
    train, _ = parts
    small = replace(RECIPE, batch_size=16, max_epochs=1)
    path = tmp_path / "c.pt"

    def kill(*_):
        if path.exists():
            raise Killed

    with pytest.raises(Killed):
        fit(build(), train, small, Streams(0), checkpoint=Checkpoint(path, "k", -1), progress=kill)
    saved = Checkpoint(path, "k").load()
    assert saved is not None
    assert saved["step"] > 0
    steps = []
    original = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a: (steps.append(1), original(self, *a))[1])
    fit(build(), train, small, Streams(0), checkpoint=Checkpoint(path, "k"))
    assert len(steps) == len(batch_bounds(len(train), 16)) - saved["step"]


def test_a_checkpoint_that_takes_long_is_made_seldom(tmp_path, monkeypatch):
    from flipbench.train import checkpoint

    clock = iter([0.0, *(0.0, 4.0), 100.0, 125.0])  # made; a save of four seconds; asked twice
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    made = Checkpoint(tmp_path / "c.pt", "k", every=30)
    made.save({})
    assert [made.due(), made.due()] == [False, True]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", None])
def test_a_checkpoint_that_cannot_be_trusted_is_not_used(parts, tmp_path, damage):
    train, valid = parts
    path = tmp_path / "c.pt"
    one = replace(RECIPE, max_epochs=1)
    clean = build()
    fit(clean, train, one, Streams(0), valid=valid)
    if damage is None:  # of another stage
        fit(build(3), train, one, Streams(3), valid=valid, checkpoint=Checkpoint(path, "other"))
    else:
        path.write_bytes(damage)
    model = build()
    fit(model, train, one, Streams(0), valid=valid, checkpoint=Checkpoint(path, "k"))
    assert weights_sha256(model.state_dict()) == weights_sha256(clean.state_dict())


def test_seeds_differ_and_a_seed_repeats(parts):
    train, _ = parts
    assert len({weights_sha256(build(seed).state_dict()) for seed in range(5)}) == 5
    logits = []
    for _ in range(2):
        model = build(3)
        fit(model, train, replace(RECIPE, max_epochs=1), Streams(3))
        logits.append(predict(model, train))
    assert np.array_equal(*logits)


def test_one_stream_never_moves_another():
    streams = Streams(0)
    before = torch.rand(3, generator=streams.generator("order", 1))
    streams.generator("noise").manual_seed(5)
    torch.rand(10)
    assert torch.equal(before, torch.rand(3, generator=streams.generator("order", 1)))
    seeds = [Streams(s).seed_of(n, *p) for s in range(3) for n in ("init", "order") for p in ((), (0,), (1,))]
    assert len(set(seeds)) == len(seeds)


def test_embedding_l2_is_the_gradient_of_half_lambda_squared_norm(parts):
    train, _ = parts
    recipe = replace(RECIPE, embedding_l2=0.05)
    model, plain = build(), build()
    ids, labels = torch.from_numpy(train.ids[:128]), torch.from_numpy(train.labels[:128]).float()
    adam = engine.adam(model, recipe)
    reference = torch.optim.Adam(plain.parameters(), lr=recipe.learning_rate)
    for _ in range(5):
        for m, optimizer in ((model, adam), (plain, reference)):
            loss = nn.functional.binary_cross_entropy_with_logits(m(ids), labels)
            if m is plain:
                loss = loss + sum(0.05 / 2 * t.square().sum() for t in m.embedding_tables())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(parts):
    train, valid = parts
    model = build()
    fitted = fit(model, train, replace(RECIPE, max_epochs=50, patience=2), Streams(0), valid=valid)
    aucs = [e.auc for e in fitted.history]
    assert len(aucs) < 50
    assert fitted.best.epoch == int(np.argmax(aucs)) == len(aucs) - 3
    from flipbench import metrics

    assert metrics.auc(valid.labels, predict(model, valid)) == fitted.best.auc


def test_without_validation_it_trains_exactly_so_long(parts):
    fitted = fit(build(), parts[0], RECIPE, Streams(0))
    assert [e.epoch for e in fitted.history] == [0, 1, 2]
    assert fitted.best.epoch == 2
    assert fitted.best.auc is None


def test_a_loss_that_is_no_number_is_an_error(parts, tmp_path):
    model = build()
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="epoch 1"):
        fit(model, parts[0], RECIPE, Streams(0), checkpoint=Checkpoint(tmp_path / "c.pt", "k", -1))
    assert not (tmp_path / "c.pt").exists(), "a checkpoint of a diverged run would only diverge again"


@given(st.integers(1, 5000), st.integers(1, 600))
def test_batches_cover_every_row_once(rows, batch_size):
    bounds = batch_bounds(rows, batch_size)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == rows
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) <= batch_size + 1
    assert min(sizes) > 1 or rows == 1 or batch_size == 1


def test_prediction_does_not_depend_on_how_rows_are_batched(parts, monkeypatch):
    model = build(name="dcnv2")
    whole = predict(model, parts[0])
    monkeypatch.setattr(engine, "SCORING_BATCH", 37)
    np.testing.assert_allclose(predict(model, parts[0]), whole, atol=1e-6)
