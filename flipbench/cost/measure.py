"""Measuring what a stage's steps cost, by the code that trains: its first steps, then nothing is kept."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from flipbench.cost.calibration import Rates
from flipbench.data import split
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.memory import large_pages
from flipbench.plan.stage import Stage
from flipbench.run.stages import environment
from flipbench.run.tasks import PretrainTask, fit_task
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.rng import make_deterministic

T = TypeVar("T")

WARM_UP = 2
"""Steps that are not counted: the first ones find memory and choose kernels."""

LEAST = 3
"""Steps that are counted, however long they take."""

SECONDS = 2.0
"""For which steps are counted, where they are short."""


class _Enough(BaseException):
    """Ends a training that has been measured; no Exception, which a stage would take for a failure of its own."""


@dataclass(frozen=True)
class Sample:
    """A stage that trains, made ready to be measured.

    Attributes:
        table_rows: of the table that it is split from. rows: to train on.
        train: trains from the beginning.
        predict: scores rows; None for a pretraining, which scores none.
    """

    table_rows: int
    rows: Rows
    train: Callable[[], object]
    predict: Callable[[Rows], object] | None


@contextmanager
def sample(stage: Stage, device: str, threads: int = 1) -> Iterator[Sample]:
    """A stage by the code that trains; of what it writes nothing is kept.

    Args:
        stage: of role ``pretrain``, ``select``, ``refit`` or ``fit``.

    Raises:
        UserError: the data are not prepared, or a PLM is not at hand.
    """
    make_deterministic(threads)
    table = split.of_users(open_table(stage.dataset), stage.spec.get("users", 1.0))
    rows = split.training_rows(table, stage.spec["order"])
    with TemporaryDirectory(prefix="flipbench-") as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.pt", stage.key)
        if stage.role == "pretrain":
            pretraining = PretrainTask(stage, table, rows, device)
            yield Sample(len(table), rows, lambda: pretraining.run(checkpoint, lambda *_: None), None)
            return
        # an evaluation builds the same model, and reads no weights of a pretraining that has not been run
        evaluation = Stage("evaluate", stage.spec, {"fit": stage}, stage.local_paths)
        task = fit_task(evaluation, table, Store(Path(folder)), device)
        model = task.build()
        yield Sample(
            len(table),
            rows,
            lambda: task.fit(model, rows, None, task.config.max_epochs, checkpoint, lambda *_: None),
            lambda part: task.predict(model, part),
        )


def measure(stage: Stage, device: str, threads: int = 1, clock: Callable[[], float] = time.perf_counter) -> Rates:
    """The cost of a stage that trains, by its first steps.

    Args:
        clock: ``time.process_time`` for seconds of the processor, which other processes on it do not lengthen.

    Raises:
        UserError: as :func:`sample`.
        RuntimeError: the training came to no step.
    """
    began = clock()
    marks: list[float] = []

    def step_ended() -> bool:
        if device != "cpu":
            torch.cuda.synchronize(device)
        marks.append(clock())
        counted = len(marks) - 1 - WARM_UP
        return counted >= LEAST and marks[-1] - marks[WARM_UP] >= SECONDS

    with sample(stage, device, threads) as work:
        train_until(step_ended, work.train)
        row = _seconds_a_row(work.predict, work.rows, clock) if work.predict else 0.0
    counted = marks[min(WARM_UP, len(marks) - 2) :]
    if len(counted) < 2:
        raise RuntimeError("no training steps to measure")
    env = environment(device, threads, 0.0)
    return Rates(
        setup=marks[0] - began - (marks[1] - marks[0]),
        step=median(later - earlier for earlier, later in pairwise(counted)),  # a machine may pause
        row=row,
        rows=work.table_rows,
        memory_mb=env["peak_memory_mb"],
        device_memory_mb=env.get("peak_device_memory_mb"),
        steps=len(counted) - 1,
    )


def train_until(enough: Callable[[], bool], train: Callable[[], object]) -> None:
    """Run a training until ``enough``, which is asked at the end of every optimizer step, or to its own end."""
    depth = 0  # an optimizer's step may call its base class's, which has hooks of its own

    def before_step(*_: Any) -> None:
        nonlocal depth
        depth += 1

    def after_step(*_: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0 and enough():
            raise _Enough

    hooks = register_optimizer_step_pre_hook(before_step), register_optimizer_step_post_hook(after_step)
    try:
        train()
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()


def samples(rows: Rows) -> Iterator[Rows]:
    """Evenly spaced rows, ever more of them: the first look is the smallest, and not the last where scoring is fast."""
    count = 64
    while count < len(rows):
        count = min(4 * count, len(rows))
        chosen = np.linspace(0, len(rows) - 1, count).astype(np.intp)
        yield Rows(rows.ids[chosen], rows.labels[chosen], rows.users[chosen])


def _seconds_a_row(predict: Callable[[Rows], object], rows: Rows, clock: Callable[[], float]) -> float:
    """Of scoring: by more and more rows, until they take a while."""
    seconds, count = 0.0, 1
    for part in samples(rows):
        began = clock()
        predict(part)
        seconds, count = clock() - began, len(part)
        if seconds >= SECONDS / 8:
            break
    return seconds / count


def of_each(stages: Mapping[str, Stage], look: Callable[[Stage], T], slots: int) -> Iterator[tuple[str, T | Exception]]:
    """What ``look`` finds of several stages, or what it failed of, in the order in which they end.

    Each is looked at in a process of its own, ``slots`` beside each other; those that run end with the iteration.

    Args:
        stages: by any key. look: importable.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once
    waiting = list(stages.items())[::-1]
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                key, stage = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(target=_look, args=(theirs, look, stage), daemon=True)
                with large_pages():  # of the server, which is started with the first
                    process.start()
                theirs.close()
                running[ours] = key, process
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                key, process = running.pop(pipe)
                try:
                    result: T | Exception = pipe.recv()
                except EOFError:
                    process.join()
                    result = RuntimeError(f"its process ended (exit code {process.exitcode})")
                process.join()
                pipe.close()
                yield key, result
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _look(pipe: Connection, look: Callable[[Stage], object], stage: Stage) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        result: object = look(stage)
    except Exception as error:
        result = error
    pipe.send(result)
