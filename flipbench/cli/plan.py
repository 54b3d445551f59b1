"""``flipbench plan SUITE`` (and ``run --dry-run``)."""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flipbench.cli.common import plan_of_known, slots_of, store_of, suite_of, usable
from flipbench.cli.output import print_json, print_table
from flipbench.cost.estimate import Estimate, budget_of, expected, finish, in_full
from flipbench.errors import UserError
from flipbench.plan.expand import Plan
from flipbench.plan.stage import Stage
from flipbench.schedule.display import duration
from flipbench.store.runs import Store


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    store = store_of(suite)
    budget = budget_of(args.budget) if args.budget else None
    plan, missing = plan_of_known(suite, store, to_run=args.calibrate)
    device = usable(args.device) if args.calibrate else args.device
    kind, slots = slots_of(device, args.workers)
    if args.calibrate:
        calibrate(in_full(plan).needed(store), store, device, slots)
    cost = Cost.of(plan, store, kind, slots)
    if args.json:
        print_json({**cost.document(store), "not_prepared": missing})
    else:
        cost.show(store)
    for line in missing:
        print(f"not planned: {line}", file=sys.stderr)
    if budget is not None:
        if missing:
            raise UserError(f"--budget {args.budget}: nothing is known of what is not planned: {missing[0]}")
        cost.check(budget, args.budget)
    return 0


