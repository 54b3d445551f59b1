"""The typed table: what is printed in a cell, how it is ranked, and that nothing incomplete gets a mean."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flipbench.cli.results import _resolved
from flipbench.errors import UserError
from flipbench.paper.values import paper_methods
from flipbench.plan.entries import Compare
from flipbench.report.caption import signature
from flipbench.report.cells import CellRuns, Comparison, ScoredRun, SuiteResults
from flipbench.report.columns import TableCell, TableColumn
from flipbench.report.html import formats
from flipbench.report.latex import to_latex
from flipbench.report.markdown import to_markdown
from flipbench.report.significance import reach_of
from flipbench.report.table import ResultTable, overall_table
from flipbench.report.write import to_json
from flipbench.stats.difference import Difference, Luck


def at(table: ResultTable, method: str, dataset: str, metric: str, source: str = "ours") -> TableCell:
    column = table.columns.index(TableColumn(dataset, metric, source))  # type: ignore[arg-type]
    return next(row.cells[column] for row in table.rows if row.method == method)


def suite(scores: dict[str, tuple[float, float]], reference: str | None = None) -> SuiteResults:
    """One seed of each method on ``d``."""
    cells = tuple(CellRuns(m, "d", (ScoredRun(m, 0, *score),), 0, 1) for m, score in scores.items())
    compare = Compare(reference=reference)
    return SuiteResults("s", "t", None, "held-out", "chronological", 1, compare, cells, ("d",), tuple(scores))


def test_mean_spread_and_relative_gain(several: SuiteResults) -> None:
    table = overall_table(several)
    auc = at(table, "dcnv2", "movielens-1m", "auc")
    assert (auc.text, auc.spread) == ("0.8550", "0.0010")  # sample, not population: 0.0008
    assert auc.runs == tuple(f"dcnv2-movielens-1m-{seed}" for seed in range(3))
    gain = at(table, "my_model", "movielens-1m", "rel_impr")
    assert gain.text == "1.66"  # 0.855 / 0.841 - 1
    assert at(table, "dcnv2", "movielens-1m", "rel_impr").text == "—"
    assert at(table, "afm", "movielens-1m", "rel_impr").text == "—"
    assert at(table, "afm", "movielens-1m", "rel_impr", "paper").text == "1.17"  # 0.8548 / 0.8449 - 1


def test_an_incomplete_cell_has_no_mean_no_rank_and_no_gain(several: SuiteResults) -> None:
    table = overall_table(several)
    for method, text, status in (("afn", "failed 1/3", "failed"), ("dcn", "1/3 runs", "partial")):
        for metric in ("auc", "logloss"):  # both hold survivors better than any complete cell
            cell = at(table, method, "movielens-1m", metric)
            assert (cell.text, cell.status, cell.value, cell.mark) == (text, status, None, None)
        assert at(table, method, "movielens-1m", "rel_impr").text == "—"
    assert at(table, "pnn", "planted-tiny", "auc").text == "failed 3/3"
    assert at(table, "my_model", "planted-tiny", "auc") == TableCell("—", "not-run")


def test_the_share_of_the_way_from_floor_to_best() -> None:
    results = suite(
        {"a": (0.84, 0.40), "b": (0.85, 0.39), "c": (0.81, 0.43), "low": (0.80, 0.45), "high": (0.82, 0.41)}
    )
    table = overall_table(replace(results, floors=frozenset({"low", "high"})))
    shares = {row: at(table, row, "d", "share").text for row in results.methods}
    assert shares == {"a": "67 %", "b": "100 %", "c": "-33 %", "low": "-67 %", "high": "0 %"}
    assert at(table, "a", "d", "logloss").share == pytest.approx(50)
    assert "way in AUC from the best floor" in table.caption()
    for floors in ({"b"}, {"not_run"}, set()):  # nothing above the floor, or no floor
        without = overall_table(replace(results, floors=frozenset(floors)))
        assert TableColumn("d", "share", "ours") not in without.columns
        assert at(without, "a", "d", "auc").share is None
        assert "floor" not in without.caption()


def test_a_verdict_out_of_reach_says_so(several: SuiteResults) -> None:
    """One printed run that moves by .001, as ours do, cannot be matched to .001, however often we run."""
    table = overall_table(several)
    cell = at(table, "dcnv2", "movielens-1m", "auc")
    assert cell.verdict is not None
    assert (cell.verdict.outcome, cell.verdict.seeds_needed, cell.symbol) == ("out-of-reach", None, "⊘")
    assert "⊘ out of reach (endless seeds at the spread seen would not settle it)" in table.caption()
    assert r"$\oslash$" in to_latex(table)


def test_an_incomplete_floor_is_none(several: SuiteResults) -> None:
    assert at(overall_table(several), "pnn", "movielens-1m", "share").text == "86 %"
    table = overall_table(replace(several, floors=frozenset({"afn", "dcn"})))
    assert TableColumn("movielens-1m", "share", "ours") not in table.columns


def test_a_failed_reference_leaves_no_gain(several: SuiteResults) -> None:
    table = overall_table(replace(several, compare=Compare(reference="afn")))
    assert at(table, "dcnv2", "movielens-1m", "rel_impr").text == "—"
    assert at(table, "dcnv2", "movielens-1m", "rel_impr", "paper").text == "-0.27"  # 0.8525 / 0.8548 - 1


def test_what_looks_equal_is_marked_alike(several: SuiteResults) -> None:
    table = overall_table(several)
    marks = {m: at(table, m, "movielens-1m", "auc").mark for m in several.methods}
    assert marks == {"dcnv2": "best", "deepfm": "best", "pnn": "second", "my_model": None, "afn": None, "dcn": None}
    loss = {m: at(table, m, "movielens-1m", "logloss").mark for m in several.methods}
    assert loss == {"deepfm": "best", "dcnv2": "second", "my_model": "second", "pnn": None, "afn": None, "dcn": None}
    near = overall_table(suite({"a": (0.80001, 0.5), "b": (0.80004, 0.4), "c": (0.7, 0.3)}))
    assert [at(near, m, "d", "auc").mark for m in "abc"] == ["best", "best", "second"]


def test_seeds_that_agree_have_no_spread(several: SuiteResults) -> None:
    table = overall_table(several)
    assert (at(table, "deepfm", "movielens-1m", "auc").sd, at(table, "deepfm", "movielens-1m", "auc").spread) == (
        0,
        None,
    )
    spread = replace(several, cells=tuple(c for c in several.cells if c.method == "pnn"))
    assert "over 3 seeds. " in overall_table(spread).caption()


def test_a_lone_value_is_not_called_best() -> None:
    table = overall_table(suite({"a": (0.8, 0.4)}))
    assert at(table, "a", "d", "auc").mark is None


def test_no_negative_zero() -> None:
    table = overall_table(suite({"a": (0.800001, 0.4), "b": (0.8, 0.4)}, reference="b"))
    assert at(table, "a", "d", "rel_impr").text == "0.00"


def test_paper_rows_are_shown(several: SuiteResults) -> None:
    table = overall_table(several)
    assert table.datasets == ("movielens-1m", "planted-tiny")
    assert [group.family for group in table.groups] == ["ID-based", "PLM-based", "ID+PLM", "Other"]
    assert [row.method for row in table.rows] == [*paper_methods("table2"), "my_model"]
    assert at(table, "flip", "movielens-1m", "auc").text == "—"
    assert at(table, "flip", "movielens-1m", "auc", "paper").text == "0.8621"
    before = overall_table(replace(several, cells=()))
    assert before.datasets == ("movielens-1m", "bookcrossing", "goodreads", "planted-tiny")
    assert at(before, "flip", "goodreads", "auc", "paper").text == "0.7787"
    assert TableColumn("planted-tiny", "auc", "paper") not in table.columns  # a column of dashes says nothing


def test_no_reference_no_column(special: SuiteResults) -> None:
    table = overall_table(special)
    assert [column.metric for column in table.columns] == ["auc", "logloss"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=9))
def test_marks_follow_the_order(scores: list[tuple[int, int]]) -> None:
    rows = {f"m{i}": (0.5 + a / 30_000, 0.4 + b / 30_000) for i, (a, b) in enumerate(scores)}  # thirds of a digit
    table = overall_table(suite(rows))
    for metric, sign in (("auc", 1), ("logloss", -1)):
        column = [at(table, method, "d", metric) for method in rows]
        rank = {"best": 2, "second": 1, None: 0}
        for x in column:
            for y in column:
                assert (x.text == y.text) <= (x.mark == y.mark)
                assert (rank[x.mark] > rank[y.mark]) <= (sign * float(x.text) > sign * float(y.text))
        assert any(cell.mark == "best" for cell in column) == (len({cell.text for cell in column}) > 1)


def test_the_order_of_cells_and_runs_changes_nothing(several: SuiteResults) -> None:
    rng = random.Random(0)
    texts = set()
    for _ in range(5):
        shuffled = tuple(
            replace(cell, runs=tuple(rng.sample(cell.runs, len(cell.runs))))
            for cell in rng.sample(several.cells, len(several.cells))
        )
        table = overall_table(replace(several, cells=shuffled))
        texts.add(to_json(table) + to_markdown(table))
    assert len(texts) == 1


def test_the_signature_names_the_runs(several: SuiteResults) -> None:
    line = signature(several)
    assert line.startswith(
        "flipbench:0.1.0|protocol:held-out|validation:known-users|order:chronological|seeds:3|data:3fa9c1d2+77e0aa10|torch:2.13.0|runs:"
    )
    alike = replace(several, versions={**several.versions, "data/planted-tiny": several.versions["data/movielens-1m"]})
    assert "|data:3fa9c1d2|" in signature(alike), "each once"
    other = replace(several, cells=several.cells[1:])
    assert signature(other) != line
    assert signature(replace(several, cells=())).endswith("|data:none|torch:2.13.0|runs:none")


def test_the_caption_warns(special: SuiteResults, several: SuiteResults) -> None:
    words = overall_table(special).caption()
    assert "test rows were used for selection" in words
    assert "random order, not by time" in words
    assert "One seed: no spread known." in words
    mixed = overall_table(replace(special, order="chronological+random")).caption()
    assert "differs by data set: chronological, random." in mixed
    assert "not by time" not in mixed
    words = overall_table(several).caption(best="marked *", second="+")
    assert "order" not in words
    assert "Best per column marked *, second +." in words
    assert "test rows were scored once" in words
    unfitted = overall_table(replace(several, refits=(False,))).caption()
    assert "a third of the users, and the weights so chosen were scored once on the test rows." in unfitted
    assert "over 3 seeds, without ± where all agree to the last bit." in words
    assert "Table II of arXiv 2310.19453" in words
    assert "Bayes-optimal AUC of 0.8123" in words


def compared(row: str, against: str, luck: Luck) -> Comparison:
    difference = Difference(0.01, 0.01, 9, -0.01, 0.03, 0.3, "user-bootstrap", 0.6, luck)
    return Comparison("planted-tiny", "auc", row, against, difference, reach_of(difference, 3, 0.001 / 3))


def test_the_caption_says_what_from_and_of_which_pairs(several: SuiteResults) -> None:
    seen, unseen = Luck(0.002, 0.001, 0.001, 99), Luck(0.0, 0.001, 0.001, 99)
    tests = (compared("flip", "dcnv2", seen), compared("flip_id", "dcnv2", unseen), compared("flip", "my_model", seen))
    results = replace(several, compare=Compare(reference="flip"), comparisons=tests)
    words = overall_table(results).caption()
    assert "difference in AUC from FLIP (for FLIP_ID, from the best row that it is tested against) that" in words
    assert "estimated from these 3 seeds" in words
    assert "two one-sided tests at 5 % each, unadjusted, power 0.8" in words
    here = [tests[0].reach, tests[1].reach]
    assert here[0] is not None
    assert here[1] is not None
    assert (
        f"AUC on planted-tiny, pairs without floors: {here[0].difference:.4f} to {here[1].difference:.4f} with these "
        f"seeds, up to {here[0].difference_at_best:.4f} whatever the seeds; equivalence within 0.001 is out of reach "
        "whatever the seeds for 1 of 1 pairs, not estimable for 1."
    ) in words
    words = overall_table(replace(results, comparisons=tests[1:2])).caption()
    assert "difference in AUC from the best row that it is tested against that" in words
    assert (
        "the limit whatever the seeds not estimable; whether equivalence within 0.001 is in reach is not estimable."
        in words
    )
    assert "without floors" not in words


def test_what_cannot_be_estimated_is_no_number() -> None:
    for at_best, words in ((None, "0.0123 (not estimable)"), (0.0045, "0.0123 (0.0045)")):
        assert formats.resolvable({"difference": 0.0123, "difference_at_best": at_best}) == words
    assert _resolved({"difference": 0.0123, "difference_at_best": None}) == ["0.0123", "not estimable"]
    assert _resolved(None) == ["—", "—"]


def test_an_unknown_table_of_the_paper_is_a_users_mistake(several: SuiteResults) -> None:
    with pytest.raises(UserError, match="no result table 'tabel2'; did you mean 'table2'"):
        overall_table(replace(several, paper="tabel2"))
