"""``flipbench run SUITE``."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from flipbench.cli import plan as plan_verb
from flipbench.cli.common import plan_of, store_of, suite_of
from flipbench.cost import expected_seconds
from flipbench.errors import UserError
from flipbench.plan import Cell
from flipbench.stage import Stage
from flipbench.store.runs import Store
from flipbench.suite import Suite


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    store = store_of(suite)
    if args.dry_run:
        return plan_verb.show(suite, store, args.workers, as_json=False)
    if not args.stall > 0:
        raise UserError(f"--stall {args.stall:g}: must be above 0")
    failures = run(suite, store, args.device, args.workers, args.stall)
    cells = plan_of(suite, store).cells
    done = sum(store.done(stage) for cell in cells for stage in cell.ends)
    total = suite.runs * len(cells)
    print(f"{suite.suite}: {done} of {total} runs done in {store.root}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} stages failed:", file=sys.stderr)
        for line in failures.values():
            print(f"  {line}", file=sys.stderr)
        return 2
    return 0


def run(
    suite: Suite, store: Store, device: str = "auto", workers: int | None = None, stall: float = math.inf
) -> dict[str, str]:
    """Run all that a suite still needs; returns the reasons of failed stages by key.

    A search decides further stages, so the plan is made again until nothing new comes.

    Args:
        stall: seconds without progress after which a stage is ended and recorded as failed.
    """
    failures: dict[str, str] = {}
    planned = plan_of(suite, store, to_run=True)
    stages = planned.needed(store)
    record = _recorder(suite, store)
    if not stages:
        record(planned.cells)
        return failures
    from flipbench.schedule.display import Display
    from flipbench.schedule.local import Pool

    device, workers = _slots(device, workers)
    store.prepare()

    class Recording(Display):
        """A display that has each finished trial entered in its study."""

        def finished(self, slot: int, stage: Stage, metrics: dict[str, Any], seconds: float) -> None:
            super().finished(slot, stage, metrics, seconds)
            record(cell for cell in planned.cells if any(trial.key == stage.key for trial in cell.trials))

    with Pool(store, workers, device, stall=stall) as pool:
        while stages:
            record(planned.cells)
            title = f"{suite.suite} · {suite.protocol}"
            with Recording(title, stages, expected_seconds(stages, store), workers) as display:
                new = pool.run(stages, display)
            failures |= {key: f"{_named(stages, key)}: {reason}" for key, reason in new.items()}
            planned = plan_of(suite, store)
            stages = [s for s in planned.needed(store) if s.key not in failures]
    return failures


def _recorder(suite: Suite, store: Store) -> Callable[[Iterable[Cell]], None]:
    """What enters the finished trials of cells in their studies; nothing without a search.

    A study that cannot be written stops no training: the next command makes up for it from the run folders.
    """
    if suite.tune is None:
        return lambda cells: None
    from flipbench.tune.study import Studies

    studies = Studies(store, suite, suite.tune)

    def record(cells: Iterable[Cell]) -> None:
        try:
            studies.record(cells)
        except OSError as error:
            print(f"{studies.path}: not written ({error.strerror}); the next run will", file=sys.stderr)

    return record


def _named(stages: list[Stage], key: str) -> str:
    return next(str(stage) for stage in stages if stage.key == key)


def _slots(device: str, workers: int | None) -> tuple[str, int]:
    """The torch device and the number of worker processes.

    Raises:
        UserError: no such device here, or a number of workers below one.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not usable here ({str(error).splitlines()[0]})") from None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device, workers or (cores if device == "cpu" else 1)
