"""``flipbench run SUITE``."""

import argparse
import os
import sys

from flipbench.cli import plan as plan_verb
from flipbench.cli.common import plan_of, store_of, suite_of
from flipbench.cost import expected_seconds
from flipbench.errors import UserError
from flipbench.stage import Stage
from flipbench.store.runs import Store
from flipbench.suite import Suite


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    store = store_of(suite)
    if args.dry_run:
        return plan_verb.show(suite, store, args.workers, as_json=False)
    failures = run(suite, store, args.device, args.workers)
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


def run(suite: Suite, store: Store, device: str = "auto", workers: int | None = None) -> dict[str, str]:
    """Run all that a suite still needs; returns the reasons of failed stages by key.

    A search's winner decides further stages, so the plan is made again until nothing new comes.
    """
    failures: dict[str, str] = {}
    stages = plan_of(suite, store, to_run=True).needed(store)
    if not stages:
        return failures
    from flipbench.schedule.display import Display
    from flipbench.schedule.local import Pool

    device, workers = _slots(device, workers)
    store.prepare()
    with Pool(store, workers, device) as pool:
        while stages:
            title = f"{suite.suite} · {suite.protocol}"
            with Display(title, stages, expected_seconds(stages, store), workers) as display:
                new = pool.run(stages, display)
            failures |= {key: f"{_named(stages, key)}: {reason}" for key, reason in new.items()}
            stages = [s for s in plan_of(suite, store).needed(store) if s.key not in failures]
    return failures


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
