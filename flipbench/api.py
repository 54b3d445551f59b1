"""flipbench from Python: what the command line is made of.

    from flipbench import api

    suite = api.load_suite("quickstart", seeds=2)
    summary = api.run(suite, on_event=print)
    api.results(suite).groupby("row").auc.mean()
    api.report(suite, "reports")

What a user can get wrong is raised as :class:`flipbench.errors.UserError`: one line that names file, key and nearest
valid value. Where it begins with ``--workers`` or the like, the argument of that name is meant. Functions that read
results raise it where a run's files are missing, damaged or changed, or where no data set of the suite is prepared.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flipbench.atomic import write_files
from flipbench.cost.plan_cost import PlanCost
from flipbench.errors import UserError
from flipbench.plan import expand
from flipbench.plan import suite as suites
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.suite import Suite
from flipbench.protocol import Metric, Protocol
from flipbench.schedule.devices import slots_of, usable
from flipbench.schedule.events import Event, Failed, Finished, Listener, Note, Planned, Progress, Started
from flipbench.schedule.execute import RunOptions, execute, measure
from flipbench.store.code import ChangedCode, RunCode
from flipbench.store.planning import has_results, plan_of, plan_of_known, store_of
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from pandas import DataFrame

    from flipbench.report.cite import Bibliography
    from flipbench.report.claims import Evaluated
    from flipbench.report.gap import Rung
    from flipbench.report.ledger import Entry
    from flipbench.report.power import Power
    from flipbench.report.slices import Slice
    from flipbench.report.so_far import CellStatus
    from flipbench.report.table import ResultTable
    from flipbench.report.verify import Verification
    from flipbench.run.check_model import Checked

__all__ = [
    "ChangedCode", "Event", "Failed", "Finished", "Note", "Plan", "PlanCost", "Planned", "Progress", "Report",
    "RunOptions", "RunSummary", "Started", "Suite", "UserError", "bundle", "changed_code", "check_model", "cite",
    "claims", "cost", "explain", "export", "gap", "ledger", "load_suite", "log_to_mlflow", "new_model", "plan", "power",
    "predictions", "report", "results", "run", "slices", "status", "suites_with_results", "trials", "verify",
]  # fmt: skip


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: ``done`` of ``total`` runs, earlier ones among them, in ``folder``; ``failures`` of this one
    as ``STAGE: REASON (FILE:LINE, traceback: FILE)`` by the stage's key."""

    done: int
    total: int
    failures: dict[str, str]
    folder: Path


@dataclass(frozen=True)
class Report:
    """What was written of a suite: all files, and those of them that are figures. ``table`` is None where nothing is
    scored: the suite inspects pretrainings."""

    suite: str
    table: "ResultTable | None" = None
    paths: tuple[Path, ...] = ()
    figures: tuple[Path, ...] = ()


def load_suite(
    name: str | Path,
    *,
    seeds: int | None = None,
    protocol: Protocol | None = None,
    results: str | Path | None = None,
    only: Iterable[str] = (),
) -> Suite:
    """A suite by path, or by the name of one that comes with flipbench.

    Args:
        seeds, protocol, results: instead of the suite's own; ``results`` is the folder.
        only: rows and columns to keep, as ``dataset=...``, ``model=...`` or ``kind=id``.
    """
    folder = None if results is None else str(results)
    return expand.narrow(expand.with_options(suites.load(str(name)), seeds, protocol, folder), only)


def suites_with_results(only: Iterable[str] = (), **options: Any) -> Iterator[Suite]:
    """Every suite that comes with flipbench and may have results; the arguments are those of :func:`load_suite`."""
    for path in suites.available():
        if has_results(suite := load_suite(path, **options)):
            yield expand.narrow(suite, only)


def plan(suite: Suite, *, unprepared: Literal["warn", "raise", "skip"] = "warn") -> Plan:
    """The suite's stages, as far as its results decide them: a search's winner follows once its trials are done.

    Args:
        unprepared: what to do where nothing is known of a data set: leave it out with a warning that says how to
            prepare it, raise, or leave it out silently.
    """
    store = store_of(suite)
    if unprepared == "raise":
        return plan_of(suite, store)
    known, missing = plan_of_known(suite, store)
    for line in missing if unprepared == "warn" else ():
        warnings.warn(f"not planned: {line}", stacklevel=2)
    return known


def cost(
    suite: Suite,
    *,
    device: str = "auto",
    workers: int | None = None,
    calibrate: bool = False,
    on_event: Listener = lambda event: None,
) -> PlanCost:
    """What is expected of the suite's plan: time, memory, and what that is known from.

    Args:
        device, workers: as for :func:`run`.
        calibrate: train a few steps of what has not been measured on this machine; ``on_event`` gets a note of each.
    """
    slots_of(device, workers)  # of a mistake it is told first
    device, store = usable(device) if calibrate else device, store_of(suite)
    planned, missing = plan_of_known(suite, store, to_run=calibrate)
    if calibrate:
        measure(planned, store, device, slots_of(device, workers)[1], on_event)
    return PlanCost.of(planned, store, *slots_of(device, workers), tuple(missing))


