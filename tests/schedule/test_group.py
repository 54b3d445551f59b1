"""Stages trained together by one worker: which, how they are recorded, and what becomes of them when it dies."""

import json
import os
import signal

import numpy as np
import pytest

from flipbench.errors import UserError
from flipbench.plan import registry
from flipbench.plan.code import code_of
from flipbench.plan.expand import resolve
from flipbench.plan.stage import DataCondition, Stage, evaluation_stage
from flipbench.run import stack as engine
from flipbench.run.stages import run_stage
from flipbench.schedule import group
from flipbench.schedule.events import Note, Progress, Started
from flipbench.schedule.local import Pool
from flipbench.store.predictions import read_predictions
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint

SHORT = "{max_epochs: 2, batch_size: 64, embedding_dim: 4, hidden: [8]}"


@pytest.fixture
def stages_of(staged):
    """The store and stages of a short suite."""

    def of(**changes):
        return staged(settings=SHORT, **changes)[1:]

    return of


def evaluation(method="dcnv2", seed=0, **settings):
    declared = registry.get(method)
    condition = DataCondition("held-out", "planted-tiny", "f" * 64, "chronological")
    return evaluation_stage(condition, declared, resolve(declared, settings), seed)


def selection(method="dcnv2", seed=0, **settings):
    return evaluation(method, seed, **settings).parents["fit"].parents["select"]


def together(stages, store, tick=None):
    """Run stages as a stack in this process; how each ended, by key."""
    ended = {}
    engine.run_stack(stages, store, "cpu", 1, tick, lambda stage, how: ended.update({stage.key: how}))
    return ended


def env(store, stage):
    return store.read(stage, "env.json")


# Which stages


def test_what_may_differ_within_a_stack_and_what_not():
    base = group.stack_signature(selection())
    assert base is not None
    for own in ({"learning_rate": 0.5}, {"embedding_l2": 0.0}, {"max_epochs": 3, "patience": 1}):
        assert group.stack_signature(selection(seed=7, **own)) == base
    for other in ({"batch_size": 128}, {"cross_layers": 2}, {"hidden": [3]}):
        assert group.stack_signature(selection(**other)) not in (base, None)
    for alone in ({"dropout": 0.1}, {"batch_norm": True}, {"precision": "bfloat16"}):
        assert group.stack_signature(selection(**alone)) is None
    assert group.stack_signature(selection("deepfm")) not in (base, None)
    assert group.stack_signature(selection("afn")) is None
    assert group.stack_signature(evaluation()) is None, "an evaluation is no training"
    refit = evaluation().parents["fit"]
    assert group.stack_signature(refit) not in (base, None), "it has other rows than a selection"


def test_a_stack_is_the_first_stage_and_the_next_ones_alike():
    seeds = [selection(seed=seed) for seed in range(4)]
    alone = selection(dropout=0.1)
    others = [selection("deepfm"), seeds[1], alone, seeds[2], seeds[3]]
    assert group.alike(seeds[0], others, 3) == seeds[:3]
    assert group.alike(seeds[0], others, 1) == seeds[:1]
    assert group.alike(alone, others, 3) == [alone]


def test_how_many_is_off_on_a_cpu_unless_asked_for():
    assert [group.stack_size(*given) for given in (("auto", "cpu"), ("off", "cuda"), ("4", "cpu"))] == [1, 1, 4]
    assert group.stack_size("auto", "cuda:1") == group.GPU_STACK_SIZE > 1
    for wrong in ("0", "-1", "many"):
        with pytest.raises(UserError, match=rf"^--stack {wrong}: expected a number above 0, auto or off$"):
            group.stack_size(wrong, "cpu")


# How they are recorded


def test_members_have_run_folders(stages_of, tmp_path):
    store, stages = stages_of(seeds="3")
    separate = Store(tmp_path / "separate")
    separate.prepare()
    for role in ("select", "refit"):
        of_role = [s for s in stages if s.role == role]
        assert together(of_role, store) == {s.key: store.metrics(s) for s in of_role}
    for stage in stages:
        run_stage(stage, separate, "cpu", 1)
        run_stage(stage, store, "cpu", 1)  # the evaluations: what is done stays as it is
    assert sorted(p.name for p in store.root.glob("*/*/*")) == sorted(p.name for p in separate.root.glob("*/*/*"))
    today = code_of(registry.get("dcnv2").target)
    for stage in stages:
        store.check(stage)
        fitted = stage.role != "evaluate"
        assert env(store, stage).get("stacked") == (3 if fitted else None)
        assert env(store, stage)["code"] == env(separate, stage)["code"] == {"dcnv2": today.digest}
        assert "stacked" not in env(separate, stage)
        if fitted:
            ours, theirs = store.metrics(stage), separate.metrics(stage)
            assert ours["initial_weights"] == theirs["initial_weights"]
            assert ours["best"]["epoch"] == theirs["best"]["epoch"]
            log = [json.loads(line) for line in (store.folder(stage) / "events.jsonl").read_text().splitlines()]
            assert [e["event"] for e in log] == ["start", "built", *["epoch"] * len(ours["history"]), "done"]
        else:
            files = (each.folder(stage) / "predictions.parquet" for each in (store, separate))
            logits = [read_predictions(file).logits for file in files]
            np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)
    assert not list((store.root / ".work").glob("*/"))


