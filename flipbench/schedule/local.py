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
from multiprocessing.process import BaseProcess

from flipbench.interrupts import unheard
from flipbench.memory import large_pages
from flipbench.plan.stage import Stage
from flipbench.schedule.events import Failed, Finished, Listener, Note, Progress, Started
from flipbench.schedule.group import alike
from flipbench.schedule.worker import MAX_DEATHS, Worker
from flipbench.store.runs import Store

POLL_SECONDS = 1.0
"""Between looks for stages that show no progress."""


@dataclass
class _Slot:
    process: BaseProcess
    pipe: Connection
    stages: list[Stage] = field(default_factory=list)
    """What it runs: one, or those of a stack that have not ended."""
    given: int = 1
    """How many it was given."""
    since: float = 0.0
    heard: float = 0.0
    """When the process last showed a sign of life."""

    def give(self, stages: list[Stage]) -> None:
        self.stages, self.given = stages, len(stages)
        self.since = self.heard = time.monotonic()
        with contextlib.suppress(ConnectionError):  # the parent hears of a process that is gone when it listens
            self.pipe.send(stages)

    def seconds_a_stage(self) -> float:
        return (time.monotonic() - self.since) / self.given


@dataclass
class _State:
    """Where a call of :meth:`Pool.run` stands; stages by key."""

    waiting: dict[str, Stage]
    tell: Listener
    running: dict[str, Stage] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def take(self, stack: int) -> list[Stage]:
        """Take the first waiting stage whose parents are done, and up to ``stack`` in all to train with it.

        A stage that a process has died of is run alone.
        """
        open_ = self.waiting.keys() | self.running.keys()
        free = (s for s in self.waiting.values() if open_.isdisjoint(p.key for p in s.parents.values()))
        if (first := next(free, None)) is None:
            return []
        others = (stage for stage in free if stage.key not in self.deaths)
        taken = alike(first, others, 1 if first.key in self.deaths else stack)
        self.running |= {stage.key: self.waiting.pop(stage.key) for stage in taken}
        return taken

    def drop_orphans(self) -> None:
        """Stages that a failed one was to be the parent of fail too."""
        for stage in list(self.waiting.values()):
            if failed := next((p for p in stage.parents.values() if p.key in self.failures), None):
                del self.waiting[stage.key]
                self.failures[stage.key] = f"needs {failed}, which failed"


class Pool:
    """Worker processes that run stages.

    Args:
        workers: processes. device: torch device of all of them.
        stall: seconds without a sign of progress after which a stage's process is ended and the stage has failed.
        stack: how many stages of one signature a process trains together at most.
    """

    def __init__(self, store: Store, workers: int, device: str, stall: float = math.inf, stack: int = 1) -> None:
        self.store, self.workers, self.device, self.stall, self.stack = store, workers, device, stall, stack
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[_Slot] = []

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

    def run(self, stages: Iterable[Stage], tell: Listener) -> dict[str, str]:
        """Run ``stages`` (parents first) and ``tell`` of it; returns the reasons of those that failed, by key.

        A stage whose process dies is taken up by another, :data:`flipbench.schedule.worker.MAX_DEATHS` in all. One
        whose parent failed is not tried; its reason names the parent.
        """
        state = _State({stage.key: stage for stage in stages}, tell)
        while len(self._slots) < min(self.workers, len(state.waiting)):
            self._slots.append(self._spawn())
        while state.waiting or state.running:
            state.drop_orphans()
            for index, slot in enumerate(self._slots):
                if not slot.stages and (taken := state.take(self.stack)):
                    slot.give(taken)
                    tell(Started(index, taken[0]))
            pipes = [slot.pipe for slot in self._slots if slot.stages]
            for ready in wait(pipes, POLL_SECONDS) if pipes else ():
                self._hear(next(i for i, slot in enumerate(self._slots) if slot.pipe is ready), state)
            self._end_stalled(state)
        return state.failures

    def _hear(self, index: int, state: _State) -> None:
        slot = self._slots[index]
        try:
            kind, key, body = slot.pipe.recv()
        except (EOFError, ConnectionError):
            self._replace(index, state)
            return
        slot.heard = time.monotonic()
        if kind == "tick":
            state.tell(Progress(index, slot.stages[0], **body))
        elif kind == "note":
            state.tell(Note(body))
        elif kind == "failed":
            self._end(state, Failed(index, state.running[key], body))
        elif kind == "done":
            self._end(state, Finished(index, state.running[key], body, slot.seconds_a_stage()))

    def _replace(self, index: int, state: _State) -> None:
        """Put a new process where one died; its stages wait again, or have failed of too many."""
        slot = self._slots[index]
        slot.process.join()
        slot.pipe.close()
        for stage in list(slot.stages):
            state.deaths[stage.key] += 1
            if state.deaths[stage.key] < MAX_DEATHS:
                state.waiting[stage.key] = state.running.pop(stage.key)
            else:
                self._lose(index, state, stage, f"its process ended ({_how_it_ended(slot.process.exitcode)})")
        self._slots[index] = self._spawn()

    def _end_stalled(self, state: _State) -> None:
        for index, slot in enumerate(self._slots):
            if slot.stages and time.monotonic() - slot.heard >= self.stall:
                slot.process.kill()
                slot.process.join()
                for stage in list(slot.stages):
                    self._lose(index, state, stage, f"no progress for {self.stall:g} s")
                self._replace(index, state)

    def _lose(self, index: int, state: _State, stage: Stage, reason: str) -> None:
        """Record the failure of a stage whose process could not do so itself."""
        with contextlib.suppress(OSError):  # a disk that is full: the stage is unfinished, and tried again
            self.store.fail(stage, reason, "", {"seconds": round(self._slots[index].seconds_a_stage(), 3)})
        self._end(state, Failed(index, stage, reason))

    def _end(self, state: _State, event: Finished | Failed) -> None:
        """A slot's stage is over; of a stack that goes on without it, show another."""
        rest = self._slots[event.slot].stages
        rest.remove(event.stage)
        del state.running[event.stage.key]
        if isinstance(event, Failed):
            state.failures[event.stage.key] = event.reason
        state.tell(event)
        if rest:
            state.tell(Started(event.slot, rest[0]))

    def _spawn(self) -> _Slot:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=Worker(theirs, self.store, self.device).serve, daemon=True)
        with large_pages(), unheard():
            process.start()
        theirs.close()
        return _Slot(process, ours)


def _how_it_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
