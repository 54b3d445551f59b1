"""The one table that every format is printed from."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

from flipbench.paper.names import FAMILIES, family, method_name
from flipbench.paper.values import paper_datasets, paper_methods
from flipbench.protocol import Metric
from flipbench.report.caption import caption, legend, signature
from flipbench.report.cells import Comparison, SuiteResults
from flipbench.report.code import MARK, CodeMarks
from flipbench.report.columns import METRIC_NAMES, SOMETIMES, TableCell, TableColumn, others, ours, theirs
from flipbench.report.settings import Unstated
from flipbench.stats.equivalence import Verdict


@dataclass(frozen=True)
class Row:
    """A method and its cells, one a column; ``mark`` stands beside its label, and the caption says what of."""

    method: str
    label: str
    cells: tuple[TableCell, ...]
    mark: str = ""

    @property
    def marked_label(self) -> str:
        return f"{self.label} {self.mark}" if self.mark else self.label


@dataclass(frozen=True)
class Group:
    """The rows of one family, or of one backbone or PLM."""

    family: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ResultTable:
    """A table of results, ready to print.

    Attributes:
        name: the suite's; names files and labels.
        notes: the caption's sentences but for the legend of the marks, which depends on the format.
        signature: which runs, data and versions it shows.
        comparisons: the tests behind the stars.
        unstated: by row with runs, its settings whose values are neither the paper's nor released code's.
        code: rows whose runs are not of one code, or not of today's.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    signature: str
    columns: tuple[TableColumn, ...]
    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...] = ()
    unstated: Mapping[str, Unstated] = field(default_factory=dict)
    code: CodeMarks = field(default_factory=CodeMarks)

    @property
    def rows(self) -> Iterable[Row]:
        return (row for group in self.groups for row in group.rows)

    @property
    def cells(self) -> Iterable[TableCell]:
        return (cell for row in self.rows for cell in row.cells)

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.dataset for column in self.columns))

    def columns_of(self, dataset: str) -> list[int]:
        """Positions of a data set's columns."""
        return [i for i, column in enumerate(self.columns) if column.dataset == dataset]

    def groups_of(self, dataset: str) -> tuple[Group, ...]:
        """The rows that stand under a data set of its own: those with a run or a printed number there.

        All of them where nothing of it was run: the table is then of what is to be run.
        """
        places = self.columns_of(dataset)
        ours = [i for i in places if self.columns[i].source == "ours"]
        if all(row.cells[i].status == "not-run" for row in self.rows for i in ours):
            return self.groups
        kept = (
            replace(
                group, rows=tuple(row for row in group.rows if any(row.cells[i].status != "not-run" for i in places))
            )
            for group in self.groups
        )
        return tuple(group for group in kept if group.rows)

    def sentences(self, **marks: str) -> tuple[str, ...]:
        """All that a reader must know.

        Args:
            marks: how the format shows ``best``, ``second``, ``baseline``, ``star``, where not as Markdown does.
        """
        grouped = any("/" in row.method for row in self.rows)
        return (*legend(self.cells, grouped, **marks), *self.notes)

    def caption(self, **marks: str) -> str:
        """:meth:`sentences` in one paragraph."""
        return " ".join(self.sentences(**marks))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``cells`` is tidy, one record a number, so that it loads as a data frame."""
        return {
            "suite": self.name,
            "title": self.title,
            "caption": self.caption(),
            "signature": self.signature,
            "cells": [
                {"family": group.family, "method": row.method, **vars(column), "status": cell.status, **vars(cell)}
                | {"verdict": rounded(asdict(cell.verdict)) if cell.verdict else None, "share": rounded(cell.share)}
                for group in self.groups
                for row in group.rows
                for column, cell in zip(self.columns, row.cells, strict=True)
            ],
            "comparisons": [rounded(asdict(comparison)) for comparison in self.comparisons],
            "unstated_settings": {row: asdict(names) for row, names in self.unstated.items()},
            **({"code": asdict(self.code)} if self.code.rows else {}),
        }


def overall_table(results: SuiteResults) -> ResultTable:
    """Methods by data sets: AUC, logloss and Rel.Impr, the values of the paper and of other sources beside ours.

    Rows of the paper's table that the suite lacks, and rows of other sources, are shown too, so that a reader sees what
    is covered. Data sets of which nothing was run are left out and named; where nothing at all was run, none is.
    Rel.Impr is ``100 * (AUC_reference / AUC_row - 1)``, from unrounded means.

    Raises:
        UserError: ``results.paper`` is not a result table of the paper.
    """
    paper = results.paper
    elsewhere = [*(paper_methods(paper) if paper else ()), *(row for p in results.published.values() for row in p.rows)]
    methods = list(dict.fromkeys((*elsewhere, *results.methods)))
    datasets, left_out = _datasets(results)
    columns: list[TableColumn] = []
    values: list[dict[str, TableCell]] = []  # one a column, by method
    for dataset in datasets:
        run, printed = ours(results, methods, dataset), {"paper": theirs(results, methods, dataset)}
        if other := results.published.get(dataset):
            printed[other.name] = others(results, methods, other)
        for metric in METRIC_NAMES:
            if metric == "rel_impr" and not results.compare.reference:
                continue
            if metric in SOMETIMES and all(cell.value is None for cell in run[metric].values()):
                continue
            columns.append(TableColumn(dataset, metric, "ours"))
            values.append(run[metric])
            for source, numbers in printed.items():
                if metric in numbers and any(cell.value is not None for cell in numbers["auc"].values()):
                    columns.append(TableColumn(dataset, metric, source))
                    values.append(numbers[metric])
    of_group: dict[str, list[Row]] = {name: [] for name in FAMILIES}
    for method in methods:
        mark = MARK if method in results.code.rows else ""
        row = Row(method, method_name(method), tuple(column[method] for column in values), mark)
        of_group.setdefault(family(method, results.registered.get(method)), []).append(row)
    groups = [Group(name, tuple(rows)) for name, rows in of_group.items() if rows]
    statuses: set[str] = {cell.status for column in values for cell in column.values()}
    compares = any(column.source == "paper" for column in columns)
    verdicts: dict[Metric, list[Verdict]] = {
        metric: [cell.verdict for at, column in zip(columns, values, strict=True) for cell in column.values()
                 if at.metric == metric and cell.verdict]
        for metric in get_args(Metric)
    }  # fmt: skip
    shown = frozenset(column.metric for column in columns)
    return ResultTable(
        name=results.suite,
        title=" ".join(results.title.split()),
        notes=caption(results, statuses, compares, shown, verdicts, left_out),
        signature=signature(results),
        columns=tuple(columns),
        groups=tuple(groups),
        comparisons=results.comparisons,
        unstated=results.unstated,
        code=results.code,
    )


def _datasets(results: SuiteResults) -> tuple[list[str], list[str]]:
    """The paper's data sets and the suite's: those with any run, finished or failed, and the others.

    Where nothing was run, all are of the first kind.
    """
    paper = paper_datasets(results.paper) if results.paper else ()
    every = list(dict.fromkeys((*paper, *results.datasets)))
    ran = {cell.dataset for cell in results.cells if cell.runs or cell.failed}
    return ([d for d in every if d in ran], [d for d in every if d not in ran]) if ran else (every, [])


def rounded(value: Any) -> Any:
    """Statistics to six significant digits, so that the last bit of a library's logarithm changes no byte."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
