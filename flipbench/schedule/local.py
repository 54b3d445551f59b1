"""Running a plan on this machine: one long-lived process per slot, stages in dependency order.

The parent only hands out stages and listens; a stage is claimed through a lock that the operating
system drops with its process, so two commands on one results folder share the work, and a process
that dies costs one stage's time since its last checkpoint.
"""

import multiprocessing
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from flipbench.errors import UserError
from flipbench.stage import Stage
from flipbench.store.runs import Store

WAIT_FOR_OTHERS = 0.5
"""Seconds between looks at a stage that another command holds."""


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


class Pool:
    """Worker processes that run stages.

    Args:
        workers: processes. device: torch device of all of them. threads: CPU threads of each.
    """

    def __init__(self, store: Store, workers: int, device: str, threads: int = 1) -> None:
        self.store, self.device, self.threads = store, device, threads
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[_Slot] = []
        self._workers = workers

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            slot.process.terminate()
        for slot in self._slots:
            slot.process.join()
            slot.pipe.close()

    def run(self, stages: Iterable[Stage], listener: Listener) -> dict[str, str]:
        """Run ``stages`` (parents first); returns the reasons of those that failed, by key.

        A stage whose parent failed is not tried; its reason names the parent.
        """
        waiting = {stage.key: stage for stage in stages}
        failures: dict[str, str] = {}
        while len(self._slots) < min(self._workers, len(waiting)):
            self._slots.append(self._spawn())
        running: dict[str, Stage] = {}
        while waiting or running:
            self._drop_orphans(waiting, failures, listener)
            for index, slot in enumerate(self._slots):
                if slot.stage is None and (stage := _ready(waiting, running)):
                    slot.stage, slot.since = stage, time.monotonic()
                    running[stage.key] = waiting.pop(stage.key)
                    slot.pipe.send(stage)
                    listener.started(index, stage)
            if not running:
                continue
            for ready in wait([s.pipe for s in self._slots if s.stage]):
                index = next(i for i, s in enumerate(self._slots) if s.pipe is ready)
                self._hear(index, running, failures, listener)
        return failures

    def _hear(self, index: int, running: dict[str, Stage], failures: dict[str, str], listener: Listener) -> None:
        slot = self._slots[index]
        stage = slot.stage
        if stage is None:
            return
        try:
            kind, body = slot.pipe.recv()
        except (EOFError, ConnectionError):
            slot.process.join()
            kind, body = "failed", f"its process ended ({_how_it_ended(slot.process.exitcode)})"
            self.store.fail(stage, body, "", {})
            self._slots[index] = self._spawn()
        if kind == "tick":
            listener.ticked(index, stage, body)
            return
        slot.stage = None
        del running[stage.key]
        if kind == "failed":
            failures[stage.key] = body
            listener.failed(index, stage, body)
        else:
            listener.finished(index, stage, body, time.monotonic() - slot.since)

    def _drop_orphans(self, waiting: dict[str, Stage], failures: dict[str, str], listener: Listener) -> None:
        for stage in list(waiting.values()):
            bad = next((p for p in stage.parents.values() if p.key in failures), None)
            if bad is not None:
                del waiting[stage.key]
                failures[stage.key] = f"needs {bad}, which failed"

    def _spawn(self) -> _Slot:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self.store, self.device, self.threads)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Slot(process, ours)


def _ready(waiting: dict[str, Stage], running: dict[str, Stage]) -> Stage | None:
    """The first waiting stage none of whose parents is still to come."""
    for stage in waiting.values():
        if not any(p.key in waiting or p.key in running for p in stage.parents.values()):
            return stage
    return None


def _how_it_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _work(pipe: Connection, store: Store, device: str, threads: int) -> None:
    """A slot's process: stages in, ticks and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a checkpoint survives its terminate()
    from flipbench.engine.stages import run_stage

    try:
        while True:
            stage: Stage = pipe.recv()
            try:
                while True:
                    with store.claim(stage) as held:
                        if held:
                            metrics = run_stage(stage, store, device, threads, lambda p: pipe.send(("tick", p)))
                            break
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
