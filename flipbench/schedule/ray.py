"""Running a plan on a Ray cluster: a task a stage.

Ray places the tasks, holds each back until its parents are done, and repeats one whose worker or node died. Run
folders, claims and checkpoints are those of one machine, in a results folder that every node sees.
"""

import contextlib
import logging
import math
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from flipbench.errors import UserError, reason_of
from flipbench.plan.stage import Stage
from flipbench.schedule.events import Failed, Finished, Listener, Progress, Started
from flipbench.schedule.worker import MAX_DEATHS, THREADS, run_when_free
from flipbench.store.runs import Store

POLL_SECONDS = 0.3
"""Between looks at what the tasks report."""

KILL_AFTER_SECONDS = 5.0
"""That a stalled stage's process has to heed Ray, before it is killed."""


@dataclass(frozen=True)
class _Job:
    """What all tasks of a command share.

    Attributes:
        mark: a file that this command keeps in the results folder, by which a node knows that it sees the same one.
        home: ``$FLIPBENCH_HOME``, which a node's own environment need not have; None where it is not set.
    """

    root: Path
    mark: Path
    home: str | None
    device: str


@dataclass(frozen=True)
class _Outcome:
    """How a task ended: ``reason`` is empty where the stage is done, and ``recorded`` where the task could do so."""

    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    recorded: bool = True


class _Place(NamedTuple):
    """Where a task runs: the node's id, and the process there."""

    node: str
    pid: int


Sign = dict[str, Any] | _Place | None
"""Of life: how far a stage is, first of all where it runs; None while it waits for another command's."""


class _Board:
    """An actor: what the tasks report, until the command reads it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Sign]] = []

    def write(self, key: str, sign: Sign) -> None:
        self.lines.append((key, sign))

    def read(self) -> list[tuple[str, Sign]]:
        lines, self.lines = self.lines, []
        return lines


@dataclass
class _State:
    """Where a call of :meth:`Cluster.run` stands; by stage key."""

    tell: Listener
    stages: dict[str, Stage]
    pending: dict[str, Any]
    """References to the tasks that have not ended, parents first."""
    slots: dict[str, int] = field(default_factory=dict)
    """Of the running: a number for the display."""
    began: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    places: dict[str, _Place] = field(default_factory=dict)
    stalled: dict[str, float] = field(default_factory=dict)
    """When the process is to be killed, should it not have ended by then."""
    failures: dict[str, str] = field(default_factory=dict)

    def hear(self, key: str) -> int:
        """A sign of life; the number that the display knows the stage by."""
        self.heard[key] = time.monotonic()
        if key not in self.slots:
            self.began[key] = self.heard[key]
            self.slots[key] = next(i for i in range(len(self.slots) + 1) if i not in self.slots.values())
            self.tell(Started(self.slots[key], self.stages[key]))
        return self.slots[key]


class Cluster:
    """A Ray cluster that runs stages, as :class:`flipbench.schedule.local.Pool` does on one machine.

    Args:
        store: its folder is on a file system that all nodes share.
        address: of a running cluster (``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``); None for one that runs on this
            machine or, where none does, one of this machine alone.
        device: torch device of the tasks: ``cpu``, ``cuda``, or ``auto`` for ``cuda`` where the cluster has a GPU.
        gpu_share: of a GPU that a task on ``cuda`` asks for.
        stall: seconds without a sign of progress after which a stage's task is ended and the stage has failed.

    Attributes:
        workers: tasks that the cluster has room for at once.

    Raises:
        UserError: Ray is not installed, the cluster is not reached, or it has no room for a single task.
    """

    def __init__(
        self,
        store: Store,
        address: str | None,
        device: str = "auto",
        gpu_share: float = 1.0,
        stall: float = math.inf,
    ) -> None:
        self.store, self.stall = store, stall
        self._ray = _connect(address)
        has = self._ray.cluster_resources()
        self.device = device if device != "auto" else "cuda" if has.get("GPU") else "cpu"
        share = gpu_share if self.device == "cuda" else 0.0
        room = has.get("CPU", 0) / THREADS
        self.workers = int(min(room, has.get("GPU", 0) / share) if share else room)
        if self.workers < 1:
            self._ray.shutdown()
            needed = f"{THREADS} CPU" + (f" and {share:g} GPU" if share else "")
            raise UserError(f"--backend ray: the cluster has no room for a stage, which needs {needed}")
        root = store.root.resolve()
        home = os.environ.get("FLIPBENCH_HOME")
        shared_home = str(Path(home).expanduser().resolve()) if home else None
        self._job = _Job(root, root / ".work" / f"command-{uuid4().hex}", shared_home, self.device)
        self._task = self._ray.remote(num_cpus=THREADS, num_gpus=share, max_retries=MAX_DEATHS - 1)(_run)
        self._stdout = contextlib.redirect_stdout(sys.stderr)  # where Ray says that a node died
        self._board = self._ray.remote(num_cpus=0, max_restarts=-1)(_Board).remote()

    def __enter__(self) -> "Cluster":
        self._job.mark.write_bytes(b"")
        self._stdout.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()  # ends the tasks too; their checkpoints stay
        self._stdout.__exit__(None, None, None)
        self._job.mark.unlink(missing_ok=True)

    def run(self, stages: Iterable[Stage], tell: Listener) -> dict[str, str]:
        """Run ``stages`` (parents first) and ``tell`` of it; returns the reasons of those that failed, by key.

        A stage whose worker or node dies is taken up by another, :data:`flipbench.schedule.worker.MAX_DEATHS` in all.
        One whose parent failed is not tried; its reason names the parent.
        """
        state = _State(tell, {stage.key: stage for stage in stages}, {})
        for key, stage in state.stages.items():
            parents = [state.pending[p.key] for p in stage.parents.values() if p.key in state.pending]
            state.pending[key] = self._task.remote(self._job, stage, self._board, *parents)
        while state.pending:
            references = list(state.pending.values())
            ended = set(self._ray.wait(references, num_returns=len(references), timeout=POLL_SECONDS)[0])
            self._listen(state)
            for key in [key for key, reference in state.pending.items() if reference in ended]:
                self._end(key, state)
            self._end_stalled(state)
        return state.failures

    def _listen(self, state: _State) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):  # the board's node died, and Ray makes a new one
            for key, sign in self._ray.get(self._board.read.remote(), timeout=10):
                if key in state.pending:
                    slot = state.hear(key)
                    if isinstance(sign, _Place):
                        state.places[key] = sign
                    elif sign:
                        state.tell(Progress(slot, state.stages[key], **sign))

    def _end(self, key: str, state: _State) -> None:
        """A task has ended, one way or another."""
        stage, reference = state.stages[key], state.pending.pop(key)
        if failed := next((p for p in stage.parents.values() if p.key in state.failures), None):
            state.failures[key] = f"needs {failed}, which failed"
            return
        slot = state.hear(key)
        try:
            outcome: _Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = f"no progress for {self.stall:g} s" if key in state.stalled else _how_it_ended(error)
            outcome = _Outcome(reason=reason, recorded=False)
        if not outcome.recorded:
            with contextlib.suppress(OSError):  # a disk that is full: the stage is unfinished, and tried again
                self.store.fail(stage, outcome.reason, "", {"seconds": round(time.monotonic() - state.began[key], 3)})
        if outcome.reason:
            state.failures[key] = outcome.reason
            state.tell(Failed(slot, stage, outcome.reason))
        else:
            state.tell(Finished(slot, stage, outcome.metrics, outcome.seconds))
        del state.slots[key]

    def _end_stalled(self, state: _State) -> None:
        now = time.monotonic()
        for key in state.slots:
            if key not in state.stalled and now - state.heard[key] >= self.stall:
                state.stalled[key] = now + KILL_AFTER_SECONDS
                self._ray.cancel(state.pending[key], force=True)
            elif now >= state.stalled.get(key, math.inf):
                state.stalled[key] = math.inf
                self._kill(state.places[key])

    def _kill(self, place: _Place) -> None:
        """End a process that does not heed Ray, because it is stopped or waits for a dead disk."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(place.node, soft=False)
        self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_kill).remote(place.pid)


