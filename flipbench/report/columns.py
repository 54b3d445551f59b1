"""One column of numbers: means over seeds, who is best, what is significant, and the verdict against the paper."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal, get_args

from flipbench.paper.names import BOLD_ONLY, family, is_proposed
from flipbench.paper.others import Published
from flipbench.paper.values import paper_starred, paper_value
from flipbench.protocol import Metric
from flipbench.report.cells import CellRuns, Comparison, SuiteResults
from flipbench.stats.equivalence import Outcome, Verdict, verdict

TableMetric = Literal["auc", "share", "logloss", "rel_impr", "resolvable"]
Mark = Literal["best", "second"]
Status = Literal["complete", "partial", "failed", "not-run"]

METRIC_NAMES: dict[TableMetric, str] = {
    "auc": "AUC",
    "share": "Floor→best",
    "logloss": "Logloss",
    "rel_impr": "Rel.Impr",
    "resolvable": "Resolvable",
}
"""In the order of the columns; ``share`` and ``resolvable`` are of AUC."""

SOMETIMES: frozenset[TableMetric] = frozenset({"share", "resolvable"})
"""Columns that a data set has where there is anything in them."""

DIGITS: dict[TableMetric, int] = {"auc": 4, "share": 0, "logloss": 4, "rel_impr": 2, "resolvable": 4}
MISSING = "—"
SYMBOLS: dict[Outcome, str] = {
    "reproduced": "≈",
    "better": "↑",
    "worse": "↓",
    "inconclusive": "?",
    "out-of-reach": "⊘",
}


@dataclass(frozen=True)
class TableColumn:
    """One column of numbers; the header is two-level, the data set over the metric.

    ``source`` is ``ours``, ``paper``, or the name of another that publishes numbers.
    """

    dataset: str
    metric: TableMetric
    source: str


@dataclass(frozen=True)
class TableCell:
    """A number, or what stands in its place.

    Attributes:
        text: the mean in its printed digits, or ``—``, ``3/5 runs``, ``failed 2/5``.
        status: only a ``complete`` cell has a value.
        value: the unrounded mean (of ours) or the printed number (of the paper).
        sd: sample standard deviation over seeds; None with a single seed.
        mark: rank in its column (in its group, where the paper ranks within groups), if first or second.
        best_baseline: whether it is the best of the rows that are not the paper's own.
        starred: significantly better than the best baseline, or the raw model of its group; the paper's as printed.
        verdict: ours against the paper's number; None where there is none to compare.
        runs: keys of the finished runs behind it, by seed.
        share: of AUC and logloss of ours, how far it is on the way from the best floor to the best row, in per cent.
    """

    text: str = MISSING
    status: Status = "not-run"
    value: float | None = None
    sd: float | None = None
    mark: Mark | None = None
    best_baseline: bool = False
    starred: bool = False
    verdict: Verdict | None = None
    runs: tuple[str, ...] = ()
    share: float | None = None

    @property
    def spread(self) -> str | None:
        """``sd`` in printed digits; None where all seeds agree to the last bit, as those of a floor do."""
        return f"{self.sd:.4f}" if self.sd else None

    @property
    def symbol(self) -> str:
        """The verdict's sign; empty for one seed, which the caption speaks of once for all."""
        return SYMBOLS[self.verdict.outcome] if self.verdict and self.verdict.seeds > 1 else ""


CellsByRow = dict[str, TableCell]


def ours(results: SuiteResults, rows: Sequence[str], dataset: str) -> dict[TableMetric, CellsByRow]:
    """The columns of what was run on a data set."""
    runs = {cell.method: cell for cell in results.cells if cell.dataset == dataset}
    columns: dict[TableMetric, CellsByRow] = {}
    for metric in get_args(Metric):
        cells = {row: _summary(runs[row], results, metric) if row in runs else TableCell() for row in rows}
        starred = _starred(results, cells, dataset, metric)
        cells = {row: replace(cell, starred=row in starred) for row, cell in cells.items()}
        columns[metric] = _with_shares(cells, metric, results.floors)
    shares = {row: _share(cell.share) for row, cell in columns["auc"].items()}
    return {**_ranked(columns, results), "share": shares, "resolvable": _resolvable(results, columns["auc"], dataset)}


def theirs(results: SuiteResults, rows: Sequence[str], dataset: str) -> dict[TableMetric, CellsByRow]:
    """The columns of what the paper prints; empty cells where the suite names no table of it."""
    columns: dict[TableMetric, CellsByRow] = {}
    for metric in get_args(Metric):
        cells = columns[metric] = dict.fromkeys(rows, TableCell())
        if paper := results.paper:
            for row in rows:
                printed = _number(metric, paper_value(paper, row, dataset, metric))
                cells[row] = replace(printed, starred=paper_starred(paper, row, dataset, metric))
    return _ranked(columns, results)


def others(results: SuiteResults, rows: Sequence[str], source: Published) -> dict[TableMetric, CellsByRow]:
    """The columns of what another source publishes."""
    return _ranked({m: {row: _number(m, source.value(row, m)) for row in rows} for m in get_args(Metric)}, results)


def _summary(cell: CellRuns, results: SuiteResults, metric: Metric) -> TableCell:
    """The mean over seeds of one row on one data set and its verdict against the paper's, or why there is none."""
    keys = tuple(run.key for run in sorted(cell.runs, key=lambda run: run.seed))
    if cell.failed:
        return TableCell(f"failed {cell.failed}/{cell.expected}", "failed", runs=keys)
    if len(keys) < cell.expected:
        return TableCell(f"{len(keys)}/{cell.expected} runs", "partial", runs=keys)
    sample = cell.values(metric)
    mean = replace(_number(metric, fmean(sample)), sd=stdev(sample) if len(sample) > 1 else None, runs=keys)
    printed = paper_value(results.paper, cell.method, cell.dataset, metric) if results.paper else None
    if printed is None:
        return mean
    margin = results.compare.margin[metric]
    return replace(mean, verdict=verdict(sample, printed, margin, higher_is_better=metric == "auc"))


