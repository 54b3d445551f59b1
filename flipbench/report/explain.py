"""The evidence of one cell of a table."""

from collections.abc import Set
from dataclasses import asdict
from typing import Any, get_args

from flipbench.errors import UserError, nearest
from flipbench.paper.values import paper_value
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.cells import ScoredRun, SuiteResults
from flipbench.report.collect import failure_of
from flipbench.report.columns import TableCell, TableColumn
from flipbench.report.settings import settings_of
from flipbench.report.significance import Evidence, pairs, reach_of
from flipbench.report.table import ResultTable, overall_table, rounded
from flipbench.stats.delong import hanley_mcneil
from flipbench.stats.difference import Difference
from flipbench.store.runs import Store


def explain(
    plan: Plan,
    store: Store,
    results: SuiteResults,
    row: str,
    dataset: str,
    table: ResultTable | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Any]:
    """All that is behind a cell, as plain data: means, verdicts, runs, settings, tests, trials.

    Differences are by the suite's declared test against each row that it is tested against (or that is tested
    against it); of a single seed they hold the test rows' luck alone, and give no star.

    Args:
        table, evidence: of the results and the store, where many cells share them.

    Raises:
        UserError: the suite has no such row or data set, or a run's files were changed.
    """
    cell = _cell(plan, row, dataset)
    table = table or overall_table(results)
    runs = {run.key: run for scored in results.cells for run in scored.runs}
    return {
        "suite": plan.suite.suite,
        "row": row,
        "method": cell.method.method,
        "dataset": dataset,
        "protocol": plan.suite.protocol,
        "metrics": {metric: _metric(table, results.paper, row, dataset, metric) for metric in get_args(Metric)},
        "runs": [_run(stage, runs[stage.key], store) for stage in cell.evaluations if stage.key in runs],
        "failed": [reason for stage in cell.evaluations if (reason := failure_of(stage, store))],
        "sampling_error": _sampling_error(cell, store),
        "settings": [dict(vars(used)) for used in settings_of(cell)],
        "differences": _differences(plan, cell, results, evidence or Evidence(store), runs.keys()),
        "trials": [_trial(stage, store) for stage in cell.trials],
    }


def _cell(plan: Plan, row: str, dataset: str) -> Cell:
    cells = {(cell.method.label, cell.data.label): cell for cell in plan.cells}
    rows, datasets = map(set, zip(*cells, strict=True))
    for what, name, known in (("row", row, rows), ("data set", dataset, datasets)):
        if name not in known:
            raise UserError(f"{plan.suite.suite} has no {what} '{name}'{nearest(name, known)}")
    return cells[row, dataset]


def _metric(table: ResultTable, paper: str | None, row: str, dataset: str, metric: Metric) -> dict[str, Any]:
    cells = next(r.cells for r in table.rows if r.method == row)
    ours = dict(zip(table.columns, cells, strict=True)).get(TableColumn(dataset, metric, "ours"), TableCell())
    return {
        "text": ours.text,
        "value": ours.value,
        "sd": ours.sd,
        "paper": paper_value(paper, row, dataset, metric) if paper else None,
        "starred": ours.starred,
        "share": rounded(ours.share),
        "verdict": rounded(asdict(ours.verdict)) if ours.verdict else None,
    }


def _run(stage: Stage, run: ScoredRun, store: Store) -> dict[str, Any]:
    epochs, device = store.metrics(stage).get("epochs"), store.env(stage).get("device")
    return {**vars(run), "epochs": epochs, "device": device, "folder": str(store.folder(stage))}


def _sampling_error(cell: Cell, store: Store) -> float | None:
    """Hanley and McNeil's standard error of the first run's AUC: what another test set of this size would change."""
    for stage in cell.evaluations:
        if store.done(stage):
            metrics = store.metrics(stage)
            positives = int(metrics["positives"])
            return hanley_mcneil(float(metrics["auc"]), positives, int(metrics["rows"]) - positives)
    return None


def _differences(
    plan: Plan, cell: Cell, results: SuiteResults, evidence: Evidence, done: Set[str]
) -> list[dict[str, Any]]:
    """The declared test of each pair that the cell is part of, over the seeds that both sides have run."""
    compare = plan.suite.compare
    name = cell.data.label
    tested = {(c.row, c.against, c.metric): c for c in results.comparisons if c.dataset == name}
    tests = len(results.comparisons) // 2 or len(list(pairs(plan))) or 1  # before any is tested: all that will be
    differences = []
    for row, against in pairs(plan, name):
        if cell is not row and cell is not against:
            continue
        stages = zip(row.evaluations, against.evaluations, strict=False)  # none where a search has not chosen
        both = [(a, b) for a, b in stages if {a.key, b.key} <= done]
        if not both or (compare.test == "paired-t" and len(both) < 2):
            continue
        first, second = tuple(a for a, _ in both), tuple(b for _, b in both)
        alone: dict[Metric, Difference] = {}
        if (row.method.label, against.method.label, "auc") not in tested:
            alone = evidence.differences(first, second, compare.test)
        for metric in get_args(Metric):
            if c := tested.get((row.method.label, against.method.label, metric)):
                difference, reach = c.difference, c.reach
            elif not alone:  # the test has no value for these two
                continue
            else:
                difference = alone[metric]
                reach = reach_of(difference, len(both), compare.alpha / tests)
            words = {"row": row.method.label, "against": against.method.label, "metric": metric, "seeds": len(both)}
            differences.append(words | rounded(asdict(difference) | {"reach": asdict(reach) if reach else None}))
    return differences


def _trial(stage: Stage, store: Store) -> dict[str, Any]:
    best = store.best(stage) if store.done(stage) else {}
    return {"key": stage.key, "settings": flatten(stage.spec["settings"]), "auc": best.get("auc")}