def test_diverged_member_leaves_the_others(stages_of):
    store, stages = stages_of(methods="[dcnv2, wild: {method: dcnv2, learning_rate: 10.0, cross_layers: 3}]")
    calm, wild = (s for s in stages if s.role == "select")
    assert group.stack_signature(calm) == group.stack_signature(wild)
    settings = {**wild.spec["settings"], "learning_rate": 1e30}  # beyond a suite's
    wild = Stage(wild.role, {**wild.spec, "settings": settings})
    ended = together([wild, calm], store)
    record = store.failure(wild)
    assert record is not None
    assert record["reason"].startswith("DivergedError: the training loss 'loss' is nan")
    assert record["env"]["stacked"] == 2
    assert store.done(calm)
    assert not store.done(wild)
    assert ended[calm.key] == store.metrics(calm)
    assert isinstance(ended[wild.key], engine.DivergedError)


def test_resumed_member_adds_its_time(stages_of):
    store, stages = stages_of(seeds="2")
    selections = [s for s in stages if s.role == "select"]

    def kill(position):
        if position["epoch"] >= 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        together(selections, store, kill)
    for stage, earlier in zip(selections, (1000.0, 5000.0), strict=True):
        checkpoint = Checkpoint(store.work(stage) / "checkpoint.pt", stage.key)
        state = checkpoint.load()
        assert 0 < state["seconds"] < 60
        Checkpoint(checkpoint.path, stage.key, spent=lambda told=earlier: told).save(state)
    together(selections, store)
    assert [round(env(store, stage)["seconds"], -2) for stage in selections] == [1000, 5000]


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"batch_norm": True}])
def test_stack_refuses_by_modules(stages_of, settings):
    text = ", ".join(f"{name}: {str(value).lower()}" for name, value in settings.items())
    store, stages = stages_of(methods=f"[dcnv2: {{{text}}}]", seeds="2")
    with pytest.raises(TypeError, match="dcnv2 has"):
        together([s for s in stages if s.role == "select"], store)
    assert not list(store.root.glob("planted-tiny/*/*")), "nothing is recorded: they are to be trained one by one"


# What a worker does


def test_failed_stack_is_noted(stages_of, capfd, monkeypatch):
    """Batch norm is found by the model's modules: here the signature says that it may be stacked."""
    store, stages = stages_of(methods="[dcnv2: {batch_norm: true}]", seeds="2")
    monkeypatch.setattr("flipbench.schedule.group.stack_signature", lambda stage: stage.role)
    events = []
    selections = [stage for stage in stages if stage.role == "select"]
    with Pool(store, 1, "cpu", stack=2) as pool:
        assert pool.run(selections, events.append) == {}
    notes = [event for event in events if isinstance(event, Note)]
    assert notes == [Note(f"2 x {selections[0]}: not stacked (TypeError: dcnv2 has BatchNorm1d)")]
    assert capfd.readouterr().err == ""


def test_alike_stages_train_together(stages_of):
    store, stages = stages_of(methods="[dcnv2, deepfm: {dropout: 0.1}]", seeds="3")
    shown, killed = [], []

    def kill_once(event):
        if isinstance(event, Started):
            shown.append(str(event.stage))
        if isinstance(event, Progress) and event.stage.role == "refit" and not killed:
            killed.append(event.stage)
            os.kill(pool._slots[event.slot].process.pid, signal.SIGKILL)

    with Pool(store, 1, "cpu", stack=3) as pool:
        assert pool.run(stages, kill_once) == {}
    for stage in stages:
        store.check(stage)
        stacked = stage.method == "dcnv2" and stage.role == "select"
        assert env(store, stage).get("stacked") == (3 if stacked else None), str(stage)
    assert killed[0].method == "dcnv2", "the refits were stacked too, and went on one by one after the kill"
    starts = [(store.folder(s) / "events.jsonl").read_text().count('"start"') for s in stages if s.role == "refit"]
    assert starts == [2, 2, 2, 1, 1, 1]
    assert set(shown) == {str(stage) for stage in stages}