def _run(job: _Job, stage: Stage, board: Any, *parents: _Outcome) -> _Outcome:
    """A stage's task; the parents' outcomes are arguments so that Ray waits for them."""
    if any(parent.reason for parent in parents):
        return _Outcome(reason="a parent failed")
    import ray

    board.write.remote(stage.key, _Place(ray.get_runtime_context().get_node_id(), os.getpid()))
    if job.home:
        os.environ["FLIPBENCH_HOME"] = job.home
    if not job.mark.is_file():
        reason = f"{os.uname().nodename}: does not share the results folder {job.root} with this command"
        return _Outcome(reason=reason, recorded=False)
    began = time.monotonic()
    try:
        metrics = run_when_free(
            stage,
            Store(job.root),
            job.device,
            tick=lambda position: board.write.remote(stage.key, position),
            waiting=lambda: board.write.remote(stage.key, None),
        )
    except Exception as error:  # a stage's failure is a result of its own
        return _Outcome(reason=reason_of(error))
    return _Outcome(metrics, time.monotonic() - began)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _connect(address: str | None) -> Any:
    """Ray, connected, silent and without its telemetry."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(MAX_DEATHS - 1))  # else without end
    try:
        import ray
    except ImportError:
        raise UserError("--backend ray needs the extra: pip install 'flipbench[ray]'") from None
    ours = signal.getsignal(signal.SIGTERM)
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    try:
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        with warnings.catch_warnings(action="ignore"):  # of what the line below says
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines()
        reason = " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))  # between them a server's traceback
        raise UserError(f"--address {address or 'auto'}: no Ray cluster is reached there ({reason})") from None
    finally:
        signal.signal(signal.SIGTERM, ours)  # Ray puts its own, which exits at once
    return ray


def _how_it_ended(error: Exception) -> str:
    """A task that left no outcome: its worker died, or could not begin."""
    cause = getattr(error, "cause", None)
    return f"{type(cause).__name__}: {cause}" if cause else f"its worker ended ({type(error).__name__})"
