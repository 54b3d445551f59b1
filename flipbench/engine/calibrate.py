"""Measuring what a stage's steps cost, by the code that trains: its first steps, then nothing is kept."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flipbench.calibration import Rates
from flipbench.data import split
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.stages import environment
from flipbench.engine.streams import make_deterministic
from flipbench.engine.tasks import pretraining_of, task_of
from flipbench.stage import Stage
from flipbench.store.runs import Store

WARM_UP = 2
"""Steps that are not counted: the first ones find memory and choose kernels."""

LEAST = 3
"""Steps that are counted, however long they take."""

SECONDS = 2.0
"""For which steps are counted, where they are short."""


class _Enough(BaseException):
    """Ends a training that has been measured; no Exception, which a stage would take for a failure of its own."""


def measure(stage: Stage, device: str, threads: int = 1) -> Rates:
    """The cost of a stage that trains, by its first steps; nothing of it is kept.

    Args:
        stage: of role ``pretrain``, ``select``, ``refit`` or ``fit``.

    Raises:
        UserError: the data are not prepared, or a PLM is not at hand.
        RuntimeError: the training came to no step.
    """
    make_deterministic(threads)
    began = time.perf_counter()
    table = split.of_users(open_table(stage.dataset), stage.spec.get("users", 1.0))
    rows = split.training_rows(table, stage.spec["order"])
    with TemporaryDirectory(prefix="flipbench-") as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.pt", stage.key)
        run = _pretraining if stage.role == "pretrain" else _training
        marks, row = run(stage, table, rows, device, Store(Path(folder)), checkpoint)
    counted = marks[min(WARM_UP, len(marks) - 2) :]
    if len(counted) < 2:
        raise RuntimeError("no training steps to measure")
    env = environment(device, threads, 0.0)
    return Rates(
        setup=marks[0] - began - (marks[1] - marks[0]),
        step=(counted[-1] - counted[0]) / (len(counted) - 1),
        row=row,
        rows=len(table),
        memory_mb=env["peak_memory_mb"],
        device_memory_mb=env.get("peak_device_memory_mb"),
        steps=len(counted) - 1,
    )


def _pretraining(
    stage: Stage, table: Table, rows: Rows, device: str, _: Store, checkpoint: Checkpoint
) -> tuple[list[float], float]:
    task = pretraining_of(stage, table, rows, device)
    with _steps(device) as marks:
        task.run(checkpoint, lambda *_: None)
    return marks, 0.0


def _training(
    stage: Stage, table: Table, rows: Rows, device: str, store: Store, checkpoint: Checkpoint
) -> tuple[list[float], float]:
    # an evaluation builds the same model, and reads no weights of a pretraining that has not been run
    task = task_of(Stage("evaluate", stage.spec, {"fit": stage}, stage.places), table, store, device)
    model = task.build()
    with _steps(device) as marks:
        task.fit(model, rows, None, task.max_epochs, checkpoint, lambda *_: None)
    return marks, _seconds_a_row(lambda part: task.predict(model, part), rows)


@contextmanager
def _steps(device: str) -> Iterator[list[float]]:
    """The moments at which steps end, filled while the training within runs; ends it once they are enough."""
    marks: list[float] = []

    def after_step(*_: Any) -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())
        counted = len(marks) - 1 - WARM_UP
        if counted >= LEAST and marks[-1] - marks[WARM_UP] >= SECONDS:
            raise _Enough

    hook = register_optimizer_step_post_hook(after_step)
    try:
        yield marks
    except _Enough:
        pass
    finally:
        hook.remove()


def _seconds_a_row(predict: Callable[[Rows], Any], rows: Rows) -> float:
    """Of scoring: by evenly spaced rows, more of them until they take a while."""
    count, seconds = 64, 0.0
    while seconds < SECONDS / 8 and count < len(rows):
        count = min(4 * count, len(rows))  # the first look is the smallest, and not the last where scoring is fast
        chosen = np.linspace(0, len(rows) - 1, count).astype(np.intp)
        part = Rows(rows.ids[chosen], rows.labels[chosen], rows.users[chosen])
        began = time.perf_counter()
        predict(part)
        seconds = time.perf_counter() - began
    return seconds / count


def measure_all(
    stages: Mapping[str, Stage], device: str, slots: int, said: Callable[[Stage, Rates | Exception], None]
) -> dict[str, Rates]:
    """The rates of several stages, each in a process of its own, ``slots`` beside each other as they will run.

    Args:
        stages: by any key. said: called with each as it is known, or with what it failed of.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flipbench.engine.calibrate"])  # torch is imported once
    found: dict[str, Rates] = {}
    with ProcessPoolExecutor(slots, context, _leave_signals_to_the_parent, max_tasks_per_child=1) as pool:
        running = {pool.submit(measure, stage, device): key for key, stage in stages.items()}
        try:
            for future in as_completed(running):
                key, error = running[future], future.exception()
                if error is None:
                    found[key] = future.result()
                    said(stages[key], found[key])
                elif isinstance(error, Exception):
                    said(stages[key], error)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