def run(
    suite: Suite,
    *,
    device: str = "auto",
    workers: int | None = None,
    on_event: Listener = lambda event: None,
    backend: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpu_share: float = 1.0,
    stall: float = 7200.0,
    stack: str = "auto",
    budget: str | None = None,
    accept_code: bool = False,
) -> RunSummary:
    """Train and score what the suite asks for; the same call resumes, and skips what is done.

    Args:
        on_event: called in this thread with each :data:`flipbench.schedule.events.Event`.
        device, workers, backend, address, gpu_share, stall, stack, budget, accept_code: see
            :class:`flipbench.schedule.execute.RunOptions`.

    Raises:
        UserError: data are not prepared, options do not go together, the device or cluster cannot be used, more is
            expected than the budget, the code of finished runs has changed since, or the results folder cannot be
            written. Stages that fail raise nothing.
    """
    store = store_of(suite)
    options = RunOptions(device, workers, backend, address, gpu_share, stall, stack, budget, accept_code)
    failures = execute(suite, store, options, on_event)
    cells = plan_of(suite, store).cells
    done = sum(store.done(stage) for cell in cells for stage in cell.ends)
    return RunSummary(done, suite.runs * len(cells), failures, store.root)


def report(suite: Suite, folder: str | Path | None = None, figures: bool = True, *, even_empty: bool = True) -> Report:
    """Write the suite's table (Markdown, LaTeX, JSON), figures and page, of the seeds that all cells have so far.

    Args:
        folder: where to; the suite's own if None.
        figures: whether to draw, which takes longest.
        even_empty: whether to write a table that no run has reached yet.
    """
    from flipbench.report.so_far import results_so_far
    from flipbench.report.table import overall_table
    from flipbench.report.write import report_files

    planned, store, collected = results_so_far(suite)
    files = report_files(planned, store, collected, figures)
    if not (even_empty or f"{suite.suite}.html" in files):
        return Report(suite.suite)
    paths = write_files(Path(folder or suite.outputs.reports), files, "the report") if files else []
    pictures = tuple(path for path in paths if path.suffix in (".pdf", ".png", ".csv"))
    return Report(suite.suite, None if suite.inspect else overall_table(collected), tuple(paths), pictures)


def results(suite_or_folder: Suite | str | Path) -> "DataFrame":
    """One row a finished run: ``auc``, ``logloss``, ``seconds``, ``device``, ``key`` and all settings.

    The index (dataset, order, users, protocol, precision, row, seed) tells unlike runs apart, and ``row`` alone does
    too: ``results(suite).groupby("row").auc.mean()`` averages seeds and nothing else. In a suite ``row`` is the row's
    label, with the data set where the suite has several; in a folder it is the method, with what its runs differ in.
    """
    from flipbench.report.frames import results_of_folder, results_of_plan

    if isinstance(suite_or_folder, Suite):
        return results_of_plan(plan(suite_or_folder, unprepared="skip"), store_of(suite_or_folder))
    return results_of_folder(_store(suite_or_folder))


def predictions(key: str, results: str | Path = "results") -> "DataFrame":
    """The test rows of the run whose key begins with ``key``: ``label``, ``group`` (which user) and ``logit``."""
    from flipbench.report.frames import predictions_of

    return predictions_of(key, _store(results))


def trials(suite: Suite) -> "DataFrame":
    """One row a trial of each of the suite's searches: the point's settings, validation figures, state, seconds."""
    from flipbench.report.frames import trials_of

    return trials_of(plan(suite, unprepared="skip"), store_of(suite))


def status(suite: Suite | Plan) -> "list[CellStatus]":
    """How far a suite is, cell by cell, without the data sets of which nothing is known here."""
    from flipbench.report.so_far import status_of

    planned = suite if isinstance(suite, Plan) else plan(suite, unprepared="skip")
    return [status_of(cell, planned.suite, store_of(planned.suite)) for cell in planned.cells]


def changed_code(of: Suite | Plan) -> list[ChangedCode]:
    """The methods whose code is not that of a suite's finished runs, under the same version."""
    planned = of if isinstance(of, Plan) else plan(of, unprepared="skip")
    return RunCode(store_of(planned.suite)).changed(planned.stages())


def ledger(suite: Suite) -> "list[Entry]":
    """What each search cost and found."""
    from flipbench.report.ledger import ledger

    if suite.tune is None:
        raise UserError(f"{suite.suite}: nothing is searched; add 'tune: {{budget: 24}}' to the suite")
    return ledger(plan(suite, unprepared="skip").cells, store_of(suite), suite.tune.select)


def explain(suite: Suite, row: str, dataset: str) -> dict[str, Any]:
    """The evidence of one cell of the suite's table: runs, settings, tests, verdict, trials."""
    from flipbench.report.explain import explain
    from flipbench.report.so_far import results_so_far

    return explain(*results_so_far(suite), row, dataset)


