"""Running a plan on this machine: one long-lived process per slot, stages in dependency order.

The parent only hands out stages and listens; a stage is claimed through a lock that the operating
system drops with its process, so two commands on one results folder share the work. A process that
dies costs one stage's time since its last checkpoint: another one takes the stage up from there.
"""

import contextlib
import math
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from flipbench.errors import UserError
from flipbench.stage import Stage
from flipbench.store.runs import Store

WAIT_FOR_OTHERS = 0.5
"""Seconds between looks at a stage that another command holds."""

DEATHS = 2
"""Processes that may die of one stage (ended for its memory, say) before it counts as failed."""


class Listener(Protocol):
    """What a display is told; ``slot`` counts from 0."""

    def started(self, slot: int, stage: Stage) -> None: ...
    def ticked(self, slot: int, stage: Stage, position: dict[str, Any]) -> None: ...
    def finished(self, slot: int, stage: Stage, metrics: dict[str, Any], seconds: float) -> None: ...
    def failed(self, slot: int, stage: Stage, reason: str) -> None: ...


@dataclass
class _Slot:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    stage: Stage | None = None
    since: float = 0.0
    heard: float = 0.0
    """When the process last showed a sign of life."""


@dataclass
class _State:
    """Where a call of :meth:`Pool.run` stands; stages by key."""

    waiting: dict[str, Stage]
    listener: Listener
    running: dict[str, Stage] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def ready(self) -> Stage | None:
        """The first waiting stage none of whose parents is still to come."""
        for stage in self.waiting.values():
            if not any(p.key in self.waiting or p.key in self.running for p in stage.parents.values()):
                return stage
        return None

    def drop_orphans(self) -> None:
        for stage in list(self.waiting.values()):
            bad = next((p for p in stage.parents.values() if p.key in self.failures), None)
            if bad is not None:
                del self.waiting[stage.key]
                self.failures[stage.key] = f"needs {bad}, which failed"


class Pool:
    """Worker processes that run stages.

    Args:
        workers: processes. device: torch device of all of them. threads: CPU threads of each.
        stall: seconds without a sign of progress after which a stage's process is ended and the stage has failed.
    """

    def __init__(self, store: Store, workers: int, device: str, threads: int = 1, stall: float = math.inf) -> None:
        self.store, self.device, self.threads, self.stall = store, device, threads, stall
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[_Slot] = []
        self._workers = workers

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            slot.process.terminate()
        for slot in self._slots:
            slot.process.join(10)
            slot.process.kill()  # where it is stuck, it does not heed terminate()
            slot.process.join()
            slot.pipe.close()

    def run(self, stages: Iterable[Stage], listener: Listener) -> dict[str, str]:
        """Run ``stages`` (parents first); returns the reasons of those that failed, by key.

        A stage whose process dies is taken up by another, :data:`DEATHS` in all. One whose parent failed is not
        tried; its reason names the parent.
        """
        state = _State({stage.key: stage for stage in stages}, listener)
        while len(self._slots) < min(self._workers, len(state.waiting)):
            self._slots.append(self._spawn())
        while state.waiting or state.running:
            state.drop_orphans()
            for index, slot in enumerate(self._slots):
                if slot.stage is None and (stage := state.ready()):
                    slot.stage, slot.since = stage, time.monotonic()
                    slot.heard = slot.since
                    state.running[stage.key] = state.waiting.pop(stage.key)
                    with contextlib.suppress(ConnectionError):  # of a process that is gone we hear below
                        slot.pipe.send(stage)
                    listener.started(index, stage)
            pipes = [slot.pipe for slot in self._slots if slot.stage]
            for ready in wait(pipes, self._patience()) if pipes else ():
                self._hear(next(i for i, slot in enumerate(self._slots) if slot.pipe is ready), state)
            self._end_stalled(state)
        return state.failures

    def _hear(self, index: int, state: _State) -> None:
        slot = self._slots[index]
        try:
            kind, body = slot.pipe.recv()
        except (EOFError, ConnectionError):
            self._replace(index, state)
            return
        slot.heard = time.monotonic()
        if slot.stage is None or kind == "waiting":
            return
        if kind == "tick":
            state.listener.ticked(index, slot.stage, body)
        elif kind == "failed":
            self._failed(index, state, body)
        else:
            stage, slot.stage = slot.stage, None
            del state.running[stage.key]
            state.listener.finished(index, stage, body, time.monotonic() - slot.since)

    def _replace(self, index: int, state: _State) -> None:
        """Put a new process where one died; its stage waits again, or has failed of too many."""
        slot = self._slots[index]
        slot.process.join()
        slot.pipe.close()
        if slot.stage:
            state.deaths[slot.stage.key] += 1
            if state.deaths[slot.stage.key] < DEATHS:
                state.waiting[slot.stage.key] = state.running.pop(slot.stage.key)
            else:
                self._failed(index, state, f"its process ended ({_how_it_ended(slot.process.exitcode)})", record=True)
        self._slots[index] = self._spawn()

    def _end_stalled(self, state: _State) -> None:
        for index, slot in enumerate(self._slots):
            if slot.stage and time.monotonic() - slot.heard >= self.stall:
                slot.process.kill()
                slot.process.join()
                self._failed(index, state, f"no progress for {self.stall:g} s", record=True)
                self._replace(index, state)

    def _failed(self, index: int, state: _State, reason: str, record: bool = False) -> None:
        """A slot's stage has failed; ``record`` where its process could not do so itself."""
        slot = self._slots[index]
        if (stage := slot.stage) is None:
            return
        slot.stage = None
        del state.running[stage.key]
        if record:
            with contextlib.suppress(OSError):  # a disk that is full: the stage is unfinished, and tried again
                self.store.fail(stage, reason, "", {"seconds": round(time.monotonic() - slot.since, 3)})
        state.failures[stage.key] = reason
        state.listener.failed(index, stage, reason)

    def _patience(self) -> float | None:
        """Seconds until the next slot may have stalled."""
        if math.isinf(self.stall):
            return None
        heard = min(slot.heard for slot in self._slots if slot.stage)
        return max(0.0, heard + self.stall - time.monotonic())

    def _spawn(self) -> _Slot:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self.store, self.device, self.threads)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Slot(process, ours)


def _how_it_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _work(pipe: Connection, store: Store, device: str, threads: int) -> None:
    """A slot's process: stages in, signs of life and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a checkpoint survives its terminate()
    from flipbench.engine.stages import run_stage

    def tick(position: dict[str, Any]) -> None:
        try:
            pipe.send(("tick", position))
        except ConnectionError:  # the parent is gone: no failure of the stage, which leaves its checkpoint
            raise SystemExit from None

    try:
        while True:
            stage: Stage = pipe.recv()
            try:
                while True:
                    with store.claim(stage) as held:
                        if held:
                            metrics = run_stage(stage, store, device, threads, tick)
                            break
                    pipe.send(("waiting", None))
                    time.sleep(WAIT_FOR_OTHERS)
                pipe.send(("done", metrics))
            except ConnectionError:
                raise
            except UserError as error:
                pipe.send(("failed", str(error)))
            except Exception as error:  # a stage's failure is a result of its own; the slot goes on
                pipe.send(("failed", f"{type(error).__name__}: {error}"))
    except (EOFError, ConnectionError):
        return
