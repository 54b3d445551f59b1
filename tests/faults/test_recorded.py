"""Whatever a stage dies of is recorded with its reason, so that ``status`` and the report can say it."""

import sys

import pytest

from flipbench.errors import UserError, described, reason_of
from flipbench.run import stages as engine
from flipbench.schedule.worker import run_when_free


class NoMessageError(Exception):
    def __str__(self):
        raise RuntimeError("broken")


def run(stage, store):
    return run_when_free(stage, store, "cpu", lambda _: None, lambda: None)


def die(error):
    def role(*_):
        raise error

    return role


@pytest.fixture
def first(staged):
    _, store, (stage, *_) = staged()
    return store, stage


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError: "),
        (RecursionError("deep"), "RecursionError: deep"),
        (NoMessageError(), "NoMessageError (without a message: RuntimeError)"),
        (OSError(5, "Input/output error", "caf\udce9"), "OSError: [Errno 5] Input/output error: 'caf\\udce9'"),
        (ValueError("caf\udce9"), "ValueError: caf\udce9"),
        (ValueError("two\nlines \x1b[2J"), "ValueError: two\nlines \x1b[2J"),
        (UserError("a user's"), "UserError: a user's"),
    ],
)
def test_what_a_role_dies_of(first, monkeypatch, error, reason):
    store, stage = first
    monkeypatch.setitem(engine.ROLES, stage.role, die(error))
    with pytest.raises(type(error)):
        run(stage, store)
    record = store.failure(stage)
    assert (record["reason"], record["env"]["device"]) == (reason, "cpu")
    assert "Traceback" in record["detail"]
    assert reason_of(error) == ("a user's" if isinstance(error, UserError) else described(error))


@pytest.mark.parametrize(("result", "reason"), [({"auc": float("nan")}, "ValueError: "), ({"a": {1}}, "TypeError: ")])
def test_a_result_that_cannot_be_written(first, monkeypatch, result, reason):
    store, stage = first
    monkeypatch.setitem(engine.ROLES, stage.role, lambda *_: result)
    with pytest.raises((ValueError, TypeError)):
        run(stage, store)
    assert store.failure(stage)["reason"].startswith(reason)
    assert not store.done(stage)


def test_a_device_that_answers_no_question(first, monkeypatch):
    """After an error on a GPU, whatever is asked of it raises the same again."""
    store, stage = first
    monkeypatch.setitem(engine.ROLES, stage.role, die(RuntimeError("CUDA error: device-side assert")))
    monkeypatch.setattr(engine, "environment", die(RuntimeError("CUDA error: again")))
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(stage, store)
    record = store.failure(stage)
    assert record["reason"] == "RuntimeError: CUDA error: device-side assert"
    assert record["env"]["seconds"] >= 0


def test_a_stage_that_cannot_begin(first, monkeypatch):
    store, stage = first
    (store.root / ".work" / stage.key).write_text("in the way")
    with pytest.raises(FileExistsError):
        run(stage, store)
    assert store.failure(stage)["reason"].startswith("FileExistsError: ")


def test_an_engine_that_cannot_be_imported(first, monkeypatch):
    store, stage = first
    monkeypatch.setitem(sys.modules, "flipbench.run.stages", None)
    with pytest.raises(ImportError):
        run(stage, store)
    assert store.failure(stage)["reason"].startswith("ModuleNotFoundError: ")


def test_a_claim_that_cannot_be_made(first):
    store, stage = first
    (store.root / ".work" / f"{stage.key}.lock").mkdir()
    with pytest.raises(OSError, match="directory"):
        run(stage, store)
    assert store.failure(stage)["reason"].startswith("IsADirectoryError: ")


def test_a_record_that_finds_no_room_hides_no_error(first, monkeypatch):
    store, stage = first
    monkeypatch.setitem(engine.ROLES, stage.role, die(ValueError("the reason")))
    monkeypatch.setattr(type(store), "fail", die(OSError(28, "No space left on device")))
    with pytest.raises(ValueError, match="the reason"):
        run(stage, store)
