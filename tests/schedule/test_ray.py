"""A real Ray cluster of two nodes on this machine: the same bits as without, and what happens when a node dies."""

import contextlib
import importlib.util
import os
import signal
import socket
import time
import warnings

import pytest

from flipbench.run.stages import run_stage
from flipbench.schedule import ray as backend
from flipbench.schedule.events import Finished, Progress
from flipbench.store.runs import Store

pytest.importorskip("ray", reason="needs the extra flipbench[ray]")

SHORT = "{max_epochs: 2, batch_size: 256, embedding_dim: 4, hidden: [8], plm: small, pretrain: {epochs: 1}}"
PLAIN = "{max_epochs: 2, batch_size: 64, embedding_dim: 4, hidden: [8]}"
LONG = "{max_epochs: 12, patience: 12, batch_size: 16, embedding_dim: 4, hidden: [8]}"
"""Two such stages last long enough to be interrupted; each epoch leaves a checkpoint."""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each, and a head without; nothing of it is in this process but its handle."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of log files that Ray leaves open
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else the tests wait for whatever else this machine does
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 << 20, "include_dashboard": False}
        outside = {"ray_client_server_port": free_port()} if importlib.util.find_spec("grpc") else {}
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small, **outside})
        found.door = outside.get("ray_client_server_port")
        found.nodes_of_work = [found.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
    yield found
    found.shutdown()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def command(start, cluster):
    """Starts ``flipbench run`` of a suite on the cluster."""

    def call(path, address=None):
        return start(path, "--backend", "ray", "--address", address or cluster.address)

    return call


def events(store, stage, kind):
    """How often a stage's log has an event, whether the stage is done or not."""
    logs = [folder / "events.jsonl" for folder in (store.root / ".work" / stage.key, store.folder(stage))]
    return sum(log.read_text().count(f'"event": "{kind}"') for log in logs if log.is_file())


def wait_for(what):
    until = time.monotonic() + 240
    while not what():
        assert time.monotonic() < until, "it does not come to it"
        time.sleep(0.05)


def test_two_nodes_equal_one_process(staged, tmp_path, command, predicted):
    broken = (
        "broken: {method: afn, embedding_dim: 4096, log_neurons: 1048576, hidden: [65536]}"  # many terabytes of weights
    )
    path, store, stages = staged(methods=f"[deepfm, {broken}, dcnv2, flip_id]", settings=SHORT)
    process = command(path)
    alone = Store(tmp_path / "alone")
    alone.prepare()
    for stage in stages:
        if stage.spec["settings"].get("hidden") != [65536]:
            run_stage(stage, alone, "cpu", 1)
    code, stderr = process.end()
    assert code == 2, stderr
    lines = stderr.splitlines()
    assert [line.split(" ")[0] for line in lines if line.startswith("[")] == [f"[{n}/13]" for n in range(1, 12)]
    assert lines[-5] == "mini: 3 of 4 runs done in " + str(store.root)
    assert lines[-3].startswith("  select planted-tiny afn s0: RuntimeError")
    assert lines[-2] == "  refit planted-tiny afn s0: needs select planted-tiny afn s0, which failed"
    assert [str(s) for s in stages if store.failure(s)] == ["select planted-tiny afn s0"]
    names = [{folder.name for folder in each.finished_folders()} for each in (store, alone)]
    assert names[0] == names[1]
    assert len(predicted(store.root)) == 3
    assert predicted(store.root) == predicted(alone.root)
    done = [stage for stage in stages if store.done(stage)]
    codes, of_one = ([each.read(stage, "env.json")["code"] for stage in done] for each in (store, alone))
    assert codes == of_one
    assert ["dcnv2", "flip_id"] in map(list, codes), "the code of its ID-based model is part of it"
    assert not list((store.root / ".work").glob("command-*"))


@pytest.fixture
def driver(monkeypatch):
    """This process may be a cluster's driver for a while."""
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of what a later version does


@pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="needs ray[client]")
def test_a_command_from_outside_gives_the_bytes_of_one_process(staged, tmp_path, cluster, command, predicted):
    path, store, stages = staged(settings=PLAIN)
    alone = Store(tmp_path / "alone")
    alone.prepare()
    for stage in stages:
        run_stage(stage, alone, "cpu", 1)
    for _ in range(4):
        code, stderr = command(path, f"ray://127.0.0.1:{cluster.door}").end()
        if "no Ray cluster is reached there" not in stderr:  # Ray's door gives up early where the machine is busy
            break
    assert code == 0, stderr
    assert len(predicted(store.root)) == 1
    assert predicted(store.root) == predicted(alone.root)
    assert not list((store.root / ".work").glob("command-*"))


