"""What a suite's tests can resolve, and how many seeds or users it would take: answered before and after its runs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.errors import NotPreparedError, UserError
from flipbench.identity import key_of
from flipbench.paper.values import paper_value
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage, is_refitted, validation_of
from flipbench.protocol import Metric
from flipbench.report.significance import Evidence, UntestableError, pairs
from flipbench.stats.delong import hanley_mcneil
from flipbench.stats.difference import Luck
from flipbench.stats.power import Reach, reach, seeds_for, users_for
from flipbench.store.runs import Store

Known = Literal["runs", "other runs", "assumed"]
"""Where the luck of a pair is known from: its own runs, the median of other rows' under its protocol, or nowhere."""

ASSUMED_AUC = 0.8
"""Of a row that was neither run nor printed."""

ALIKE = 0.95
"""Correlation of two rows' metrics over test sets, one seed each: .84 to .99 among nine ID-based models on MovieLens-1M
(median .96), .86 to .99 on generated data. Half of the rest is assumed to be each seed's own, and falls with seeds."""

WITHIN_USERS = 0.05
"""Correlation of what two rows of one user add to a metric's error: .07 on MovieLens-1M, .02 and .03 on generated data.
The variance of a metric over test sets is 1 + (n - 1) times this that of independent rows, n the mean number of rows
of a row's user (Kish, Survey Sampling, 1965)."""

SEEDS_SD = 0.001
"""Standard deviation over seeds of a difference on all users."""

ROW_LOSS_SD = 0.65
"""Standard deviation of a test row's logloss: .58 to .73 on MovieLens-1M, .4 to .6 on generated data."""

_ALL = f"correlation {ALIKE:g} of the two, {WITHIN_USERS:g} within users, standard deviation {SEEDS_SD:g} over seeds"
ASSUMPTIONS: dict[Metric, str] = {
    "auc": f"standard errors by Hanley and McNeil from the printed AUCs (else {ASSUMED_AUC:g}), {_ALL}",
    "logloss": f"standard deviation {ROW_LOSS_SD:g} of a row's logloss, {_ALL}",
}
"""What an answer rests on where nothing was run, in words."""


@dataclass(frozen=True)
class Power:
    """What the declared test of one pair can resolve.

    Attributes:
        dataset, row, against: labels of the suite.
        known: where ``luck`` is known from. basis: the same in words.
        users: of the test set. seeds: that the suite asks for.
        alpha: two-sided level of this one test: the suite's over the number of its tests (Holm's strictest step).
        difference: the true difference in question.
        reach: what can be resolved with ``seeds``, and whatever the seeds; None where the suite asks for one.
        seeds_needed: to resolve ``difference`` with these users; None: no number up to 1,000 is enough.
        users_needed: like these, to resolve it with ``seeds``; None: none would. users_at_best: whatever the seeds.
    """

    dataset: str
    metric: Metric
    row: str
    against: str
    known: Known
    basis: str
    luck: Luck
    users: int
    seeds: int
    alpha: float
    difference: float
    reach: Reach | None
    seeds_needed: int | None
    users_needed: int | None
    users_at_best: int | None


def powers(plan: Plan, store: Store, metric: Metric, difference: float | None = None) -> list[Power]:
    """An answer for each pair that the suite tests; none on data sets of which nothing is known here.

    Args:
        difference: in question; the suite's margin if None.

    Raises:
        UserError: the suite tests no pairs, the difference is not positive, nothing is known of any data set, or
            runs cannot be read.
    """
    if not (tested := list(pairs(plan))):
        raise UserError(f"{plan.suite.suite}: no two rows are tested against each other; name a compare.reference")
    wanted = plan.suite.compare.margin[metric] if difference is None else difference
    if not 0 < wanted < math.inf:
        raise UserError(f"--difference {wanted:g}: must be above 0")
    pilots, answers, unknown = _Pilots(plan, store, metric), [], []
    alpha, seeds = plan.suite.compare.alpha / len(tested), plan.suite.seeds
    for row, other in tested:
        try:
            users = pilots.users(row)
        except NotPreparedError as error:
            unknown.append(error)
            continue
        known, basis, luck = pilots.luck(row, other)
        answers.append(
            Power(
                dataset=row.data.label,
                metric=metric,
                row=row.method.label,
                against=other.method.label,
                known=known,
                basis=basis,
                luck=luck,
                users=users,
                seeds=seeds,
                alpha=alpha,
                difference=wanted,
                reach=reach(luck, seeds, alpha) if seeds > 1 else None,
                seeds_needed=seeds_for(luck, wanted, alpha),
                users_needed=users_for(luck, users, seeds, wanted, alpha) if seeds > 1 else None,
                users_at_best=users_for(luck, users, math.inf, wanted, alpha),
            )
        )
    if not answers:
        raise unknown[0]
    return answers


