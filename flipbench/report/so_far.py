"""What a suite's results show so far: of the seeds that every cell with runs has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from flipbench.paper.claims import load_claims
from flipbench.plan import suite as suites
from flipbench.plan.expand import Cell, Plan, with_options
from flipbench.plan.suite import Suite
from flipbench.report import claims
from flipbench.report.cells import SuiteResults
from flipbench.report.collect import collect, failure_of, seeds_run
from flipbench.store.planning import has_results, plan_of_known, store_of
from flipbench.store.runs import Store


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        dataset, method: labels of the suite.
        trials: done and asked so far, ``3/24``; None without a search.
        done: finished runs, of ``expected``. failed: why others have no result, a line each.
        auc: mean over the runs once all of them are done, as they recorded it: not recomputed.
    """

    dataset: str
    method: str
    trials: str | None
    done: int
    expected: int
    failed: tuple[str, ...]
    auc: float | None


def status_of(cell: Cell, suite: Suite, store: Store) -> CellStatus:
    """How far a cell of the suite is.

    Raises:
        DamagedError: a run's figures were changed since it was finished, or are no numbers.
    """
    recorded = [store.metrics(stage) for stage in cell.evaluations if store.done(stage)]
    scores = [metrics["auc"] for metrics in recorded if "auc" in metrics]
    return CellStatus(
        dataset=cell.data.label,
        method=cell.method.label,
        trials=f"{sum(map(store.done, cell.trials))}/{len(cell.trials)}" if cell.trials else None,
        done=sum(map(store.done, cell.ends)),
        expected=suite.runs,
        failed=tuple(reason for stage in cell.ends if (reason := failure_of(stage, store))),
        auc=fmean(scores) if len(scores) == suite.runs else None,
    )


def results_so_far(suite: Suite, today: Mapping[str, str] | None = None) -> tuple[Plan, Store, SuiteResults]:
    """The suite's plan, store and results, of data sets that are known here; a note says where seeds are missing.

    Args:
        today: as for :func:`flipbench.report.code.code_marks`.

    Raises:
        UserError: no data set is prepared, or as :func:`flipbench.report.collect.collect`.
    """
    store = store_of(suite)
    plan = plan_of_known(suite, store)[0]
    seeds = seeds_run(plan, store) or suite.seeds
    if seeds == suite.seeds:
        return plan, store, collect(plan, store, today)
    plan = plan_of_known(suite.model_copy(update={"seeds": seeds}), store)[0]
    results = collect(plan, store, today)
    note = f"The suite asks for {suite.seeds} seeds; {seeds} so far."
    return plan, store, replace(results, notes=(*results.notes, note))


def claims_so_far(folder: str | None) -> list[claims.Evaluated]:
    """What the runs of all suites say of each claim; ``folder``: of their results, the suites' own if None."""
    names = {path.stem for path in suites.available()}

    @cache
    def of_suite(name: str) -> claims.SuiteNumbers:
        if name not in names:
            return claims.SuiteNumbers()
        suite = with_options(suites.load(name), None, None, folder)
        ran = [entry for entry in suite.data if has_results(suite.model_copy(update={"data": [entry]}))]
        if not ran:
            return claims.SuiteNumbers()
        plan, store, results = results_so_far(suite.model_copy(update={"data": ran}))
        return claims.suite_numbers(plan, store, results, suite)

    numbers = claims.OurNumbers(of_suite)
    return [claims.evaluate(claim, numbers) for claim in load_claims()]