def test_a_stage_without_progress_is_ended_and_recorded(staged, cluster, driver, monkeypatch):
    """Its process is stopped, so that it does not heed Ray either."""
    monkeypatch.setattr(backend, "KILL_AFTER_SECONDS", 0.5)
    _, store, stages = staged(settings="{max_epochs: 500, patience: 500, batch_size: 64}")  # goes on after an epoch
    states = []

    def stop(event):
        if isinstance(event, Progress):
            nodes.stall = 1.5
            with contextlib.suppress(ProcessLookupError):
                os.kill(states[-1].places[event.stage.key].pid, signal.SIGSTOP)

    with backend.Cluster(store, cluster.address, "cpu", stall=600.0) as nodes:
        listen = nodes._listen
        monkeypatch.setattr(nodes, "_listen", lambda state: (states.append(state), listen(state)))
        failures = nodes.run(stages, stop)
    select, refit, evaluate = stages
    assert failures[select.key] == store.failure(select)["reason"] == "no progress for 1.5 s"
    assert failures[refit.key] == f"needs {select}, which failed"
    assert evaluate.key in failures
    assert events(store, select, "start") == 1, "it is not tried again"


def test_four_stages_share_a_gpu_and_a_fifth_waits(staged, tmp_path, cluster, driver, monkeypatch):
    """Ray hands out GPUs by number, so a node may be said to have one; nothing of the stages here computes on it."""
    _, store, stages = staged(settings=PLAIN, seeds="5")
    stages = [stage for stage in stages if stage.role == "select"]
    log = tmp_path / "running"
    log.mkdir()

    def stand_in(job, stage, board):
        """Says that it runs, and waits until four do and a fifth would have had time to come."""
        mine = log / stage.key
        mine.write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        until, most = time.monotonic() + 60, 0
        while time.monotonic() < until:
            now = len(list(log.iterdir()))
            if now >= 4 > most:
                until = time.monotonic() + 1.5
            most = max(most, now)
            if (log.parent / "enough").exists():
                break
            time.sleep(0.02)
        seen = mine.read_text()
        (log.parent / "enough").touch()
        mine.unlink()
        return backend._Outcome({"most": most, "gpu": seen, "device": job.device})

    monkeypatch.setattr(backend, "_run", stand_in)
    events = []
    node = cluster.add_node(num_cpus=8, num_gpus=1, object_store_memory=80 << 20)
    try:
        with backend.Cluster(store, cluster.address, "auto", gpu_share=0.25) as nodes:
            assert (nodes.device, nodes.workers) == ("cuda", 4)
            assert nodes.run(stages, events.append) == {}
    finally:
        cluster.remove_node(node)
    metrics = [event.metrics for event in events if isinstance(event, Finished)]
    assert len(metrics) == 5
    assert max(one["most"] for one in metrics) == 4
    assert {(one["gpu"], one["device"]) for one in metrics} == {("0", "cuda")}


def test_dead_node_costs_no_epoch(staged, cluster, command):
    path, store, stages = staged(settings=LONG, seeds="2")
    selects = [stage for stage in stages if stage.role == "select"]
    process = command(path)
    wait_for(lambda: all(events(store, stage, "epoch") for stage in selects))
    process.send_signal(signal.SIGINT)
    code, stderr = process.end()
    assert code == 130
    assert stderr.endswith("flipbench: stopped; the same command continues where it was\n")  # Ray may tell of its tasks
    assert "Traceback" not in stderr
    assert not list(store.root.glob(".work/command-*"))
    trained = [events(store, stage, "epoch") for stage in selects]

    process = command(path)
    wait_for(lambda: all(events(store, s, "epoch") > n for s, n in zip(selects, trained, strict=True)))
    cluster.remove_node(cluster.nodes_of_work.pop(), allow_graceful=False)  # each node is at one of the two
    code, stderr = process.end()
    assert code == 0, stderr
    assert sorted(events(store, stage, "start") for stage in selects) == [2, 3], "one stage was taken up once more"
    for stage in selects:
        assert len(store.metrics(stage)["history"]) == 12
        assert events(store, stage, "epoch") <= 12 + 2, "a start tells of the last epoch again, and trains none twice"
    assert not list(store.root.glob("*/*/*.failed.json")), "a dead node is no failure of the stage"


def test_a_cluster_that_is_not_there_is_one_line(suite_file, start):
    code, stderr = start(suite_file(), "--backend", "ray", "--address", "127.0.0.1:1").end()
    assert code == 1
    assert stderr.startswith("flipbench: --address 127.0.0.1:1: no Ray cluster is reached there")
    assert stderr.count("\n") == 1
