"""Measuring what a stage's steps cost, by the code that trains: its first steps, then nothing is kept."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count, pairwise
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
from flipbench.errors import UserError, reason_of
from flipbench.interrupts import unheard
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


def measure(stage: Stage, device: str) -> Rates:
    """The cost of a stage that trains, on one CPU thread or a GPU: its first steps, then nothing is kept.

    Raises:
        UserError: the data are not prepared, or a PLM is not at hand.
        RuntimeError: the training came to no step.
    """
    began = time.perf_counter()
    marks: list[float] = []

    def step_ended() -> bool:
        if device != "cpu":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())
        counted = len(marks) - 1 - WARM_UP
        return counted >= LEAST and marks[-1] - marks[WARM_UP] >= SECONDS

    make_deterministic(1)
    table = split.of_users(open_table(stage.dataset, fingerprint=stage.spec["data"]), stage.spec.get("users", 1.0))
    rows = split.training_rows(table, stage.spec["order"])
    row = 0.0
    with TemporaryDirectory(prefix="flipbench-") as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.pt", stage.key)
        if stage.role == "pretrain":
            pretraining = PretrainTask(stage, table, rows, device)
            train_until(step_ended, lambda: pretraining.run(checkpoint, lambda *_: None))
        else:
            # an evaluation builds the same model, and reads no weights of a pretraining that has not been run
            evaluation = Stage("evaluate", stage.spec, {"fit": stage}, stage.local_paths)
            task = fit_task(evaluation, table, Store(Path(folder)), device)
            model, epochs = task.build(), task.max_epochs
            fit_began = time.perf_counter()
            train_until(step_ended, lambda: task.fit(model, rows, None, epochs, (), checkpoint, lambda *_: None))
            if stage.is_floor:  # no optimizer: its one step is the whole fit
                ended = time.perf_counter()
                marks = [ended, 2 * ended - fit_began]
            row = _seconds_a_row(lambda part: task.predict(model, part), rows)
    counted = marks[min(WARM_UP, len(marks) - 2) :]
    if len(counted) < 2:
        raise RuntimeError("no training steps to measure")
    env = environment(device, 1, 0.0)
    return Rates(
        setup=marks[0] - began - (marks[1] - marks[0]),
        step=median(later - earlier for earlier, later in pairwise(counted)),  # a machine may pause
        row=row,
        rows=len(table),
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


def _seconds_a_row(predict: Callable[[Rows], object], rows: Rows) -> float:
    """Of scoring evenly spaced rows: ever more of them, until they take a while."""
    for power in count(4):
        chosen = np.linspace(0, len(rows) - 1, min(4**power, len(rows))).astype(np.intp)
        began = time.perf_counter()
        predict(Rows(rows.ids[chosen], rows.labels[chosen], rows.users[chosen]))
        seconds = time.perf_counter() - began
        if seconds >= SECONDS / 8 or len(chosen) == len(rows):
            break
    return seconds / len(chosen)


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
                with large_pages(), unheard():  # of the server too, which is started with the first
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
        result = UserError(reason_of(error))  # a class of errors that the parent can read, whatever this one was
    pipe.send(result)
