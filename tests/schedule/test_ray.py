"""A real Ray cluster of two nodes on this machine: the same bits as without, and what happens when a node dies."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flipbench import plan, suite, tune
from flipbench.data.store import fingerprint
from flipbench.engine.stages import run_stage
from flipbench.store.runs import Store

pytest.importorskip("ray", reason="needs the extra flipbench[ray]")

SHORT = "{max_epochs: 2, batch_size: 256, embedding_dim: 4, hidden: [8], plm: small, pretrain: {epochs: 1}}"
LONG = "{max_epochs: 12, patience: 12, batch_size: 16, embedding_dim: 4, hidden: [8]}"
"""Two such stages last long enough to be interrupted; each epoch leaves a checkpoint."""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each, and a head without; nothing of it is in this process but its handle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else the tests wait for whatever else this machine does
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 << 20, "include_dashboard": False}
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        found.nodes_of_work = [found.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
    yield found
    found.shutdown()


def command(path, cluster, *options):
    line = [sys.executable, "-m", "flipbench", "run", str(path), "--backend", "ray", "--address", cluster.address]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, its children too
    try:
        return subprocess.Popen([*line, *options], stderr=subprocess.PIPE, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, heard)


def finish(process):
    _, stderr = process.communicate(timeout=480)
    return process.returncode, stderr


def plan_of(path):
    """The suite's store and its stages, parents first."""
    found = suite.load(str(path))
    store, prints = Store(Path(found.outputs.results)), {d.name: fingerprint(d.name) for d in found.data}
    return store, plan.expand(found, prints, tune.figures(store)).stages()


def bits(root):
    """The bytes of every predictions file, by run folder."""
    files = sorted(root.glob("*/*/evaluate-*/predictions.parquet"))
    return {str(p.parent.relative_to(root)): p.read_bytes() for p in files}


def events(store, stage, kind):
    """How often a stage's log has an event, whether the stage is done or not."""
    logs = [folder / "events.jsonl" for folder in (store.root / ".work" / stage.key, store.folder(stage))]
    return sum(log.read_text().count(f'"event": "{kind}"') for log in logs if log.is_file())


def wait_for(what):
    until = time.monotonic() + 240
    while not what():
        assert time.monotonic() < until, "it does not come to it"
        time.sleep(0.05)


def test_two_nodes_give_the_bytes_of_one_process_and_a_failing_stage_is_recorded(suite_file, tmp_path, cluster):
    broken = "broken: {method: deepfm, hidden: [1000000000000, 8]}"  # many terabytes of weights
    path = suite_file(methods=f"[deepfm, {broken}, dcnv2, flip_id]", settings=SHORT)
    store, stages = plan_of(path)
    process = command(path, cluster)
    alone = Store(tmp_path / "alone")
    alone.prepare()
    for stage in stages:
        if stage.spec["settings"].get("hidden") != [1000000000000, 8]:
            run_stage(stage, alone, "cpu", 1)
    code, stderr = finish(process)
    assert code == 2, stderr
    lines = stderr.splitlines()
    assert [line.split(" ")[0] for line in lines if line.startswith("[")] == [f"[{n}/13]" for n in range(1, 12)]
    assert lines[-5] == "mini: 3 of 4 runs done in " + str(store.root)
    assert lines[-3].startswith("  select planted-tiny deepfm s0: RuntimeError")
    assert lines[-2] == "  refit planted-tiny deepfm s0: needs select planted-tiny deepfm s0, which failed"
    assert [str(s) for s in stages if store.failure(s)] == ["select planted-tiny deepfm s0"]
    assert {p.parent.name for p in store.root.glob("*/*/*/DONE")} == {
        p.parent.name for p in alone.root.glob("*/*/*/DONE")
    }
    assert len(bits(store.root)) == 3
    assert bits(store.root) == bits(alone.root)
    assert not list((store.root / ".work").glob("command-*"))


def test_a_stopped_command_and_a_dead_node_cost_no_finished_epoch(suite_file, tmp_path, cluster):
    path = suite_file(settings=LONG, seeds="2")
    store, stages = plan_of(path)
    selects = [stage for stage in stages if stage.role == "select"]
    process = command(path, cluster)
    wait_for(lambda: all(events(store, stage, "epoch") for stage in selects))
    process.send_signal(signal.SIGINT)
    code, stderr = finish(process)
    assert code == 130
    assert stderr.endswith("flipbench: stopped; the same command continues where it was\n")  # Ray may tell of its tasks
    assert "Traceback" not in stderr
    assert not list(store.root.glob(".work/command-*"))
    trained = [events(store, stage, "epoch") for stage in selects]

    process = command(path, cluster)
    wait_for(lambda: all(events(store, s, "epoch") > n for s, n in zip(selects, trained, strict=True)))
    cluster.remove_node(cluster.nodes_of_work.pop(), allow_graceful=False)  # each node is at one of the two
    code, stderr = finish(process)
    assert code == 0, stderr
    assert sorted(events(store, stage, "start") for stage in selects) == [2, 3], "one stage was taken up once more"
    for stage in selects:
        assert len(store.metrics(stage)["history"]) == 12
        assert events(store, stage, "epoch") <= 12 + 2, "a start tells of the last epoch again, and trains none twice"
    assert not list(store.root.glob("*/*/*.failed.json")), "a dead node is no failure of the stage"


def test_a_cluster_that_is_not_there_is_one_line(suite_file):
    line = [sys.executable, "-m", "flipbench", "run", str(suite_file()), "--backend", "ray", "--address", "127.0.0.1:1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("flipbench: --address 127.0.0.1:1: no Ray cluster is reached there")
    assert done.stderr.count("\n") == 1
