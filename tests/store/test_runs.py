import hashlib

import pytest

from flipbench.errors import UserError
from flipbench.plan.stage import Stage
from flipbench.store.runs import DONE, WEIGHTS, Store

STAGE = Stage("refit", {"dataset": "d", "method": "m", "seed": 0, "role": "refit"})


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "results")
    found.prepare()
    return found


def test_a_run_folder_is_whole_or_absent(store):
    work = store.work(STAGE)
    (work / "checkpoint.pt").write_bytes(b"x")
    (work / WEIGHTS).write_bytes(b"w")
    assert not store.done(STAGE)
    folder = store.commit(STAGE, {"metrics.json": {"auc": 0.5}})
    assert sorted(p.name for p in folder.iterdir()) == [DONE, "metrics.json", WEIGHTS, "spec.json"]
    assert not work.exists()
    assert store.done(STAGE)
    assert store.has_weights(STAGE)
    for line in (folder / DONE).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert name != WEIGHTS, "weights are rebuilt, not kept"


def test_a_folder_without_done_is_not_done_and_is_replaced(store):
    torn = store.folder(STAGE)
    torn.mkdir(parents=True)
    (torn / "metrics.json").write_text('{"auc": 0.9')
    assert not store.done(STAGE)
    store.work(STAGE)
    store.commit(STAGE, {"metrics.json": {"auc": 0.5}})
    assert store.metrics(STAGE) == {"auc": 0.5}


def test_a_failure_is_a_record_until_a_success(store):
    store.fail(STAGE, "Diverged: nan", "trace", {"torch": "x"})
    assert store.failure(STAGE)["reason"] == "Diverged: nan"
    store.work(STAGE)
    store.commit(STAGE, {"metrics.json": {}})
    assert store.failure(STAGE) is None
    assert not store.failure_file(STAGE).exists()


def test_a_claim_is_held_by_one(store):
    with store.claim(STAGE) as mine, store.claim(STAGE) as theirs:
        assert mine
        assert not theirs
    with store.claim(STAGE) as again:
        assert again


def test_a_damaged_file_is_named(store):
    store.work(STAGE)
    folder = store.commit(STAGE, {"metrics.json": {"auc": 0.5}})
    (folder / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json: missing or damaged"):
        store.metrics(STAGE)


def test_a_figure_that_is_no_number_is_not_stored(store):
    store.work(STAGE)
    with pytest.raises(ValueError, match="JSON"):
        store.commit(STAGE, {"metrics.json": {"auc": float("nan")}})
    assert not store.done(STAGE)