def calibrate(stages: Iterable[Stage], store: Store, device: str, slots: int) -> None:
    """Measure the kinds of stage among ``stages`` that neither finished runs nor earlier calibrations tell of."""
    from flipbench.cost import calibration

    stages, kind = list(stages), "cpu" if device == "cpu" else "cuda"
    known = expected(stages, store, kind)
    unknown = [s for s in stages if s.key not in known or known[s.key].source == "alike"]
    kinds = calibration.representatives(unknown)
    if kinds:
        from flipbench.run.calibrate import measure, of_each
        from flipbench.schedule.local import reason_of

        for of_kind, found in of_each(kinds, partial(measure, device=device), slots):
            if isinstance(found, Exception):
                line = reason_of(found)
            else:
                calibration.save(kind, {of_kind: found})  # at once, so that a stop loses nothing
                line = f"{1000 * found.step:.1f} ms a step, {found.memory_mb:.0f} MB, from {found.steps} steps"
            print(f"calibrate {kinds[of_kind]}: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Cost:
    """A plan with what is expected of it.

    Attributes:
        full: the plan with what follows once its searches have chosen.
        to_run: its stages still to run. estimates: of those, by key, where something is known.
    """

    plan: Plan
    full: Plan
    to_run: list[Stage]
    estimates: Mapping[str, Estimate]
    slots: int

    @classmethod
    def of(cls, plan: Plan, store: Store, device: str, slots: int) -> "Cost":
        full = in_full(plan)
        to_run = full.needed(store)
        return cls(plan, full, to_run, expected(to_run, store, device), slots)

    @property
    def unknown(self) -> list[Stage]:
        """The stages to run of which nothing is known."""
        return [stage for stage in self.to_run if stage.key not in self.estimates]

    @property
    def at_most(self) -> bool:
        return any(estimate.at_most for estimate in self.estimates.values())

    @property
    def finish(self) -> float:
        """Seconds until all is done; of the stages that something is known of."""
        known = [stage for stage in self.to_run if stage.key in self.estimates]
        return finish(known, {key: estimate.seconds for key, estimate in self.estimates.items()}, self.slots)

    @property
    def memory_mb(self) -> float | None:
        """Of all slots together, should their largest stages meet; None where nothing is known."""
        sizes = sorted((e.memory_mb for e in self.estimates.values() if e.memory_mb is not None), reverse=True)
        return sum(sizes[: self.slots]) if sizes else None

    def check(self, budget: float, given: str) -> None:
        """Raises UserError where more than ``budget`` seconds are expected, or where that cannot be told."""
        if self.unknown:
            raise UserError(
                f"--budget {given}: nothing is known of the cost of {_counted(len(self.unknown), 'stage')} "
                f"({self.unknown[0]}); `flipbench plan {self.plan.suite.suite} --calibrate` measures it"
            )
        if self.finish > budget:
            raise UserError(f"--budget {given}: {self._time(self.finish)} expected on {_counted(self.slots, 'slot')}")

    def show(self, store: Store) -> None:
        """Print a line a (data set, method, role): stages, done, to run, and what these cost."""
        groups = Counter(_group(stage) for stage in self.full.stages())
        done = Counter(_group(stage) for stage in self.full.stages() if store.done(stage))
        to_run: dict[tuple[str, ...], list[Stage]] = defaultdict(list)
        for stage in self.to_run:
            to_run[_group(stage)].append(stage)
        rows = [
            [*group, str(count), str(done[group]), str(len(to_run[group])), *self._cells(to_run[group])]
            for group, count in groups.items()
        ]
        columns = ["data set", "method", "stage", "stages", "done", "to run", "expected", "memory", "known from"]
        print_table(columns, rows, right=frozenset(columns[3:8]))
        print(self._total(sum(groups.values())))

    def _cells(self, stages: list[Stage]) -> list[str]:
        known = [self.estimates[stage.key] for stage in stages if stage.key in self.estimates]
        if not stages:
            return ["", "", ""]
        if len(known) < len(stages):
            return ["not measured yet", "", ""]
        time = _time(sum(e.seconds for e in known), any(e.at_most for e in known))
        return [time, _memory(known), ", ".join(sorted({e.source for e in known}))]

    def _time(self, seconds: float) -> str:
        return _time(seconds, self.at_most)

    def _total(self, stages: int) -> str:
        told = f"{len(self.to_run)} of {stages} stages to run"
        if self.unknown:
            told += f"; {len(self.unknown)} are like none that has finished here"
            told += ", so the time is not known yet (--calibrate measures it)"
        elif self.to_run:
            work = sum(estimate.seconds for estimate in self.estimates.values())
            told += f", {self._time(work)} of work, done in {self._time(self.finish)} on {_counted(self.slots, 'slot')}"
            told += f", {self.memory_mb:.0f} MB" if self.memory_mb is not None else ""
        if self.at_most and not self.unknown:
            told += "; at most: as if no training stopped early"
        if self.plan.choosing:
            told += "; the seeds' runs follow once each search has chosen, and count here at the declared settings"
        return told

    def document(self, store: Store) -> dict[str, Any]:
        """The same for machines."""
        suite = self.plan.suite
        return {
            "suite": suite.suite,
            "protocol": suite.protocol,
            "slots": self.slots,
            "stages": [self._line(stage, store) for stage in self.plan.stages()],
            "to_run": len(self.plan.needed(store)),
            "foreseen": len(self.to_run) - len(self.plan.needed(store)),
            "search_pending": self.plan.choosing,
            "unknown": len(self.unknown),
            "expected_seconds": None if self.unknown else self.finish,
            "work_seconds": None if self.unknown else sum(e.seconds for e in self.estimates.values()),
            "at_most": self.at_most,
            "memory_mb": self.memory_mb,
        }

    def _line(self, stage: Stage, store: Store) -> dict[str, Any]:
        estimate = self.estimates.get(stage.key)
        return {
            "key": stage.key,
            "role": stage.role,
            "dataset": stage.dataset,
            "method": stage.method,
            "seed": stage.seed,
            "done": store.done(stage),
            "expected_seconds": estimate and estimate.seconds,
            "at_most": estimate and estimate.at_most,
            "memory_mb": estimate and estimate.memory_mb,
            "device_memory_mb": estimate and estimate.device_memory_mb,
            "known_from": estimate and estimate.source,
        }


def _group(stage: Stage) -> tuple[str, str, str]:
    return stage.dataset, stage.method, stage.role


def _time(seconds: float, at_most: bool) -> str:
    return f"{'at most' if at_most else 'about'} {duration(seconds)}"


def _memory(known: list[Estimate]) -> str:
    """The largest of a row, and beside it that on the GPU."""
    sizes = [
        max((s for s in of if s is not None), default=None)
        for of in zip(*((e.memory_mb, e.device_memory_mb) for e in known), strict=True)
    ]
    return " + ".join(f"{size:.0f} MB{gpu}" for size, gpu in zip(sizes, ("", " GPU"), strict=True) if size is not None)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
