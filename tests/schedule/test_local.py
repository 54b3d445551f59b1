"""The scheduler under faults: killed commands, dying workers, failing stages, a second command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from flipbench.data.store import fingerprint
from flipbench.plan import expand as plan
from flipbench.plan import search as tune
from flipbench.plan import suite
from flipbench.plan.stage import Stage
from flipbench.schedule.local import Pool
from flipbench.store.runs import Store


class Quiet:
    """A listener that shows nothing."""

    def started(self, slot: int, stage: Stage) -> None: ...
    def ticked(self, slot: int, stage: Stage, position: dict[str, object]) -> None: ...
    def finished(self, slot: int, stage: Stage, metrics: dict[str, object], seconds: float) -> None: ...
    def failed(self, slot: int, stage: Stage, reason: str) -> None: ...
    def noted(self, line: str) -> None: ...


def command(path: Path, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "flipbench", "run", str(path), *options]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=240)
    return process.returncode, stderr


def stages_of(path: Path, root: Path) -> tuple[Store, list[Stage]]:
    store, found = Store(root), suite.load(str(path))
    fingerprints = {d.name: fingerprint(d.name) for d in found.data}
    return store, plan.expand(found, fingerprints, tune.trial_metrics(store)).stages()


def predictions(root: Path) -> dict[str, bytes]:
    files = sorted(root.glob("*/*/evaluate-*/predictions.parquet"))
    return {p.parent.name: pq.read_table(p)["logit"].to_numpy().tobytes() for p in files}


def test_a_worker_that_dies_of_a_stage_each_time_costs_that_stage_alone(suite_file, tmp_path):
    store, stages = stages_of(suite_file(seeds="2"), tmp_path / "results")
    store.prepare()

    class KillsFirst(Quiet):
        def started(self, slot, stage):
            if stage == stages[0]:
                os.kill(pool._slots[slot].process.pid, signal.SIGKILL)

    with Pool(store, 1, "cpu") as pool:
        failures = pool.run(stages, KillsFirst())
        assert failures[stages[0].key] == "its process ended (SIGKILL)"
        assert [failures[s.key] for s in stages[1:3]] == [
            f"needs {stages[0]}, which failed",
            f"needs {stages[1]}, which failed",
        ]
        assert store.failure(stages[0])["reason"] == "its process ended (SIGKILL)"
        assert all(store.done(s) for s in stages[3:]), "the other seed is unharmed"
        assert pool.run(stages, Quiet()) == {}
    assert store.failure(stages[0]) is None


def test_a_failing_stage_is_recorded_and_gives_exit_code_2(suite_file, tmp_path):
    path = suite_file(methods="[deepfm: {hidden: [1000000000]}, dcnv2]")  # a terabyte of weights
    code, stderr = finish(command(path))
    assert code == 2
    assert "3 stages failed:" in stderr
    assert "select planted-tiny deepfm s0: RuntimeError" in stderr
    assert "allocate" in stderr
    assert "Traceback" not in stderr
    store, stages = stages_of(path, tmp_path / "results")
    failed = [s for s in stages if store.failure(s)]
    assert [str(s) for s in failed] == ["select planted-tiny deepfm s0"]
    assert all(store.done(s) for s in stages if s.method == "dcnv2")


def test_two_commands_at_once_share_the_work(suite_file, tmp_path):
    path = suite_file(seeds="4", methods="[[dcnv2, afm]]")
    both = [command(path, "--workers", "1") for _ in range(2)]
    assert [finish(p)[0] for p in both] == [0, 0]
    store, stages = stages_of(path, tmp_path / "results")
    assert all(store.done(s) for s in stages)
    starts = [log.read_text().count('"event": "start"') for log in (tmp_path / "results").glob("*/*/*/events.jsonl")]
    assert starts == [1] * len(stages), "no stage ran twice"


def test_one_worker_and_two_give_the_same_bits(suite_file, tmp_path):
    path = suite_file(seeds="2")
    for workers in "12":
        assert finish(command(path, "--workers", workers, "--results", str(tmp_path / workers)))[0] == 0
    assert predictions(tmp_path / "1") == predictions(tmp_path / "2")
