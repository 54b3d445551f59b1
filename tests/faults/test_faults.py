"""What goes wrong on real machines, provoked: each ends as a recorded failure or a clean retry, never a silent gap."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from forged import rewrite

from flipbench.cli import main
from flipbench.errors import UserError
from flipbench.report.collect import failure_of
from flipbench.run import stages as engine
from flipbench.schedule.events import Failed, Finished, Progress
from flipbench.schedule.local import Pool
from flipbench.schedule.worker import MAX_DEATHS
from flipbench.store.manifest import DONE, WEIGHTS
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.trainer import DivergedError

SHORT = {"settings": "{max_epochs: 1, batch_size: 256, embedding_dim: 4, hidden: [8]}"}

LONG = {"settings": "{max_epochs: 4, patience: 9, batch_size: 16, embedding_dim: 4, hidden: [8]}"}
"""A suite whose stages last long enough to be interrupted; each epoch leaves a checkpoint."""


def command(path):
    """``flipbench run`` in this process; its exit code."""
    return main(["run", str(path), "--workers", "1", "--device", "cpu"])


def events(folder):
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


def interrupt(store, stage):
    """Run a stage up to its second epoch and leave it, as a kill would."""

    def kill(position):
        if position["epoch"] >= 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        engine.run_stage(stage, store, "cpu", 1, tick=kill)
    return store.work(stage) / "checkpoint.pt"


@pytest.fixture
def train(predicted):
    """Runs every stage in this process; returns the predictions."""

    def run(store, stages):
        store.prepare()
        for stage in stages:
            engine.run_stage(stage, store, "cpu", 1)
        return predicted(store.root)

    return run


@pytest.fixture(scope="module")
def undisturbed():
    return {}


@pytest.fixture
def calm(staged, tmp_path, train, undisturbed):
    """The predictions of an undisturbed run of the suite with the given changes; trained once for all tests."""

    def run(**changes):
        _, _, stages = staged(**changes)
        if stages[-1].key not in undisturbed:
            undisturbed[stages[-1].key] = train(Store(tmp_path / "calm"), stages)
        return undisturbed[stages[-1].key]

    return run


@pytest.fixture
def disk(tmp_path):
    """A file system of its own at ``results``; call it to mount again with other options."""
    folder = tmp_path / "results"
    folder.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)

    if os.geteuid() != 0 or (done := mount("size=32k")).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root" if os.geteuid() else f"no tmpfs can be mounted: {done.stderr}")
    yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    subprocess.run(["umount", "--lazy", folder], check=True)


# Inside a stage


@pytest.mark.parametrize(
    ("exhaust", "words"),
    [(lambda *_: bytearray(1 << 62), "^MemoryError"), (lambda *_: torch.empty(1 << 60), "^RuntimeError: .*allocate")],
)
def test_out_of_memory_is_recorded_and_the_next_try_succeeds(staged, calm, monkeypatch, exhaust, words, train):
    _, store, stages = staged(**SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("flipbench.train.id_models.predict", exhaust)
        with pytest.raises((MemoryError, RuntimeError)):
            engine.run_stage(stages[0], store, "cpu", 1)
    record = store.failure(stages[0])
    assert record is not None
    assert re.search(words, record["reason"], re.DOTALL)
    assert record["env"]["peak_memory_mb"] > 0
    assert failure_of(stages[-1], store) == f"{stages[0]}: {record['reason']}", "the cell says why it has no figure"
    assert train(store, stages) == calm(**SHORT)
    assert store.failure(stages[0]) is None


def test_a_loss_that_is_no_number_is_recorded_and_never_saved(staged):
    settings = "{learning_rate: 10.0, cross_layers: 64, embedding_dim: 4, hidden: [8]}"
    _, store, (stage, *_) = staged(settings=settings)
    with pytest.raises(DivergedError):
        engine.run_stage(stage, store, "cpu", 1)
    assert "DivergedError" in store.failure(stage)["reason"]
    assert not store.done(stage)
    saved = Checkpoint(store.work(stage) / "checkpoint.pt", stage.key).load()
    assert saved is None or all(torch.isfinite(w).all() for w in saved["model"].values())


def test_a_clock_that_jumps_back_changes_nothing(staged, calm, monkeypatch, train):
    class Backwards(datetime):
        jumps = 0

        @classmethod
        def now(cls, tz=None):
            cls.jumps += 1
            return datetime(2026, 1, 1, tzinfo=tz) - timedelta(days=cls.jumps)

    expected = calm(**LONG)
    _, store, stages = staged(**LONG)
    monkeypatch.setattr("flipbench.run.stages.datetime", Backwards)
    monkeypatch.setattr("time.time", lambda: -float(Backwards.jumps))
    path = interrupt(store, stages[0])
    os.utime(path, (0, 0))  # older than all that it depends on
    assert train(store, stages) == expected
    assert all(store.read(stage, "env.json")["seconds"] > 0 for stage in stages)
    times = [event["time"] for event in events(store.folder(stages[0]))]
    assert times == sorted(times, reverse=True), "the log says what the clock said"


# What a kill or a bad disk leaves behind


def flip_a_bit(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda c: c[:-100], lambda c: c + b"x", lambda c: b"", lambda c: c[:20]]
)
def test_a_damaged_checkpoint_is_never_resumed_from(tmp_path, damage):
    checkpoint = Checkpoint(tmp_path / "c.pt", "key")
    checkpoint.save({"weights": torch.arange(1000.0)})
    assert torch.equal(checkpoint.load()["weights"], torch.arange(1000.0))
    checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
    assert checkpoint.load() is None


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_stage_ends_with_the_same_bits(staged, calm, monkeypatch, damaged, train):
    expected = calm(**LONG)
    _, store, stages = staged(**LONG)
    path = interrupt(store, stages[0])
    if damaged:
        path.write_bytes(flip_a_bit(path.read_bytes()))
    epochs, order = [], torch.randperm
    with monkeypatch.context() as patch:  # an epoch begins with the order of its rows
        patch.setattr("torch.randperm", lambda *args, **options: (epochs.append(1), order(*args, **options))[1])
        train(store, stages[:1])
    assert len(epochs) == 4 if damaged else 0 < len(epochs) < 4
    assert train(store, stages) == expected


@pytest.mark.parametrize(("told", "least", "most"), [(1000.0, 1000, 1060), (None, 0, 60)])
def test_seconds_of_a_resumed_stage(staged, told, least, most, train):
    _, store, (stage, *_) = staged(**LONG)
    path = interrupt(store, stage)
    state = Checkpoint(path, stage.key).load()
    assert 0 < state["seconds"] < 60
    if told is None:  # as it was written before checkpoints told it
        content = io.BytesIO()
        torch.save({name: value for name, value in state.items() if name != "seconds"}, content)
        path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    else:
        Checkpoint(path, stage.key, spent=lambda: told).save(state)
    train(store, [stage])
    assert least < store.read(stage, "env.json")["seconds"] < most


def test_weights_made_again_are_those_recorded_or_refused(staged, train):
    _, store, stages = staged(**SHORT)
    train(store, stages)
    fit = stages[-1].parents["fit"]
    (store.folder(fit) / WEIGHTS).unlink()
    before = store.metrics(fit)
    engine.run_stage(fit, store, "cpu", 1)
    assert (store.metrics(fit), store.has_weights(fit)) == (before, True)

    (store.folder(fit) / WEIGHTS).unlink()
    rewrite(store, fit, "metrics.json", json.dumps(before | {"weights": "0" * 64}).encode())  # of another processor
    with pytest.raises(UserError, match=r"not those recorded .*, not 000000000000: another processor"):
        engine.run_stage(fit, store, "cpu", 1)
    assert store.metrics(fit)["weights"] == "0" * 64

    shutil.rmtree(store.folder(stages[-1]))  # nothing else was made from them: the new ones stand
    engine.run_stage(fit, store, "cpu", 1)
    assert store.metrics(fit) == before


def test_a_run_folder_without_done_is_run_again(staged, calm, train):
    expected = calm(**SHORT)
    _, store, stages = staged(**SHORT)
    train(store, stages)
    folder = store.folder(stages[-1])
    (folder / DONE).unlink()
    (folder / "metrics.json").write_text('{"auc": 0.99')
    assert not store.done(stages[-1])
    assert failure_of(stages[-1], store) is None, "not a failure: it is to be run"
    assert train(store, stages) == expected
    store.check(stages[-1])


def test_full_disk_goes_on_later(staged, calm, disk, capsys, predicted):
    path, store, stages = staged(**SHORT)
    assert command(path) == 2
    said = capsys.readouterr().err
    assert "stages failed:" in said
    assert re.search(r"select planted-tiny dcnv2 s0: OSError: \[Errno 28\] No space left on device", said)
    assert "Traceback" not in said
    assert not any(store.done(stage) for stage in stages)
    assert not list(store.root.glob(".work/*/*.partial")), "what could not be written takes no room"
    disk("size=100m")
    assert command(path) == 0
    assert predicted(store.root) == calm(**SHORT)


def test_read_only_folder_goes_on_later(staged, calm, disk, predicted):
    disk("size=100m")
    _, store, stages = staged(**SHORT)

    def protect(event):
        if isinstance(event, Finished):
            disk("ro")

    with Pool(store, 1, "cpu") as pool:
        failures = pool.run(stages, protect)
        assert store.done(stages[0])
        assert "Read-only file system" in failures[stages[1].key]
        assert failures[stages[2].key] == f"needs {stages[1]}, which failed"
        with pytest.raises(UserError, match=r"results cannot be written: Read-only file system"):
            store.prepare()
        disk("rw")
        assert pool.run(stages[1:], print) == {}
    assert predicted(store.root) == calm(**SHORT)


# Processes that end


def test_killed_worker_is_replaced(staged, calm, predicted):
    expected = calm(**LONG)
    _, store, stages = staged(**LONG)
    killed, epochs_after = [], []

    def kill_once(event):
        if isinstance(event, Progress) and not killed and event.epoch >= 1:
            killed.append(event.stage)
            os.kill(pool._slots[event.slot].process.pid, signal.SIGKILL)
        elif isinstance(event, Progress) and killed == [event.stage]:
            epochs_after.append(event.epoch)

    with Pool(store, 1, "cpu") as pool:
        assert pool.run(stages, kill_once) == {}
    assert predicted(store.root) == expected
    assert sum(event["event"] == "start" for event in events(store.folder(killed[0]))) == MAX_DEATHS == 2
    assert min(epochs_after) >= 1, "the first epoch was not trained again"


def test_a_worker_without_progress_is_ended_and_recorded(staged):
    _, store, stages = staged(seeds="2", **LONG)
    frozen = []

    def freeze(event):
        if isinstance(event, Progress) and not frozen:
            frozen.append(event.stage)
            pool.stall = 1.5
            os.kill(pool._slots[event.slot].process.pid, signal.SIGSTOP)
        elif isinstance(event, Failed):
            pool.stall = 600.0

    with Pool(store, 1, "cpu", stall=600.0) as pool:
        failures = pool.run(stages, freeze)
    assert frozen == stages[:1]
    assert failures[stages[0].key] == store.failure(stages[0])["reason"] == "no progress for 1.5 s"
    assert all(store.done(s) for s in stages if s.seed == 1), "the other seed went on"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_continues_where_it_was(staged, calm, sent, train, start):
    expected = calm(**LONG)
    path, store, stages = staged(**LONG)
    with start(path, "--workers", 1, "--device", "cpu") as process:
        until(lambda: list(store.root.glob(".work/*/checkpoint.pt")))
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    if sent is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert said.splitlines()[-1] == "flipbench: stopped; the same command continues where it was"
        assert "Traceback" not in said
    until(lambda: not processes_of(process.pid))
    assert not list(store.root.glob("*/*/*.failed.json")), "to be stopped is no failure"
    assert train(store, stages) == expected
    starts = [sum(e["event"] == "start" for e in events(store.folder(s))) for s in stages]
    assert max(starts) == 2, "the stage that ran was taken up again"


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_of(session):
    """Processes still in a session."""
    living = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            living.append(int(stat.parent.name))
    return living
