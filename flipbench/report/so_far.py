"""What a suite's results show so far: of the seeds that every cell with runs has."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flipbench.paper.claims import load_claims
from flipbench.plan import suite as suites
from flipbench.plan.expand import Plan, with_options
from flipbench.plan.suite import Suite
from flipbench.report import claims
from flipbench.report.cells import SuiteResults
from flipbench.report.collect import collect, seeds_run
from flipbench.store.planning import has_results, plan_of_known, store_of
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.report.verify import Mismatch


@dataclass(frozen=True)
class Verification:
    """Whether a suite's figures and tables follow from its predictions.

    Attributes:
        runs: how many were checked.
        mismatches: what does not follow.
        drawn_by: the libraries that drew pictures which could not be compared byte for byte here; else empty.
    """

    suite: str
    runs: int
    mismatches: "tuple[Mismatch, ...]"
    drawn_by: str = ""


def results_so_far(suite: Suite) -> tuple[Plan, Store, SuiteResults]:
    """The suite's plan, store and results, of data sets that are known here; a note says where seeds are missing.

    Raises:
        UserError: no data set is prepared, or as :func:`flipbench.report.collect.collect`.
    """
    store = store_of(suite)
    plan = plan_of_known(suite, store)[0]
    seeds = seeds_run(plan, store) or suite.seeds
    if seeds == suite.seeds:
        return plan, store, collect(plan, store)
    plan = plan_of_known(suite.model_copy(update={"seeds": seeds}), store)[0]
    results = collect(plan, store)
    note = f"The suite asks for {suite.seeds} seeds; {seeds} so far."
    return plan, store, replace(results, notes=(*results.notes, note))


def claims_so_far(folder: str | None) -> list[claims.Evaluated]:
    """What the runs of all suites say of each claim; ``folder``: of their results, the suites' own if None."""
    names = {path.stem for path in suites.available()}

    @cache
    def of_suite(name: str) -> claims.Suite | None:
        if name not in names:
            return None
        suite = with_options(suites.load(name), None, None, folder)
        ran = [entry for entry in suite.data if has_results(suite.model_copy(update={"data": [entry]}))]
        if not ran:
            return None
        plan, store, results = results_so_far(suite.model_copy(update={"data": ran}))
        return claims.Suite(results, tuple(entry.label for entry in suite.data), *claims.measurements(plan, store))

    numbers = claims.OurNumbers(of_suite)
    return [claims.evaluate(claim, numbers) for claim in load_claims()]


def verification_of(suite: Suite, folder: Path) -> Verification:
    """Check a suite's runs and, where these are right, the reports in ``folder``; see :func:`flipbench.api.verify`."""
    from flipbench.report.verify import verify_page, verify_reports, verify_runs

    store = store_of(suite)
    runs, wrong = verify_runs(plan_of_known(suite, store)[0], store)
    checked = Verification(suite.suite, runs, tuple(wrong))
    if wrong:  # the tables cannot be right, and the runs say why
        return checked
    plan, store, results = results_so_far(suite)
    if not results.cells and not (suite.inspect and runs):
        return checked
    tables = verify_reports(results, folder) if results.cells else []
    pages, drawn_by = verify_page(plan, store, results, folder)
    return replace(checked, mismatches=(*tables, *pages), drawn_by=drawn_by)
