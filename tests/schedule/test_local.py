"""The scheduler under faults: killed commands, dying workers, failing stages, a second command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from flipbench.schedule.events import Started
from flipbench.schedule.local import Pool


def command(path: Path, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "flipbench", "run", str(path), *options]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=240)
    return process.returncode, stderr


def test_a_worker_that_dies_of_a_stage_each_time_costs_that_stage_alone(staged):
    _, store, stages = staged(seeds="2")
    store.prepare()

    def kill_first(event):
        if isinstance(event, Started) and event.stage == stages[0]:
            os.kill(pool._slots[event.slot].process.pid, signal.SIGKILL)

    with Pool(store, 1, "cpu") as pool:
        failures = pool.run(stages, kill_first)
        assert failures[stages[0].key] == "its process ended (SIGKILL)"
        assert [failures[s.key] for s in stages[1:3]] == [
            f"needs {stages[0]}, which failed",
            f"needs {stages[1]}, which failed",
        ]
        assert store.failure(stages[0])["reason"] == "its process ended (SIGKILL)"
        assert all(store.done(s) for s in stages[3:]), "the other seed is unharmed"
        assert pool.run(stages, print) == {}
    assert store.failure(stages[0]) is None


def test_a_failing_stage_is_recorded_and_gives_exit_code_2(staged):
    path, store, stages = staged(methods="[deepfm: {hidden: [1000000000]}, dcnv2]")  # a terabyte of weights
    code, stderr = finish(command(path))
    assert code == 2
    assert "3 stages failed:" in stderr
    assert "select planted-tiny deepfm s0: RuntimeError" in stderr
    assert "allocate" in stderr
    assert "Traceback" not in stderr
    failed = [s for s in stages if store.failure(s)]
    assert [str(s) for s in failed] == ["select planted-tiny deepfm s0"]
    assert all(store.done(s) for s in stages if s.method == "dcnv2")


def test_two_commands_at_once_share_the_work(staged):
    path, store, stages = staged(seeds="4", methods="[[dcnv2, afm]]")
    both = [command(path, "--workers", "1") for _ in range(2)]
    assert [finish(p)[0] for p in both] == [0, 0]
    assert all(map(store.done, stages))
    starts = [log.read_text().count('"event": "start"') for log in store.root.glob("*/*/*/events.jsonl")]
    assert starts == [1] * len(stages), "no stage ran twice"


def test_one_worker_and_two_give_the_same_bits(suite_file, tmp_path, predicted):
    path = suite_file(seeds="2")
    for workers in "12":
        assert finish(command(path, "--workers", workers, "--results", str(tmp_path / workers)))[0] == 0
    assert predicted(tmp_path / "1") == predicted(tmp_path / "2") != {}
