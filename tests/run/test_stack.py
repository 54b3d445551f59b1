"""Stacked trainings against the same trainings one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flipbench.data import split
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.methods.context import fresh_id_model
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.run.stack import Member, fit_stack
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import Fitted
from flipbench.train.id_models import fit, predict
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.trainer import DivergedError

CONFIG = TrainConfig(1e-3, batch_size=64, max_epochs=3, patience=3, embedding_l2=1e-4)
SMALL = {"embedding_dim": 8, "hidden": [16, 8], "log_neurons": 12, "cin": [8, 4]}

CLOSE = 1e-5
"""Of logits of order 1, in float32: a stack's products add up in another order, and Adam carries the last bit on over
all steps. Another start, order of rows or learning rate moves logits by 1e-2 and more."""


@pytest.fixture(scope="module")
def rows():
    """Training and validation rows."""
    make_deterministic(1)
    return split.selection_rows(open_table("planted-tiny"), "chronological", "held-out")


def first(rows, count):
    return Rows(rows.ids[:count], rows.labels[:count], rows.users[:count])


def build(name, seed, precision=torch.float32, **given):
    settings = {key: s.value for key, s in registry.get(name).settings.items() if key not in TRAINING}
    settings |= {key: value for key, value in SMALL.items() if key in settings} | given
    return fresh_id_model(name, settings, open_table("planted-tiny"), seed).to(precision)


def members_of(name, configs, checkpoints=(), progress=None, **given):
    checkpoints = checkpoints or [None] * len(configs)
    return [
        Member(build(name, seed, **given), config, Streams(seed), checkpoint, progress)
        for seed, (config, checkpoint) in enumerate(zip(configs, checkpoints, strict=True))
    ]


def stack(members, train, valid=None):
    """What left the stack by index, in the order of leaving."""
    left = {index: fitted for index, fitted, _ in fit_stack(members, train, valid=valid)}
    assert len(left) == len(members)
    return left


def alone(name, config, seed, train, valid=None, **given):
    model = build(name, seed, **given)
    return model, fit(model, train, config, Streams(seed), valid=valid)


def assert_as_alone(members, left, name, train, valid=None, tolerances=None, **given):
    """Each member has the history and the logits of its own separate training."""
    for index, fitted in left.items():
        model, expected = alone(name, members[index].config, index, train, valid, **given)
        assert isinstance(fitted, Fitted)
        assert [e.epoch for e in fitted.history] == [e.epoch for e in expected.history]
        assert fitted.best.epoch == expected.best.epoch
        tolerance = (tolerances or {}).get(index, CLOSE)
        losses = [[e.figures["loss"] for e in each.history] for each in (fitted, expected)]
        np.testing.assert_allclose(*losses, atol=max(1e-6, tolerance / 10))
        logits = predict(model, train)
        assert np.abs(logits).max() > 0.1, "the tolerance is for logits that are not small themselves"
        np.testing.assert_allclose(predict(members[index].model, train), logits, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["dcnv2", "deepfm"])
def test_seeds_and_grid_points_are_what_they_are_alone(rows, name):
    train, valid = (first(part, 1600) for part in rows)
    members = members_of(name, [CONFIG, replace(CONFIG, embedding_l2=0.0), replace(CONFIG, learning_rate=3e-3)])
    assert_as_alone(members, stack(members, train, valid), name, train, valid)


@pytest.mark.parametrize("name", [name for name in registry.names("id") if name != "afn"])
def test_every_model_without_batch_norm_can_be_stacked(rows, name):
    train = first(rows[0], 321)  # the last batch is of 65 rows
    members = members_of(name, [replace(CONFIG, max_epochs=1, learning_rate=1e-2)] * 2)
    assert_as_alone(members, stack(members, train), name, train)


@pytest.mark.parametrize(("name", "given"), [("deepfm", {"batch_norm": True}), ("afn", {})])
def test_batch_norm_keeps_each_members_statistics(rows, name, given):
    """In float64: a bias before a batch norm has no gradient but rounding, which Adam makes whole steps of."""
    given = {**given, "precision": torch.float64}
    train = first(rows[0], 640)
    members = members_of(name, [replace(CONFIG, max_epochs=1)] * 2, **given)
    assert_as_alone(members, stack(members, train), name, train, tolerances={0: 1e-6, 1: 1e-6}, **given)
    counts = [[int(b) for n, b in m.model.named_buffers() if n.endswith("num_batches_tracked")] for m in members]
    assert set(counts[0] + counts[1]) == {10}


def test_early_stop_leaves_the_others(rows):
    configs = [replace(CONFIG, max_epochs=5), replace(CONFIG, max_epochs=5, patience=1, learning_rate=0.05), CONFIG]
    members = members_of("dcnv2", configs)
    left = stack(members, *rows)
    assert list(left) == [1, 2, 0], "each leaves when it is over"
    epochs = {index: len(fitted.history) for index, fitted in left.items()}
    assert epochs[1] < epochs[2] < epochs[0]
    assert left[1].best.epoch < epochs[1] - 1, "its best weights are not its last"
    assert_as_alone(members, left, "dcnv2", *rows, tolerances={1: 1e-3})  # fifty times the learning rate


@pytest.mark.parametrize("every", [1e9, -1])
def test_a_member_that_diverges_fails_alone(rows, tmp_path, every):
    """Seen at the end of the epoch, or at a checkpoint within it."""
    train, short = first(rows[0], 320), replace(CONFIG, max_epochs=2, learning_rate=1e-2)
    configs = [short, replace(CONFIG, learning_rate=1e30), short]
    members = members_of("deepfm", configs, [Checkpoint(tmp_path / f"{i}.pt", "k", every) for i in range(3)])
    left = stack(members, train)
    assert list(left) == [1, 0, 2]
    error = left.pop(1)
    assert isinstance(error, DivergedError)
    with pytest.raises(DivergedError) as separately:
        alone("deepfm", configs[1], 1, train)
    if every > 0:
        assert str(error) == str(separately.value)
    assert_as_alone(members, left, "deepfm", train)


class Killed(Exception):
    pass


@pytest.mark.parametrize("epochs_done", [0, 1])
def test_a_killed_stack_goes_on_together_and_each_member_alone(rows, tmp_path, monkeypatch, epochs_done):
    train, config = first(rows[0], 640), replace(CONFIG, max_epochs=2)
    monkeypatch.setattr("flipbench.run.stack.PROGRESS_SECONDS", -1.0)

    def kill(epoch, share, last):
        if (epoch, share) == (epochs_done, 0.6):
            raise Killed

    checkpoints = [Checkpoint(tmp_path / f"{i}.pt", "k", -1) for i in range(2)]
    with pytest.raises(Killed):
        stack(members_of("dcnv2", [config] * 2, checkpoints, kill), train)
    saved = [checkpoint.load() for checkpoint in checkpoints]
    assert [(s["epoch"], s["step"]) for s in saved] == [(epochs_done, 6)] * 2
    model = build("dcnv2", 0)  # from here the member's own checkpoint is one of an ordinary training
    copied, separate = (Checkpoint(tmp_path / f"{name}.pt", "k") for name in ("copied", "separate"))
    copied.path.write_bytes(checkpoints[0].path.read_bytes())
    fit(model, train, config, Streams(0), checkpoint=copied)
    reference = build("dcnv2", 0)
    fit(reference, train, config, Streams(0), checkpoint=separate)
    np.testing.assert_allclose(predict(model, train), predict(reference, train), rtol=0, atol=CLOSE)
    members = members_of("dcnv2", [config] * 2, checkpoints)
    assert_as_alone(members, stack(members, train), "dcnv2", train)
    sizes = [checkpoint.path.stat().st_size for checkpoint in (checkpoints[0], separate)]
    assert sizes[0] < 1.1 * sizes[1], "it holds one member alone"


def test_members_at_different_steps_are_not_mixed(rows, tmp_path):
    train, config = first(rows[0], 640), replace(CONFIG, max_epochs=2)
    checkpoints = [Checkpoint(tmp_path / f"{i}.pt", "k") for i in range(3)]
    fit(build("dcnv2", 1), train, replace(config, max_epochs=1), Streams(1), checkpoint=checkpoints[1])
    members = members_of("dcnv2", [config] * 3, checkpoints)
    assert_as_alone(members, stack(members, train), "dcnv2", train)


def test_an_optimizer_that_goes_by_rows_is_not_stacked(rows, monkeypatch):
    monkeypatch.setattr("flipbench.train.id_models.MIN_ROWS", 1)
    members = members_of("dcnv2", [replace(CONFIG, embedding_l2=0.0)] * 2)
    with pytest.raises(TypeError, match="RowAdam"):
        stack(members, rows[0])