def _starred(results: SuiteResults, cells: CellsByRow, dataset: str, metric: Metric) -> set[str]:
    """Rows significantly better than the best of those that they were tested against, none of which may be missing."""
    tested: dict[str, dict[str, bool]] = {}
    for c in results.comparisons:
        if (c.dataset, c.metric) == (dataset, metric):
            tested.setdefault(c.row, {})[c.against] = c.significant(results.compare.alpha)
    starred = set()
    for row, against in tested.items():
        values = {other: cells[other].value for other in against}
        best = _best((v for v in values.values() if v is not None), metric)
        if all(against[other] for other, value in values.items() if value == best):
            starred.add(row)
    return starred


def _with_shares(column: CellsByRow, metric: Metric, floors: Set[str]) -> CellsByRow:
    """Each row's share of the way from the best floor to the best row; none where nothing beats the floor."""
    values = {row: cell.value for row, cell in column.items() if cell.value is not None}
    if not (of_floors := [value for row, value in values.items() if row in floors]):
        return column
    floor, best = _best(of_floors, metric), _best(values.values(), metric)
    if floor == best:
        return column
    shares = {row: 100 * (value - floor) / (best - floor) for row, value in values.items()}
    return {row: replace(cell, share=shares.get(row)) for row, cell in column.items()}


def _share(value: float | None) -> TableCell:
    cell = _number("share", value)
    return cell if value is None else replace(cell, text=f"{cell.text} %")


def _resolvable(results: SuiteResults, cells: CellsByRow, dataset: str) -> CellsByRow:
    """The smallest difference in AUC that each row's test resolves, and in brackets whatever the seeds, where known.

    It is the test against the reference; of a row that is not tested against it, the one against the best of those
    that it is tested against, on which its star depends.
    """
    found: dict[str, Comparison] = {}
    reference = results.compare.reference
    tests = [c for c in results.comparisons if (c.dataset, c.metric) == (dataset, "auc") and c.reach]
    for c in sorted(tests, key=lambda c: cells[c.against].value or 0.0):  # the best is last, and stays
        if c.row != reference:
            found[c.row] = c
    for c in tests:
        if reference in (c.row, c.against):
            found[c.against if c.row == reference else c.row] = c
    column = dict.fromkeys(cells, TableCell())
    for row, c in found.items():
        assert c.reach is not None
        now, at_best = (_number("resolvable", value) for value in (c.reach.difference, c.reach.difference_at_best))
        known = not math.isnan(c.reach.difference_at_best)
        column[row] = replace(now, text=f"{now.text} ({at_best.text})") if known else now
    return column


def _ranked(columns: dict[TableMetric, CellsByRow], results: SuiteResults) -> dict[TableMetric, CellsByRow]:
    """AUC and logloss marked, and Rel.Impr, which is of AUC."""
    auc, name = columns["auc"], results.compare.reference
    reference = auc.get(name or "", TableCell()).value
    gain = {
        row: _number("rel_impr", 100 * (reference / cell.value - 1))
        if reference is not None and cell.value and row != name
        else TableCell()
        for row, cell in auc.items()
    }
    marked = {metric: _marked(columns[metric], metric, results) for metric in get_args(Metric)}
    return {**marked, "rel_impr": gain}


def _marked(column: CellsByRow, metric: Metric, results: SuiteResults) -> CellsByRow:
    """Best and second by printed digits, so that what looks equal is marked alike; the best baseline beside them.

    Rows with a slash are ranked within their group, as the paper's Tables III to VI are.
    """
    groups: dict[str, CellsByRow] = {}
    for row, cell in column.items():
        groups.setdefault(family(row) if "/" in row else "", {})[row] = cell
    marks: dict[str, Mark] = {}
    for cells in groups.values():
        shown = {row: float(cell.text) for row, cell in cells.items() if cell.value is not None}
        ranked = sorted(set(shown.values()), reverse=metric == "auc")
        if len(ranked) > 1:  # else nothing to be better than
            marks |= {row: "best" for row, value in shown.items() if value == ranked[0]}
            if results.paper not in BOLD_ONLY:
                marks |= {row: "second" for row, value in shown.items() if value == ranked[1]}
    champions = _best_baselines(column, metric, results.registered) if len(groups) == 1 and "" in groups else set()
    return {
        row: replace(cell, mark=marks.get(row), best_baseline=row in champions and cell.value is not None)
        for row, cell in column.items()
    }


def _best_baselines(column: CellsByRow, metric: Metric, registered: Mapping[str, str]) -> set[str]:
    """The best of the rows that are not the paper's own; none where there is but one, or nothing of the paper's own."""
    proposed = {row for row, c in column.items() if c.value is not None and is_proposed(row, registered.get(row))}
    shown = {row: float(c.text) for row, c in column.items() if c.value is not None and row not in proposed}
    if not proposed or len(shown) < 2:
        return set()
    best = _best(shown.values(), metric)
    return {row for row, value in shown.items() if value == best}


def _best(values: Iterable[float], metric: Metric) -> float:
    return max(values) if metric == "auc" else min(values)


def _number(metric: TableMetric, value: float | None) -> TableCell:
    if value is None:
        return TableCell()
    text = f"{value:.{DIGITS[metric]}f}"
    return TableCell(text.removeprefix("-") if float(text) == 0 else text, "complete", value)
