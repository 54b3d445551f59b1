"""``flipbench run SUITE`` and ``flipbench plan SUITE``."""

import argparse
from collections import Counter, defaultdict
from dataclasses import fields
from typing import Any

from flipbench import api
from flipbench.cli.display import Display
from flipbench.cli.output import print_json, print_table, say, suite_of, tell
from flipbench.cost.estimate import Estimate, budget_of
from flipbench.cost.plan_cost import about, counted
from flipbench.errors import UserError
from flipbench.plan.stage import Stage
from flipbench.store.code import line_of


def run(args: argparse.Namespace) -> int:
    """Run, or with ``--dry-run`` show what would; 2 where stages failed."""
    suite = suite_of(args)
    options: dict[str, Any] = {option.name: getattr(args, option.name) for option in fields(api.RunOptions)}
    if args.dry_run:
        api.RunOptions(**{**options, "workers": None}).check()
        api.plan(suite, unprepared="raise")
        _show(cost := api.cost(suite, device=args.device, workers=args.workers))
        if args.budget:
            cost.check(args.budget)
        if not args.accept_code and (changed := api.changed_code(cost.plan)):
            raise UserError(f"{suite.place}{line_of(changed)}")
        return 0
    with Display() as display:
        summary = api.run(suite, on_event=display, **options)
    tell(f"{suite.suite}: {summary.done} of {summary.total} runs done in {summary.folder}")
    if not summary.failures:
        return 0
    tell(f"{len(summary.failures)} stages failed:")
    for failure in summary.failures.values():
        tell(f"  {failure}")
    return 2


def plan(args: argparse.Namespace) -> None:
    """Print a line a (data set, method, role): stages, done, to run, and what these cost."""
    suite = suite_of(args)
    if args.budget:
        budget_of(args.budget)
    with Display() as display:
        cost = api.cost(suite, device=args.device, workers=args.workers, calibrate=args.calibrate, on_event=display)
    if args.json:
        print_json(cost.as_dict())
    else:
        _show(cost)
    for line in cost.not_prepared:
        tell(f"not planned: {line}")
    if changed := api.changed_code(cost.plan):
        tell(line_of(changed))
    if args.budget:
        cost.check(args.budget)


def _show(cost: api.PlanCost) -> None:
    stages = cost.full.stages()
    groups = Counter(map(_group, stages))
    done = Counter(_group(stage) for stage in stages if cost.store.done(stage))
    to_run: dict[tuple[str, ...], list[Stage]] = defaultdict(list)
    for stage in cost.to_run:
        to_run[_group(stage)].append(stage)
    rows = [
        [*group, str(count), str(done[group]), str(len(to_run[group])), *_expected(to_run[group], cost)]
        for group, count in groups.items()
    ]
    columns = ["data set", "method", "stage", "stages", "done", "to run", "expected", "memory", "known from"]
    print_table(columns, rows, columns[3:8])
    say(_total(cost, len(stages)))


def _group(stage: Stage) -> tuple[str, str, str]:
    return stage.dataset, stage.method, stage.role


def _expected(stages: list[Stage], cost: api.PlanCost) -> list[str]:
    known = [cost.estimates[stage.key] for stage in stages if stage.key in cost.estimates]
    if not stages:
        return ["", "", ""]
    if len(known) < len(stages):
        return ["not measured yet", "", ""]
    time = about(sum(e.seconds for e in known), any(e.at_most for e in known))
    return [time, _memory(known), ", ".join(sorted({e.source for e in known}))]


def _memory(known: list[Estimate]) -> str:
    """The largest of a row, and beside it that on the GPU."""
    host = max((e.memory_mb for e in known if e.memory_mb is not None), default=None)
    device = max((e.device_memory_mb for e in known if e.device_memory_mb is not None), default=None)
    sizes = ((host, " MB"), (device, " MB GPU"))
    return " + ".join(f"{size:.0f}{unit}" for size, unit in sizes if size is not None)


def _total(cost: api.PlanCost, stages: int) -> str:
    line = f"{len(cost.to_run)} of {stages} stages to run"
    if cost.unknown:
        line += f"; {len(cost.unknown)} are like none that has finished here"
        line += ", so the time is not known yet (--calibrate measures it)"
    elif cost.to_run:
        work, end = (about(seconds, cost.at_most) for seconds in (cost.work_seconds, cost.finish_seconds))
        line += f", {work} of work, done in {end} on {counted(cost.slots, 'slot')}"
        line += f", {cost.memory_mb:.0f} MB" if cost.memory_mb is not None else ""
    if cost.at_most and not cost.unknown:
        line += "; at most: as if no training stopped early"
    if cost.plan.choosing:
        line += "; the seeds' runs follow once each search has chosen, and count here at the declared settings"
    return line
