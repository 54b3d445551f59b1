"""The one table that every format is printed from."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any, Literal

from flipbench.paper import FAMILIES, family, method_name, paper_datasets, paper_methods, paper_value
from flipbench.report.caption import caption, signature
from flipbench.report.cells import CellRuns, SuiteResults

Metric = Literal["auc", "logloss", "rel_impr"]
Source = Literal["ours", "paper"]
Mark = Literal["best", "second"]
Status = Literal["complete", "partial", "failed", "not-run"]

METRIC_NAMES: dict[Metric, str] = {"auc": "AUC", "logloss": "Logloss", "rel_impr": "Rel.Impr"}
DIGITS: dict[Metric, int] = {"auc": 4, "logloss": 4, "rel_impr": 2}
MISSING = "—"


@dataclass(frozen=True)
class Column:
    """One column of numbers; the header is two-level, the data set over the metric."""

    dataset: str
    metric: Metric
    source: Source


@dataclass(frozen=True)
class Cell:
    """A number, or what stands in its place.

    Attributes:
        text: the mean in its printed digits, or ``—``, ``3/5 runs``, ``failed 2/5``.
        status: only a ``complete`` cell has a value.
        value: the unrounded mean (of ours) or the printed number (of the paper).
        sd: sample standard deviation over seeds; None with a single seed.
        mark: rank in its column, if first or second.
        runs: keys of the finished runs behind it, by seed.
    """

    text: str = MISSING
    status: Status = "not-run"
    value: float | None = None
    sd: float | None = None
    mark: Mark | None = None
    runs: tuple[str, ...] = ()

    @property
    def spread(self) -> str | None:
        """``sd`` in printed digits."""
        return None if self.sd is None else f"{self.sd:.4f}"


@dataclass(frozen=True)
class Row:
    """A method and its cells, one a column."""

    method: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """The rows of one family."""

    family: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table of results, ready to print.

    Attributes:
        name: the suite's; names files and labels.
        notes: the caption's sentences but for the legend of the marks, which depends on the format.
        signature: which runs, data and versions it shows.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    signature: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.dataset for column in self.columns))

    def columns_of(self, dataset: str) -> list[int]:
        """Positions of a data set's columns."""
        return [i for i, column in enumerate(self.columns) if column.dataset == dataset]

    def has_ours(self, dataset: str) -> bool:
        """Whether anything of a data set was run."""
        ours = [
            i for i in self.columns_of(dataset) if self.columns[i].source == "ours" and self.columns[i].metric == "auc"
        ]
        return any(row.cells[i].status != "not-run" for group in self.groups for row in group.rows for i in ours)

    def caption(self, best: str = "in bold", second: str = "underlined") -> str:
        """All that a reader must know, in one paragraph; ``best`` and ``second`` are how the format marks them."""
        return " ".join((f"Best per column {best}, second {second}.", *self.notes))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``cells`` is tidy, one record a number, so that it loads as a data frame."""
        return {
            "suite": self.name,
            "title": self.title,
            "caption": self.caption(),
            "signature": self.signature,
            "cells": [
                {
                    "family": group.family,
                    "method": row.method,
                    "dataset": column.dataset,
                    "metric": column.metric,
                    "source": column.source,
                    "status": cell.status,
                    "text": cell.text,
                    "value": cell.value,
                    "sd": cell.sd,
                    "mark": cell.mark,
                    "runs": list(cell.runs),
                }
                for group in self.groups
                for row in group.rows
                for column, cell in zip(self.columns, row.cells, strict=True)
            ],
        }


def overall_table(results: SuiteResults) -> Table:
    """Methods by data sets: AUC, logloss and Rel.Impr, the paper's values beside ours.

    Rows and data sets of the paper's table that the suite lacks are shown too, so that a reader
    sees what is covered. Rel.Impr is ``100 * (AUC_reference / AUC_row - 1)``, from unrounded means.

    Raises:
        UserError: ``results.paper`` is not a result table of the paper.
    """
    paper = results.paper
    methods = _union(paper_methods(paper) if paper else (), results.methods)
    datasets = _union(paper_datasets(paper) if paper else (), results.datasets)
    columns: list[Column] = []
    values: list[dict[str, Cell]] = []  # one a column, by method
    for dataset in datasets:
        ours, theirs = _ours(results, methods, dataset), _theirs(results, methods, dataset)
        for metric in METRIC_NAMES:
            if metric == "rel_impr" and not results.reference:
                continue
            columns.append(Column(dataset, metric, "ours"))
            values.append(ours[metric])
            if any(cell.value is not None for cell in theirs["auc"].values()):
                columns.append(Column(dataset, metric, "paper"))
                values.append(theirs[metric])
    groups = []
    for name in FAMILIES:
        rows = [Row(m, method_name(m), tuple(v[m] for v in values)) for m in methods if family(m) == name]
        if rows:
            groups.append(Group(name, tuple(rows)))
    statuses: set[str] = {cell.status for column in values for cell in column.values()}
    compares = any(column.source == "paper" for column in columns)
    return Table(
        name=results.suite,
        title=" ".join(results.title.split()),
        notes=caption(results, statuses, compares),
        signature=signature(results),
        columns=tuple(columns),
        groups=tuple(groups),
    )


def _ours(results: SuiteResults, methods: list[str], dataset: str) -> dict[Metric, dict[str, Cell]]:
    found = {cell.method: cell for cell in results.cells if cell.dataset == dataset}
    cells = {method: _summary(found.get(method)) for method in methods}
    return _ranked({m: c[0] for m, c in cells.items()}, {m: c[1] for m, c in cells.items()}, results.reference)


def _theirs(results: SuiteResults, methods: list[str], dataset: str) -> dict[Metric, dict[str, Cell]]:
    paper = results.paper

    def column(metric: Literal["auc", "logloss"]) -> dict[str, Cell]:
        return {m: _number(metric, paper_value(paper, m, dataset, metric) if paper else None) for m in methods}

    return _ranked(column("auc"), column("logloss"), results.reference)


def _ranked(auc: dict[str, Cell], logloss: dict[str, Cell], reference: str | None) -> dict[Metric, dict[str, Cell]]:
    """The three columns of one data set and source, marked."""
    best = auc[reference].value if reference and reference in auc else None
    rel_impr = {
        method: _number("rel_impr", 100 * (best / cell.value - 1))
        if best is not None and cell.value and method != reference
        else Cell()
        for method, cell in auc.items()
    }
    return {"auc": _marked(auc, highest=True), "logloss": _marked(logloss, highest=False), "rel_impr": rel_impr}


def _summary(cell: CellRuns | None) -> tuple[Cell, Cell]:
    """AUC and logloss of one method on one data set."""
    if cell is None or (not cell.runs and not cell.failed):
        return Cell(), Cell()
    runs = sorted(cell.runs, key=lambda run: run.seed)
    keys = tuple(run.key for run in runs)
    if cell.failed:
        broken = Cell(f"failed {cell.failed}/{cell.expected}", "failed", runs=keys)
        return broken, broken
    if len(runs) < cell.expected:
        partial = Cell(f"{len(runs)}/{cell.expected} runs", "partial", runs=keys)
        return partial, partial

    def mean(metric: Metric, sample: list[float]) -> Cell:
        sd = stdev(sample) if len(sample) > 1 else None
        return replace(_number(metric, fmean(sample)), sd=sd, runs=keys)

    return mean("auc", [run.auc for run in runs]), mean("logloss", [run.logloss for run in runs])


def _number(metric: Metric, value: float | None) -> Cell:
    if value is None:
        return Cell()
    text = f"{value:.{DIGITS[metric]}f}"
    return Cell(text.removeprefix("-") if float(text) == 0 else text, "complete", value)


def _marked(column: dict[str, Cell], highest: bool) -> dict[str, Cell]:
    """Best and second by printed digits, so that what looks equal is marked alike."""
    ranked = sorted({float(cell.text) for cell in column.values() if cell.value is not None}, reverse=highest)
    if len(ranked) < 2:  # nothing to be better than
        return column
    marks: dict[float, Mark] = {ranked[0]: "best", ranked[1]: "second"}
    return {
        method: cell if cell.value is None else replace(cell, mark=marks.get(float(cell.text)))
        for method, cell in column.items()
    }


def _union(first: Iterable[str], then: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*first, *then)))
