"""Stacked trainings against the same trainings one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flipbench.data import split
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.run.stack import Member, fit_stack
from flipbench.run.tasks import fresh_id_model
from flipbench.train import row_adam
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.id_models import Recipe, fit, predict
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.trainer import DivergedError, Fitted

RECIPE = Recipe(learning_rate=1e-3, embedding_l2=1e-4, batch_size=64, max_epochs=3, patience=3)
SMALL = {"embedding_dim": 8, "hidden": [16, 8], "log_neurons": 12, "cin": [8, 4]}
NORMED = ("afn",)

CLOSE = 1e-5
"""Of logits of order 1, in float32: a stack's products add up in another order, and Adam carries the last bit on over
150 steps. Another start, order of rows or learning rate moves logits by 1e-2 and more."""


@pytest.fixture(scope="module")
def parts():
    make_deterministic(1)
    return split.selection_rows(open_table("planted-tiny"), "chronological", "held-out")


def first(rows, count):
    return Rows(rows.ids[:count], rows.labels[:count], rows.users[:count])


def build(name, seed, precision=torch.float32, **changes):
    own = {k: s.value for k, s in registry.get(name).settings.items() if k not in TRAINING}
    own |= {k: v for k, v in SMALL.items() if k in own} | changes
    return fresh_id_model(name, own, open_table("planted-tiny"), seed).to(precision)


def members_of(name, recipes, files=(), progress=None, **changes):
    files = files or [None] * len(recipes)
    return [
        Member(build(name, seed, **changes), recipe, Streams(seed), file, progress)
        for seed, (recipe, file) in enumerate(zip(recipes, files, strict=True))
    ]


def stack(members, train, valid=None):
    """What left the stack by index, in the order of leaving."""
    return {index: found for index, found, _ in fit_stack(members, train, valid=valid)}


def alone(name, recipe, seed, train, valid=None, **changes):
    model = build(name, seed, **changes)
    return model, fit(model, train, recipe, Streams(seed), valid=valid)


def assert_as_alone(members, found, name, train, valid, tolerance=CLOSE, **changes):
    """Each member has the history and the logits of its own separate training."""
    for index, member in enumerate(members):
        model, expected = alone(name, member.recipe, index, train, valid, **changes)
        assert isinstance(found[index], Fitted)
        assert [e.epoch for e in found[index].history] == [e.epoch for e in expected.history]
        assert found[index].best.epoch == expected.best.epoch
        losses = [[e.loss for e in each.history] for each in (found[index], expected)]
        np.testing.assert_allclose(*losses, atol=1e-6)
        logits = predict(model, train)
        assert np.abs(logits).max() > 0.1, "the tolerance is for logits that are not small themselves"
        np.testing.assert_allclose(predict(member.model, train), logits, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["dcnv2", "deepfm"])
def test_seeds_and_grid_points_are_what_they_are_alone(parts, name):
    recipes = [RECIPE, replace(RECIPE, embedding_l2=0.0), replace(RECIPE, learning_rate=3e-3)]
    members = members_of(name, recipes)
    assert_as_alone(members, stack(members, *parts), name, *parts)


@pytest.mark.parametrize("name", [name for name in registry.names("id") if name not in NORMED])
def test_every_model_without_batch_norm_can_be_stacked(parts, name):
    train = first(parts[0], 321)  # the last batch is of 65 rows
    members = members_of(name, [replace(RECIPE, max_epochs=1, learning_rate=1e-2)] * 2)
    assert_as_alone(members, stack(members, train), name, train, None)


@pytest.mark.parametrize(("name", "changes"), [("deepfm", {"batch_norm": True}), ("afn", {})])
def test_batch_norm_keeps_each_members_statistics(parts, name, changes):
    """In float64: a bias before a batch norm has no gradient but rounding, which Adam makes whole steps of."""
    changes = {**changes, "precision": torch.float64}
    train = first(parts[0], 640)
    members = members_of(name, [replace(RECIPE, max_epochs=1)] * 2, **changes)
    assert_as_alone(members, stack(members, train), name, train, None, tolerance=1e-6, **changes)
    counts = [[int(b) for n, b in m.model.named_buffers() if n.endswith("num_batches_tracked")] for m in members]
    assert set(counts[0] + counts[1]) == {10}


def test_a_member_that_stops_early_leaves_the_others_as_they_are(parts):
    train, valid = parts
    recipes = [replace(RECIPE, max_epochs=5), replace(RECIPE, max_epochs=5, patience=1, learning_rate=0.05), RECIPE]
    members = members_of("dcnv2", recipes)
    found = stack(members, train, valid)
    assert list(found) == [1, 2, 0], "each leaves when it is over"
    epochs = {index: len(each.history) for index, each in found.items()}
    assert epochs[1] < epochs[2] < epochs[0]
    assert found[1].best.epoch < epochs[1] - 1, "its best weights are not its last"
    for index in range(3):
        model, expected = alone("dcnv2", recipes[index], index, train, valid)
        assert [e.epoch for e in found[index].history] == [e.epoch for e in expected.history]
        tolerance = CLOSE if index != 1 else 1e-3  # fifty times the learning rate
        np.testing.assert_allclose(predict(members[index].model, valid), predict(model, valid), rtol=0, atol=tolerance)


@pytest.mark.parametrize("every", [1e9, -1])
def test_a_member_that_diverges_fails_alone(parts, tmp_path, every):
    """Found at the end of the epoch, or at a checkpoint within it."""
    train = first(parts[0], 320)
    recipes = [replace(RECIPE, max_epochs=2), replace(RECIPE, learning_rate=1e30), replace(RECIPE, max_epochs=2)]
    files = [Checkpoint(tmp_path / f"{i}.pt", "k", every) for i in range(3)]
    members = members_of("deepfm", recipes, files)
    found = stack(members, train)
    assert isinstance(found[1], DivergedError)
    with pytest.raises(DivergedError) as separately:
        alone("deepfm", recipes[1], 1, train)
    if every > 0:
        assert str(found[1]) == str(separately.value)
    assert list(found) == [1, 0, 2]
    for index in (0, 2):
        model, expected = alone("deepfm", recipes[index], index, train)
        assert len(found[index].history) == len(expected.history) == 2
        np.testing.assert_allclose(predict(members[index].model, train), predict(model, train), rtol=0, atol=CLOSE)


class Killed(Exception):
    pass


@pytest.mark.parametrize("epochs_done", [0, 1])
def test_a_killed_stack_goes_on_together_and_each_member_alone(parts, tmp_path, epochs_done):
    train, recipe = first(parts[0], 1600), replace(RECIPE, max_epochs=2)

    def kill(epoch, share, last):
        if epoch == epochs_done:
            raise Killed

    files = [Checkpoint(tmp_path / f"{i}.pt", "k", -1) for i in range(2)]
    with pytest.raises(Killed):
        stack(members_of("dcnv2", [recipe] * 2, files, kill), train)
    saved = [file.load() for file in files]
    assert [(s["epoch"], s["step"]) for s in saved] == [(epochs_done, 16)] * 2
    model = build("dcnv2", 0)  # from here the member's own checkpoint is one of an ordinary training
    copied = Checkpoint(tmp_path / "copy.pt", "k")
    copied.path.write_bytes(files[0].path.read_bytes())
    fit(model, train, recipe, Streams(0), checkpoint=copied)
    reference, _ = alone("dcnv2", recipe, 0, train)
    np.testing.assert_allclose(predict(model, train), predict(reference, train), rtol=0, atol=CLOSE)
    members = members_of("dcnv2", [recipe] * 2, files)
    assert_as_alone(members, stack(members, train), "dcnv2", train, None)
    fit(build("dcnv2", 0), train, recipe, Streams(0), checkpoint=Checkpoint(tmp_path / "own.pt", "k"))
    assert files[0].path.stat().st_size < 1.1 * (tmp_path / "own.pt").stat().st_size, "holds one member alone"


def test_members_at_different_steps_are_not_mixed(parts, tmp_path):
    train = first(parts[0], 640)
    recipe = replace(RECIPE, max_epochs=2)
    files = [Checkpoint(tmp_path / f"{i}.pt", "k") for i in range(3)]
    fit(build("dcnv2", 1), train, replace(recipe, max_epochs=1), Streams(1), checkpoint=files[1])
    members = members_of("dcnv2", [recipe] * 3, files)
    assert_as_alone(members, stack(members, train), "dcnv2", train, None)


def test_an_optimiser_that_goes_by_rows_is_not_stacked(parts, monkeypatch):
    monkeypatch.setattr("flipbench.train.id_models.LARGE", 1)
    members = members_of("dcnv2", [replace(RECIPE, embedding_l2=0.0)] * 2)
    with pytest.raises(TypeError, match=row_adam.RowAdam.__name__):
        stack(members, parts[0])