class _Pilots:
    """Finished runs on the test rows of each data set under the plan's protocol, whatever suite they were for."""

    def __init__(self, plan: Plan, store: Store, metric: Metric) -> None:
        self.store, self.metric, self.test = store, metric, plan.suite.compare.test
        self.suite, self.evidence = plan.suite, Evidence(store)
        self._rows: dict[str, list[tuple[Stage, ...]]] = {}
        self._others: dict[tuple[str, frozenset[bool]], list[Luck]] = {}
        self._sizes: dict[str, tuple[int, NDArray[np.intp]]] = {}

    def luck(self, row: Cell, other: Cell) -> tuple[Known, str, Luck]:
        """Of a pair: measured with its own runs; else the median of pairs run likewise; else assumed."""
        own = self._measured(row.evaluations, other.evaluations)
        if own and own.seeds is not None:
            return "runs", f"{len(self._common(row.evaluations, other.evaluations))} seeds of both", own
        others = self._lucks(row, other)
        several = [luck for luck in others if luck.seeds is not None]
        seeds = median(luck.seeds for luck in several if luck.seeds is not None) if several else SEEDS_SD
        of_seeds = f"seeds' spread {'the median of other rows' if several else f'assumed, {SEEDS_SD:g}'}"
        if own:
            return "runs", f"one seed of both; {of_seeds}", replace(own, seeds=seeds)
        if several or others:
            middle = {n: median(getattr(luck, n) for luck in several or others) for n in ("users", "both", "df")}
            words = "" if several else f" of one seed; {of_seeds}"
            return (
                "other runs",
                f"median of {len(several or others)} pairs of this protocol{words}",
                Luck(seeds=seeds, **middle),
            )
        return "assumed", "no such runs on these test rows", self._assumed(row, other)

    def users(self, cell: Cell) -> int:
        """Of the test rows.

        Raises:
            NotPreparedError: there are no runs, nor the data.
        """
        return len(self._size(cell)[1])

    def _assumed(self, row: Cell, other: Cell) -> Luck:
        """From the size of the test set alone, by the constants above."""
        if self.test == "paired-t":
            return Luck(0.0, 0.0, SEEDS_SD, math.inf)
        positives, of_user = self._size(row)
        rows = int(of_user.sum())
        error = ROW_LOSS_SD / math.sqrt(rows)
        if self.metric == "auc":
            printed = (
                paper_value(paper, c.method.label, c.data.label, "auc") if (paper := self.suite.paper) else None
                for c in (row, other)
            )
            error = hanley_mcneil(fmean(auc or ASSUMED_AUC for auc in printed), positives, rows - positives)
        if by_users := self.test == "user-bootstrap":
            error *= math.sqrt(1 + (float(of_user @ of_user) / rows - 1) * WITHIN_USERS)
        either = error * math.sqrt(1 - ALIKE)  # of the variance 2 (1 - ALIKE) error^2, half
        return Luck(either, either, SEEDS_SD, len(of_user) - 1 if by_users else math.inf)

    def _size(self, cell: Cell) -> tuple[int, NDArray[np.intp]]:
        """How many test rows are positive, and how many are of each user."""
        if cell.data.label not in self._sizes:
            if runs := self._runs(cell):
                run = self.evidence.predictions(runs[0][0])
                positives, groups = int(run.labels.sum()), run.groups
            else:
                stage = (*cell.evaluations, *cell.trials)[0]
                table = open_table(stage.dataset, fingerprint=stage.spec["data"])
                rows = split.test_rows(split.of_users(table, cell.data.users), cell.data.order)
                positives, groups = int(rows.labels.sum()), rows.groups
            self._sizes[cell.data.label] = positives, np.bincount(groups)
        return self._sizes[cell.data.label]

    def _common(self, first: Iterable[Stage], second: Iterable[Stage]) -> list[tuple[Stage, Stage]]:
        """Finished runs of both, by seed."""
        a, b = ({s.seed: s for s in stages if self.store.done(s)} for stages in (first, second))
        return [(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]

    def _measured(self, first: Iterable[Stage], second: Iterable[Stage]) -> Luck | None:
        both = self._common(first, second)
        if not both or (len(both) < 2 and self.test == "paired-t"):
            return None
        one, other = (tuple(side) for side in zip(*both, strict=True))
        try:
            return self.evidence.difference(one, other, self.metric, self.test).luck
        except UntestableError:  # one run under two names tells nothing
            return None

    def _lucks(self, row: Cell, other: Cell) -> list[Luck]:
        """Of every pair of unlike methods that was run as this one, floors with floors, with common seeds."""
        floors = frozenset((row.method.is_floor, other.method.is_floor))
        if (key := (row.data.label, floors)) not in self._others:
            alike = (
                (a, b)
                for a, b in combinations(self._runs(row), 2)
                if a[0].method != b[0].method and {a[0].is_floor, b[0].is_floor} == floors
            )
            self._others[key] = [luck for a, b in alike if (luck := self._measured(a, b))]
        return self._others[key]

    def _runs(self, cell: Cell) -> list[tuple[Stage, ...]]:
        """The finished runs on a cell's test rows under its protocol, those that differ in the seed alone together."""
        data, planned = cell.data, (*cell.evaluations, *cell.trials)
        if data.label not in self._rows:
            fingerprint = planned[0].spec["data"] if planned else None
            selection = self.suite.selection_on(data) if self.suite.protocol == "held-out" else None
            wanted = fingerprint, data.order, data.users, selection
            rows: dict[str, list[Stage]] = {}
            for stage in self.store.finished(data.dataset.name, role="evaluate"):
                if _condition(stage.spec) == wanted:
                    name = key_of({n: value for n, value in stage.spec.items() if n not in ("seed", "parents")})
                    rows.setdefault(name, []).append(stage)
            self._rows[data.label] = [tuple(stages) for stages in rows.values()]
        return self._rows[data.label]


def _condition(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """The test rows of a run and what it was selected on; None for what selects on the test rows themselves."""
    selection = (validation_of(spec), is_refitted(spec)) if spec["protocol"] == "held-out" else None
    return spec["data"], spec["order"], spec.get("users", 1.0), selection
