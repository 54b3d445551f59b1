"""Running a plan on this machine: one long-lived process per slot, stages in dependency order.

The parent only hands out stages and listens; a stage is claimed through a lock that the operating
system drops with its process, so two commands on one results folder share the work. A process that
dies costs one stage's time since its last checkpoint: another one takes the stage up from there.
"""

import contextlib
import itertools
import math
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from flipbench.errors import UserError
from flipbench.memory import large_pages
from flipbench.plan.stage import Stage
from flipbench.schedule.group import alike
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
    def noted(self, line: str) -> None: ...


@dataclass
class _Slot:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    stages: list[Stage] = field(default_factory=list)
    """What it runs: one, or those of a stack that are not over."""
    given: int = 1
    """How many it was given."""
    since: float = 0.0
    heard: float = 0.0
    """When the process last showed a sign of life."""

    def took(self) -> float:
        """Seconds since it was given its stages, a stage."""
        return (time.monotonic() - self.since) / self.given


@dataclass
class _State:
    """Where a call of :meth:`Pool.run` stands; stages by key."""

    waiting: dict[str, Stage]
    listener: Listener
    running: dict[str, Stage] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def ready(self, stack: int) -> list[Stage]:
        """The first waiting stage none of whose parents is still to come, and up to ``stack`` in all to train with it
        (but a stage that a process has died of is run alone)."""

        def held_back(stage: Stage) -> bool:
            return any(p.key in self.waiting or p.key in self.running for p in stage.parents.values())

        free = (stage for stage in self.waiting.values() if not held_back(stage))
        first = next(free, None)
        if first is None or stack == 1 or first.key in self.deaths:
            return [first] if first else []
        return alike(itertools.chain([first], (s for s in free if s.key not in self.deaths)), stack)

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
        stack: how many stages of one shape a process trains together at most.
    """

    def __init__(
        self, store: Store, workers: int, device: str, threads: int = 1, stall: float = math.inf, stack: int = 1
    ) -> None:
        self.store, self.device, self.threads, self.stall, self.stack = store, device, threads, stall, stack
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[_Slot] = []
        self.workers = workers

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
        while len(self._slots) < min(self.workers, len(state.waiting)):
            self._slots.append(self._spawn())
        while state.waiting or state.running:
            state.drop_orphans()
            for index, slot in enumerate(self._slots):
                if not slot.stages and (stages := state.ready(self.stack)):
                    slot.stages, slot.given, slot.since = stages, len(stages), time.monotonic()
                    slot.heard = slot.since
                    for stage in stages:
                        state.running[stage.key] = state.waiting.pop(stage.key)
                    with contextlib.suppress(ConnectionError):  # of a process that is gone we hear below
                        slot.pipe.send(stages)
                    listener.started(index, stages[0])
            pipes = [slot.pipe for slot in self._slots if slot.stages]
            for ready in wait(pipes, self._patience()) if pipes else ():
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
            state.listener.ticked(index, slot.stages[0], body)
        elif kind == "note":
            state.listener.noted(body)
        elif kind == "failed":
            self._failed(index, state, state.running[key], body)
        elif kind == "done":
            stage = state.running.pop(key)
            slot.stages.remove(stage)
            state.listener.finished(index, stage, body, slot.took())
            self._show_next(index, state)

    def _replace(self, index: int, state: _State) -> None:
        """Put a new process where one died; its stages wait again, or have failed of too many."""
        slot = self._slots[index]
        slot.process.join()
        slot.pipe.close()
        for stage in list(slot.stages):
            state.deaths[stage.key] += 1
            if state.deaths[stage.key] < DEATHS:
                state.waiting[stage.key] = state.running.pop(stage.key)
            else:
                reason = f"its process ended ({_how_it_ended(slot.process.exitcode)})"
                self._failed(index, state, stage, reason, record=True)
        self._slots[index] = self._spawn()

    def _end_stalled(self, state: _State) -> None:
        for index, slot in enumerate(self._slots):
            if slot.stages and time.monotonic() - slot.heard >= self.stall:
                slot.process.kill()
                slot.process.join()
                for stage in list(slot.stages):
                    self._failed(index, state, stage, f"no progress for {self.stall:g} s", record=True)
                self._replace(index, state)

    def _failed(self, index: int, state: _State, stage: Stage, reason: str, record: bool = False) -> None:
        """A slot's stage has failed; ``record`` where its process could not do so itself."""
        slot = self._slots[index]
        slot.stages.remove(stage)
        del state.running[stage.key]
        if record:
            with contextlib.suppress(OSError):  # a disk that is full: the stage is unfinished, and tried again
                self.store.fail(stage, reason, "", {"seconds": round(slot.took(), 3)})
        state.failures[stage.key] = reason
        state.listener.failed(index, stage, reason)
        self._show_next(index, state)

    def _show_next(self, index: int, state: _State) -> None:
        """Of a stack that goes on without one of its stages, show another."""
        if rest := self._slots[index].stages:
            state.listener.started(index, rest[0])

    def _patience(self) -> float | None:
        """Seconds until the next slot may have stalled."""
        if math.isinf(self.stall):
            return None
        heard = min(slot.heard for slot in self._slots if slot.stages)
        return max(0.0, heard + self.stall - time.monotonic())

    def _spawn(self) -> _Slot:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self.store, self.device, self.threads)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        with large_pages():
            process.start()
        theirs.close()
        return _Slot(process, ours)


