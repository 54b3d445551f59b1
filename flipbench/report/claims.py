"""What the finished runs say of each claim of the paper."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, cast

from flipbench.paper.claims import (
    LEVEL,
    MARGIN,
    Claim,
    Measure,
    OfPaper,
    Outcome,
    Statement,
    Term,
    gains,
    load_claims,
    of_paper,
    terms,
)
from flipbench.paper.names import TABLES
from flipbench.paper.values import paper_datasets, paper_methods
from flipbench.plan.expand import Plan
from flipbench.plan.suite import Suite
from flipbench.report.cells import Comparison, SuiteResults
from flipbench.report.collect import failure_of
from flipbench.stats.difference import Difference, holm
from flipbench.stats.equivalence import paired_t, tost
from flipbench.store.runs import Store


@dataclass(frozen=True)
class SuiteNumbers:
    """A suite's results as claims read them; empty for want of such a suite.

    Attributes:
        rows, datasets: all that the suite declares, run or not.
        comparisons: all of its tests. alpha: their declared level.
        measured: scores of each evaluation and what each inspection measured, by row and data set, then by seed.
        keys: of those runs, by row and data set.
    """

    rows: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    alpha: float = 0.0
    measured: Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """One difference that a claim is about, and what the runs say of it.

    Attributes:
        words: the statement, where: table, data set and metric.
        gain: mean over seeds, positive where the claim is right. low, high, p: of its test; None for one seed.
        seeds: how many. keys: of the runs.
    """

    where: str
    words: str
    outcome: Outcome
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    seeds: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluated:
    """A claim, what the runs here say of it, and what the paper's own numbers say.

    Attributes:
        against: statements that the paper's own numbers contradict.
    """

    claim: Claim
    outcome: Outcome
    evidence: tuple[Judged, ...]
    paper: OfPaper
    against: tuple[str, ...]


@dataclass(frozen=True)
class OurNumbers:
    """Numbers of finished runs; ``suite`` gives a table's or figure's."""

    suite: Callable[[str], SuiteNumbers]

    def datasets(self, table: str) -> list[str]:
        """The paper's, run here or not: a claim of three data sets is not supported by one."""
        return paper_datasets(table) if table in TABLES else list(self.suite(table).datasets)

    def rows(self, table: str) -> list[str]:
        """The paper's and the suite's."""
        printed = paper_methods(table) if table in TABLES else []
        return list(dict.fromkeys((*printed, *self.suite(table).rows)))

    def sample(self, table: str, row: str, dataset: str, measure: Measure) -> Mapping[int, float]:
        measured = self.suite(table).measured.get((row, dataset), {})
        return {seed: float(values[measure]) for seed, values in measured.items() if measure in values}

    def keys(self, table: str, row: str, dataset: str) -> tuple[str, ...]:
        return self.suite(table).keys.get((row, dataset), ())

    def comparison(self, table: str, row: str, against: str, dataset: str, measure: Measure) -> Difference | None:
        wanted = (dataset, measure, row, against)
        tests = self.suite(table).comparisons
        return next((c.difference for c in tests if (c.dataset, c.metric, c.row, c.against) == wanted), None)


def suite_numbers(plan: Plan, store: Store, results: SuiteResults, suite: Suite) -> SuiteNumbers:
    """What claims read of a suite; nothing of a row with a failed run: a mean over survivors is no evidence.

    Args:
        plan, results: of the suite, or of some of its data sets.

    Raises:
        UserError: an inspection's files were changed.
    """
    measured: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    keys: dict[tuple[str, str], tuple[str, ...]] = {}
    for scored in results.cells:
        if not scored.failed:
            name = (scored.method, scored.dataset)
            measured[name] = {run.seed: {"auc": run.auc, "logloss": run.logloss} for run in scored.runs}
            keys[name] = tuple(run.key for run in scored.runs)
    for cell in plan.cells:
        stages = [stage for stage in cell.inspections if store.done(stage)]
        if not stages or any(failure_of(stage, store) for stage in cell.inspections):
            continue
        name = (cell.method.label, cell.data.label)
        keys[name] = tuple(stage.key for stage in stages)
        for stage in stages:
            store.check(stage, "metrics.json", "spec.json")
            of_seed = measured.setdefault(name, {})
            of_seed[stage.seed] = store.metrics(stage) | of_seed.get(stage.seed, {})  # no inspection replaces scores
    datasets = tuple(entry.label for entry in suite.data)
    return SuiteNumbers(results.methods, datasets, results.comparisons, results.compare.alpha, measured, keys)


