"""``flipbench run SUITE``."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flipbench.cli import plan as plan_verb
from flipbench.cli.common import plan_of, slots_of, store_of, suite_of, usable
from flipbench.cost.estimate import budget_of, expected
from flipbench.errors import UserError
from flipbench.plan.expand import Cell
from flipbench.plan.stage import Stage
from flipbench.plan.suite import Suite
from flipbench.schedule import group
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.schedule.local import Pool
    from flipbench.schedule.ray import Cluster


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    store = store_of(suite)
    _check(args)
    if args.dry_run:
        cost = plan_verb.Cost.of(plan_of(suite, store), store, *slots_of(args.device, args.workers))
        cost.show(store)
        if args.budget:
            cost.check(budget_of(args.budget), args.budget)
        return 0
    failures = run(suite, store, args)
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


def _check(args: argparse.Namespace) -> None:
    """Raises UserError where options are out of range, or do not go together."""
    if args.budget:
        budget_of(args.budget)
    if not args.stall > 0:
        raise UserError(f"--stall {args.stall:g}: must be above 0")
    if not 0 < args.gpu_share <= 1:
        raise UserError(f"--gpu-share {args.gpu_share:g}: must be above 0 and at most 1")
    if args.backend == "ray" and args.workers is not None and not args.dry_run:
        raise UserError("--workers: the cluster's CPUs and GPUs say how many stages run at once (see --gpu-share)")
    if args.backend == "ray" and group.size(args.stack, "cpu") > 1:
        raise UserError(f"--stack {args.stack}: needs --backend local; on a cluster every stage is a task of its own")
    if args.backend == "local" and (args.address or args.gpu_share != 1):
        raise UserError(f"{'--address' if args.address else '--gpu-share'}: needs --backend ray")


def run(suite: Suite, store: Store, args: argparse.Namespace) -> dict[str, str]:
    """Run all that a suite still needs; returns the reasons of failed stages by key.

    A search decides further stages, so the plan is made again until nothing new comes.

    Raises:
        UserError: more is expected than the budget, or the device or cluster cannot be used.
    """
    failures: dict[str, str] = {}
    planned = plan_of(suite, store, to_run=True)
    stages = planned.needed(store)
    record = _recorder(suite, store)
    if not stages:
        record(planned.cells)
        return failures
    from flipbench.schedule.display import Display

    pool = _pool(store, args)  # before anything is written: its options may be wrong
    store.prepare()

    class Recording(Display):
        """A display that has each finished trial entered in its study."""

        def finished(self, slot: int, stage: Stage, metrics: dict[str, Any], seconds: float) -> None:
            super().finished(slot, stage, metrics, seconds)
            record(cell for cell in planned.cells if any(trial.key == stage.key for trial in cell.trials))

    with pool:
        kind = slots_of(pool.device, None)[0]
        if args.budget:
            plan_verb.Cost.of(planned, store, kind, pool.workers).check(budget_of(args.budget), args.budget)
        while stages:
            record(planned.cells)
            title = f"{suite.suite} · {suite.protocol}"
            seconds = {key: estimate.seconds for key, estimate in expected(stages, store, kind).items()}
            with Recording(title, stages, seconds, pool.workers) as display:
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
    from flipbench.store.studies import Studies

    studies = Studies(store, suite, suite.tune)

    def record(cells: Iterable[Cell]) -> None:
        try:
            studies.record(cells)
        except OSError as error:
            print(f"{studies.path}: not written ({error.strerror}); the next run will", file=sys.stderr)

    return record


def _named(stages: list[Stage], key: str) -> str:
    return next(str(stage) for stage in stages if stage.key == key)


def _pool(store: Store, args: argparse.Namespace) -> "Pool | Cluster":
    """What runs the stages."""
    if args.backend == "ray":
        from flipbench.schedule.ray import Cluster

        return Cluster(store, args.address, args.device, gpu_share=args.gpu_share, stall=args.stall)
    from flipbench.schedule.local import Pool

    device = usable(args.device)
    stack = group.size(args.stack, device)
    return Pool(store, slots_of(device, args.workers)[1], device, stall=args.stall, stack=stack)