def _how_it_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def run_when_free(
    stage: Stage,
    store: Store,
    device: str,
    threads: int,
    tick: Callable[[dict[str, Any]], None],
    waiting: Callable[[], object],
) -> dict[str, Any]:
    """Run a stage once its claim can be had, and return its metrics; ``waiting`` is called while another holds it."""
    from flipbench.run.stages import run_stage

    while True:
        with store.claim(stage) as held:
            if held:
                return run_stage(stage, store, device, threads, tick)
        waiting()
        time.sleep(WAIT_FOR_OTHERS)


def reason_of(error: Exception) -> str:
    """Why a stage failed, in one piece: a user's mistake speaks for itself."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _work(pipe: Connection, store: Store, device: str, threads: int) -> None:
    """A slot's process: stages in, signs of life and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a checkpoint survives its terminate()

    def say(kind: str, stage: Stage | None, body: Any) -> None:
        try:
            pipe.send((kind, stage and stage.key, body))
        except ConnectionError:  # the parent is gone: no failure of the stage, which leaves its checkpoint
            raise SystemExit from None

    def tick(position: dict[str, Any]) -> None:
        say("tick", None, position)

    def note(line: str) -> None:
        say("note", None, line)

    def ended(stage: Stage, how: dict[str, Any] | Exception) -> None:
        say(*(("failed", stage, reason_of(how)) if isinstance(how, Exception) else ("done", stage, how)))

    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            stages: list[Stage] = pipe.recv()
            for stage in _stacked(stages, store, device, threads, tick, ended, note) if len(stages) > 1 else stages:
                try:
                    how: dict[str, Any] | Exception = run_when_free(
                        stage, store, device, threads, tick, lambda: say("waiting", None, None)
                    )
                except Exception as error:  # a stage's failure is a result of its own; the slot goes on
                    how = error
                ended(stage, how)


def _stacked(
    stages: list[Stage],
    store: Store,
    device: str,
    threads: int,
    tick: Callable[[dict[str, Any]], None],
    ended: Callable[[Stage, dict[str, Any] | Exception], None],
    note: Callable[[str], None],
) -> Iterator[Stage]:
    """Train together those of the stages that nobody else has; yields those still to be run one by one."""
    from flipbench.run.stack import run_stack

    over: set[str] = set()

    def end(stage: Stage, how: dict[str, Any] | Exception) -> None:
        over.add(stage.key)
        ended(stage, how)

    with contextlib.ExitStack() as claims:
        held = [stage for stage in stages if claims.enter_context(store.claim(stage))]
        todo = [stage for stage in held if not store.done(stage)]
        try:
            if todo:
                run_stack(todo, store, device, threads, tick, end)
        except Exception as error:  # too little memory for all of them, a model that cannot be stacked
            note(f"{len(todo)} x {todo[0]}: not stacked ({reason_of(error)})")
    yield from (stage for stage in stages if stage.key not in over)
