import hashlib
from pathlib import Path

import pytest

from flipbench.errors import DamagedError, UserError
from flipbench.plan.stage import Stage
from flipbench.store.manifest import DONE, WEIGHTS
from flipbench.store.runs import Store

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


EVALUATION = Stage("evaluate", {"dataset": "d", "method": "m", "seed": 0, "role": "evaluate"})
DOCUMENTS = {"metrics.json": {"auc": 0.6}, "env.json": {"torch": "2"}}


def filled(store, stage=EVALUATION):
    """What an engine leaves in the work folder before it commits."""
    work = store.work(stage)
    (work / "events.jsonl").write_text("{}\n")
    (work / "predictions.parquet").write_bytes(b"p")
    return work


@pytest.fixture
def finished(store):
    filled(store)
    return store.commit(EVALUATION, DOCUMENTS)


@pytest.mark.parametrize("write", range(4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_killed_at_any_write_and_made_again_is_the_same(store, monkeypatch, write, when):
    filled(store)
    (store.work(EVALUATION) / "checkpoint.partial").write_bytes(b"c")
    replace, left = Path.replace, write

    def killed(path, target):
        nonlocal left
        left -= 1
        if left < 0 and when == "after":
            replace(path, target)
        if left < 0:
            raise SystemExit
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(SystemExit):
        store.commit(EVALUATION, DOCUMENTS)
    monkeypatch.undo()
    folder = store.commit(EVALUATION, DOCUMENTS)
    listed = [line.split("  ")[1] for line in (folder / DONE).read_text().splitlines()]
    assert listed == ["env.json", "events.jsonl", "metrics.json", "predictions.parquet", "spec.json"]
    assert sorted(p.name for p in folder.iterdir()) == sorted([DONE, *listed])
    store.check(EVALUATION)


def test_a_store_that_lists_a_file_half_written_heals(store, finished):
    with (finished / DONE).open("a") as done:
        done.write(f"{'0' * 64}  DONE.partial\n{'1' * 64}  env.json.partial\n")
    store.check(EVALUATION)
    assert store.metrics(EVALUATION) == {"auc": 0.6}
    assert "DONE.partial" not in store.digests(EVALUATION)


@pytest.mark.parametrize(
    "name",
    ["../../../secret", "/etc/hostname", "..", "secret.json", "model.safetensors", "a/b.partial", "metrics.json"],
)
def test_a_manifest_lists_no_file_but_those_of_its_role(store, finished, name):
    with (finished / DONE).open("a") as done:
        done.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(DamagedError, match=r"DONE: line 6 .* lists no file of a run of role 'evaluate'"):
        store.check(EVALUATION)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"not a digest\n"])
def test_a_manifest_that_seals_nothing_is_refused(store, finished, content):
    (finished / DONE).write_bytes(content)
    for read in (store.check, store.metrics):
        with pytest.raises(DamagedError, match="DONE"):
            read(EVALUATION)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"auc"', "\xff", "[" * 100_000])
def test_a_document_that_is_no_object_is_named(store, finished, content):
    (finished / "metrics.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedError, match=r"metrics\.json: missing or damaged"):
        store.metrics(EVALUATION)


def test_what_is_read_is_what_was_committed(store, finished):
    (finished / "metrics.json").write_text('{"auc": 0.99}')
    with pytest.raises(DamagedError, match=r"metrics\.json: changed since the run was finished"):
        store.metrics(EVALUATION)


@pytest.mark.parametrize("linked", ["file", "run", "data set"])
def test_symbolic_links_are_not_followed(store, finished, tmp_path, linked):
    place = {"file": finished / "metrics.json", "run": finished, "data set": finished.parents[1]}[linked]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    for read in (store.check, store.metrics):
        with pytest.raises(DamagedError, match="a symbolic link"):
            read(EVALUATION)
    if linked != "file":
        assert not list(store.finished_folders())
        assert not store.find(EVALUATION.key)
        with pytest.raises(DamagedError, match="a symbolic link"):
            store.work(EVALUATION)


def test_nothing_is_written_through_a_link(store, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    log = store.work(EVALUATION) / "events.jsonl"
    log.symlink_to(outside)
    assert not (store.work(EVALUATION) / "events.jsonl").exists()
    (store.root / ".work" / f"{STAGE.key}.lock").symlink_to(outside)
    with pytest.raises(DamagedError, match="a symbolic link"), store.claim(STAGE):
        pass
    record = store.failure_file(STAGE)
    store.fail(STAGE, "why", "", {})
    record.unlink()
    record.symlink_to(outside)
    assert store.failure(STAGE) is None
    assert outside.read_text() == "mine"