def claims_of_suite(plan: Plan, store: Store, results: SuiteResults) -> Iterator[tuple[Evaluated, bool]]:
    """Each claim that the paper makes of a suite's table or figure, and whether it makes some of it of another one.

    Such a claim is cut to what it states of this one.
    """
    about = results.paper or results.suite
    suite = suite_numbers(plan, store, results, plan.suite)
    numbers = OurNumbers(lambda name: suite if name == about else SuiteNumbers())
    for claim in load_claims():
        holds = [statement for statement in claim.holds if statement.table == about]
        if holds:
            yield evaluate(claim.model_copy(update={"holds": holds}), numbers), len(holds) < len(claim.holds)


def evaluate(claim: Claim, numbers: OurNumbers) -> Evaluated:
    """A claim's verdict.

    A claim is ``supported`` where each of its statements is, by a two-sided paired t-test over seeds at 5 % (or the
    declared test, where the claim is of significance): no correction is needed for a conjunction. It is ``refuted``
    where the opposite of one is significant after Holm over all of them. One seed is ``inconclusive``.
    """
    judged = _corrected([j for statement in claim.holds for j in _statement(statement, numbers)])
    outcomes = {j.outcome for j in judged}
    outcome: Outcome = "supported"
    if not outcomes or outcomes == {"not run"}:
        outcome = "not run"
    elif "refuted" in outcomes:
        outcome = "refuted"
    elif outcomes != {"supported"}:
        outcome = "inconclusive"
    paper, against = of_paper(claim)
    return Evaluated(claim, outcome, tuple(judged), paper, tuple(against))


def _statement(statement: Statement, numbers: OurNumbers) -> list[Judged]:
    if statement.resolves is not None:
        return _resolves(statement, numbers)
    judged = [_judged(term, numbers) for term in terms(statement, numbers)]
    return judged or [Judged(statement.table, "no such rows or data", "not run")]


def _judged(term: Term, numbers: OurNumbers) -> Judged:
    where = f"{term.table} {term.dataset} {term.measure}"
    gained = list(gains(term, numbers).values())
    if not gained:
        return Judged(where, term.words, "not run")
    rows = dict.fromkeys(row for row, _ in term.weights)
    keys = tuple(key for row in rows for key in numbers.keys(term.table, row, term.dataset))
    untested = Judged(where, term.words, "inconclusive", fmean(gained), seeds=len(gained), keys=keys)
    if len(set(gained)) < 2:  # one seed, or seeds that are one run
        return untested
    if term.target is not None:
        p, low, high = tost([gain - term.target for gain in gained], MARGIN)
        outcome = _supports(p < LEVEL)
        if low > MARGIN or high < -MARGIN:
            outcome = "refuted"
        return replace(untested, outcome=outcome, low=low + term.target, high=high + term.target, p=p)
    if term.pair is not None:
        return _declared(term, untested, numbers)
    test = paired_t(gained)
    supported = test.p < LEVEL and test.value > 0
    return replace(untested, outcome=_supports(supported), low=test.low, high=test.high, p=test.p)


def _declared(term: Term, untested: Judged, numbers: OurNumbers) -> Judged:
    """By the suite's own test, at its level and adjusted over its family."""
    assert term.pair is not None
    test = numbers.comparison(term.table, *term.pair, term.dataset, term.measure)
    if test is None:
        return untested
    sign = -1.0 if term.measure == "logloss" else 1.0
    low, high = sorted((sign * test.low, sign * test.high))
    p = test.p if test.adjusted is None else test.adjusted
    supported = sign * test.value > 0 and p < numbers.suite(term.table).alpha
    return replace(untested, outcome=_supports(supported), low=low, high=high, p=p)


def _supports(supported: bool) -> Outcome:
    return "supported" if supported else "inconclusive"


def _resolves(statement: Statement, numbers: OurNumbers) -> list[Judged]:
    """Whether the 95 % interval of each tested difference is narrower than twice the difference in question."""
    judged = []
    for c in numbers.suite(statement.table).comparisons:
        if c.metric == "auc":
            test, half = c.difference, (c.difference.high - c.difference.low) / 2
            outcome: Outcome = "supported" if half < cast(float, statement.resolves) else "refuted"
            where, words = f"{statement.table} {c.dataset} auc", f"{c.row} and {c.against} to ±{half:.4f}"
            judged.append(Judged(where, words, outcome, test.value, test.low, test.high, test.p))
    return judged or [Judged(statement.table, "no differences were tested", "not run")]


def _corrected(judged: list[Judged]) -> list[Judged]:
    """Those whose opposite is significant over all of them become ``refuted``."""
    p_of = {i: j.p for i, j in enumerate(judged) if j.p is not None}
    adjusted = dict(zip(p_of, holm(list(p_of.values())), strict=True))
    wrong = {i for i, p in adjusted.items() if p < LEVEL and judged[i].outcome == "inconclusive"}
    return [
        replace(j, outcome="refuted") if i in wrong and j.high is not None and j.high < 0 else j
        for i, j in enumerate(judged)
    ]
