"""The scheduler under faults: killed commands, dying workers, failing stages, a second command."""

import itertools
import os
import signal

import pytest
import torch

from flipbench.schedule.events import Started
from flipbench.schedule.local import Pool
from flipbench.schedule.worker import reason_of

MANY_TERABYTES = "{embedding_dim: 4096, log_neurons: 1048576, hidden: [65536]}"
"""Of weights: AFN's first layer is one of embedding_dim x log_neurons."""


def test_deadly_stage_fails_alone(staged):
    _, store, stages = staged(seeds="2")

    def kill_first(event):
        if isinstance(event, Started) and event.stage == stages[0]:
            os.kill(pool._slots[event.slot].process.pid, signal.SIGKILL)

    with Pool(store, 1, "cpu") as pool:
        failures = pool.run(stages, kill_first)
        assert failures[stages[0].key] == "its process ended (SIGKILL)"
        for parent, stage in itertools.pairwise(stages[:3]):
            assert failures[stage.key] == f"needs {parent}, which failed"
        assert store.failure(stages[0])["reason"] == "its process ended (SIGKILL)"
        assert all(store.done(s) for s in stages[3:]), "the other seed is unharmed"
        assert pool.run(stages, print) == {}
    assert store.failure(stages[0]) is None


def test_a_failing_stage_is_recorded_and_gives_exit_code_2(staged, start):
    path, store, stages = staged(methods=f"[afn: {MANY_TERABYTES}, dcnv2]")
    code, stderr = start(path).end()
    assert code == 2
    assert "3 stages failed:" in stderr
    assert "select planted-tiny afn s0: RuntimeError" in stderr
    assert "allocate" in stderr
    assert "Traceback" not in stderr
    assert [str(s) for s in stages if store.failure(s)] == ["select planted-tiny afn s0"]
    assert all(store.done(s) for s in stages if s.method == "dcnv2")


def test_two_commands_at_once_share_the_work(staged, start):
    path, store, stages = staged(seeds="4", methods="[[dcnv2, afm]]")
    both = [start(path, "--workers", 1) for _ in range(2)]
    assert [process.end()[0] for process in both] == [0, 0]
    assert all(map(store.done, stages))
    starts = [log.read_text().count('"event": "start"') for log in store.root.glob("*/*/*/events.jsonl")]
    assert starts == [1] * len(stages), "no stage ran twice"


def test_one_worker_and_two_give_the_same_bits(suite_file, tmp_path, predicted, start):
    path = suite_file(seeds="2")
    for workers in "12":
        assert start(path, "--workers", workers, "--results", tmp_path / workers).end()[0] == 0
    assert predicted(tmp_path / "1") == predicted(tmp_path / "2") != {}


def test_a_reason_holds_no_stack_of_cpp_calls():
    with pytest.raises(TypeError, match="frame #0") as raised:
        torch.zeros(10**20)
    assert reason_of(raised.value).endswith("Overflow when unpacking long long")