def gap(suite: Suite, name: str | None = None) -> "list[tuple[Cell, list[Rung]]]":
    """From the paper's number to ours, one factor at a time, for each cell that has runs.

    Args:
        name: how the commands that it gives call the suite; its file if None.
    """
    from flipbench.report.gap import ladder

    store, cells = store_of(suite), plan(suite, unprepared="skip").cells
    ladders = [(cell, ladder(cell, suite, store, name or str(suite.file or suite.suite))) for cell in cells]
    if not (with_runs := [(cell, rungs) for cell, rungs in ladders if rungs]):
        raise UserError(f"{suite.suite}: no finished run in {store.root} to compare with the paper's numbers")
    return with_runs


def slices(suite: Suite, reference: str | None = None) -> "list[Slice]":
    """AUC on items that training shows never, seldom or often, and differences to a row: the suite's reference if None.

    It reads the prepared data, which knows the items.
    """
    from flipbench.report.slices import slices

    if (row := reference or suite.compare.reference) is None:
        raise UserError(f"{suite.suite}: names no compare.reference; give one with --reference ROW")
    return slices(plan(suite, unprepared="skip"), store_of(suite), row)


def power(suite: Suite, *, metric: Metric = "auc", difference: float | None = None) -> "list[Power]":
    """What the suite's tests can resolve, and the seeds or users that a difference takes, before and after its runs.

    Args:
        difference: a true difference in question; the suite's margin if None.
    """
    from flipbench.report.power import powers

    return powers(plan(suite, unprepared="skip"), store_of(suite), metric, difference)


def claims(results: str | Path | None = None) -> "list[Evaluated]":
    """What the runs of all suites (in the folder ``results``, if given) say of each claim, and the paper's numbers."""
    from flipbench.report.so_far import claims_so_far

    return claims_so_far(None if results is None else str(results))


def verify(suite: Suite, folder: str | Path | None = None) -> "Verification":
    """Recompute the suite's figures, tables and page from its predictions and compare them with those in ``folder``."""
    from flipbench.report.verify import verification_of

    return verification_of(suite, Path(folder or suite.outputs.reports))


def bundle(suite: Suite, path: str | Path | None = None) -> tuple[Path, int]:
    """Write one archive (``SUITE.tar``) of the suite's evidence, from which others verify and report.

    Returns:
        Its path, and how many runs it holds.
    """
    from flipbench.report.bundle import write_bundle
    from flipbench.report.so_far import results_so_far
    from flipbench.report.write import report_files

    path = Path(path or f"{suite.suite}.tar")
    everything = plan(suite, unprepared="skip")
    planned, store, collected = results_so_far(suite)
    file = suite.file or Path(suite.suite)
    return path, write_bundle(file, everything, store, report_files(planned, store, collected), path)


def cite(suite: Suite) -> "Bibliography":
    """BibTeX of everything that the suite's tables use, and a name for what is cited nowhere here."""
    from flipbench.report.cite import bibliography

    return bibliography(suite)


def export(suite: Suite, folder: str | Path, hub: Mapping[str, str] | None = None) -> list[Path]:
    """Write what others read: tables of runs and trials as CSV and Parquet, and results for the Hugging Face hub.

    Args:
        hub: the hub's id of the benchmark that a data set is there, by the data set's name here.

    Returns:
        The files: ``SUITE.runs.{csv,parquet}``, which are :func:`results`; ``SUITE.trials.{csv,parquet}`` of a suite
        that searches, which are :func:`trials`; ``SUITE.predictions.parquet``, which are :func:`predictions` with the
        run's key; and ``hub/ROW/.eval_results/SUITE.yaml``, of rows all of whose runs are finished.
    """
    from flipbench.report.export import export_files

    return export_files(plan(suite, unprepared="skip"), store_of(suite), Path(folder), hub or {})


def log_to_mlflow(suite: Suite, uri: str) -> tuple[int, int]:
    """Write the suite's finished runs to an MLflow store, into an experiment of the suite's name.

    Args:
        uri: the store (``sqlite:///runs.db``, ``http://HOST:PORT``).

    Returns:
        How many runs were written, and how many it had already, which are left as they are.

    Raises:
        UserError: MLflow is not installed, or the store cannot be used.
    """
    from flipbench.report.mlflow_store import log_runs

    return log_runs(suite.suite, results(suite), uri)


def new_model(name: str, folder: str | Path | None = None) -> list[Path]:
    """Write the package of a model of one's own into a new folder, ``name`` if None; returns its files."""
    from flipbench.plan.new_model import new_model

    return new_model(name, folder)


def check_model(name: str) -> "Checked":
    """Try a registered ID-based model against the contract, a finding for each part of it."""
    from flipbench.run.check_model import check_model

    return check_model(name)


def _store(folder: str | Path) -> Store:
    if not str(folder) or not Path(folder).is_dir():
        raise UserError(f"{folder or repr(folder)}: no folder of results (a suite's are those of load_suite(NAME))")
    return Store(Path(folder))
