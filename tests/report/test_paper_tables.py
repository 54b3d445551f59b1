"""The paper's own numbers, fed through the renderers, come out as the paper prints them."""

import re

import pytest

from flipbench.paper.names import TABLES
from flipbench.paper.values import load_tables, paper_datasets, paper_methods, paper_starred, paper_value
from flipbench.plan.entries import Compare
from flipbench.protocol import Metric
from flipbench.report.cells import CellRuns, ScoredRun, SuiteResults
from flipbench.report.columns import TableCell, TableColumn
from flipbench.report.latex import to_latex
from flipbench.report.markdown import to_markdown
from flipbench.report.table import ResultTable, overall_table


def printed(name: str) -> SuiteResults:
    """One run a cell, with the paper's own figures."""
    datasets, rows = tuple(paper_datasets(name)), tuple(paper_methods(name))
    cells = []
    for row in rows:
        for dataset in datasets:
            auc, loss = (paper_value(name, row, dataset, metric) for metric in ("auc", "logloss"))  # type: ignore[arg-type]
            assert auc is not None
            assert loss is not None
            cells.append(CellRuns(row, dataset, (ScoredRun(f"{row}-{dataset}", 0, auc, loss),), 0, 1))
    compare, title = Compare(reference="flip" if name == "table2" else None), f"Table {TABLES[name]}"
    return SuiteResults(name, title, name, "held-out", "chronological", 1, compare, tuple(cells), datasets, rows)


def column(table: ResultTable, dataset: str, metric: str, source: str) -> dict[str, TableCell]:
    """A column's cells by row."""
    i = table.columns.index(TableColumn(dataset, metric, source))  # type: ignore[arg-type]
    return {row.method: row.cells[i] for row in table.rows}


def marks(table: ResultTable, dataset: str, metric: str, source: str) -> dict[str, str]:
    found = column(table, dataset, metric, source)
    marked = {row: f"{cell.mark or ''}{'~' * cell.best_baseline}" for row, cell in found.items()}
    return {row: mark for row, mark in marked.items() if mark}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_every_number_is_as_printed_and_marked(name: str, metric: Metric) -> None:
    table = overall_table(printed(name))
    for dataset in paper_datasets(name):
        assert marks(table, dataset, metric, "ours") == marks(table, dataset, metric, "paper")
        ours, theirs = (column(table, dataset, metric, source) for source in ("ours", "paper"))
        for row in paper_methods(name):
            value = paper_value(name, row, dataset, metric)
            assert ours[row].text == theirs[row].text == f"{value:.4f}"
            assert theirs[row].starred == paper_starred(name, row, dataset, metric)
            assert not ours[row].starred, "one run is no evidence"


def test_relative_improvements_are_those_of_table_2() -> None:
    table, printed_ones = overall_table(printed("table2")), 0
    for dataset in paper_datasets("table2"):
        gains = column(table, dataset, "rel_impr", "ours")
        assert {row: cell.text for row, cell in gains.items()} == {
            row: cell.text for row, cell in column(table, dataset, "rel_impr", "paper").items()
        }
        for row, cell in gains.items():
            gain = load_tables()["table2"][row][dataset].get("rel_impr")
            assert gain is None or cell.text == f"{gain:.2f}"
            printed_ones += gain is not None
    assert printed_ones == 39


def test_table_2_wavy_underline_is_of_ctrl() -> None:
    table = overall_table(printed("table2"))
    for dataset in paper_datasets("table2"):
        for metric in ("auc", "logloss"):
            expected = {"flip": "best", "flip_id": "second", "ctrl": "~"}
            assert marks(table, dataset, metric, "paper") == expected


def test_tables_3_to_6_rank_within_each_model_or_plm() -> None:
    third = overall_table(printed("table3"))
    assert [g.family for g in third.groups] == ["DeepFM", "AutoInt", "DCNv2"]
    assert [row.label for row in third.groups[0].rows] == ["N/A", "FLIP_ID", "FLIP_PLM", "FLIP"]
    auc = {f"{b}/{r}": m for b in ("deepfm", "autoint", "dcnv2") for r, m in (("flip", "best"), ("flip_id", "second"))}
    assert marks(third, "movielens-1m", "auc", "paper") == auc
    swapped = auc | {"deepfm/flip": "second", "deepfm/flip_id": "best"}  # .3758 against .3752
    assert marks(third, "movielens-1m", "logloss", "paper") == swapped
    fifth = overall_table(printed("table5"))
    assert [g.family for g in fifth.groups] == ["No PLM", "TinyBERT", "RoBERTa", "RoBERTa-Large"]
    assert "none/dcnv2" not in marks(fifth, "movielens-1m", "auc", "paper"), "alone in its group"


def test_table_7_has_bold_alone() -> None:
    table = overall_table(printed("table7"))
    assert marks(table, "movielens-1m", "auc", "paper") == {"flip": "best"}
    assert marks(table, "movielens-1m", "logloss", "paper") == {"without_field_level_masking": "best"}
    assert "underlined" not in to_markdown(table)


def test_markdown_and_latex_show_the_marks() -> None:
    table = overall_table(printed("table2"))
    markdown, latex = to_markdown(table), to_latex(table)
    assert r"**0.8621**\*" in markdown
    assert r"<u>0.8600</u>\*" in markdown
    assert r"0.8572\~" in markdown
    assert r"\textbf{0.8621}\rlap{$^{*}$}" in latex
    assert r"\underline{0.8600}\rlap{$^{*}$}" in latex
    assert r"\uwave{0.8572}" in latex
    assert latex.count(r"\providecommand{\uwave}") == 1
    assert r"\uwave" not in to_latex(overall_table(printed("table3")))


def test_all_six_compile_without_a_wide_box(latex_log) -> None:
    log = latex_log(*(to_latex(overall_table(printed(name))) for name in TABLES))
    assert not re.search("Overfull|Underfull|Missing character", log)
