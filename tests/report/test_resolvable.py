"""The smallest resolvable difference in every format, and ``flipbench power`` before and after the runs."""

import json
import math
import shutil

import pytest

from flipbench import api
from flipbench.errors import NotPreparedError
from flipbench.report.collect import collect
from flipbench.report.columns import TableColumn
from flipbench.report.explain import explain
from flipbench.report.html.page import to_html
from flipbench.report.power import ALIKE, SEEDS_SD, WITHIN_USERS, powers
from flipbench.report.table import overall_table
from flipbench.report.write import table_files
from flipbench.stats.delong import hanley_mcneil
from flipbench.stats.power import resolvable

STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9, "pnn": 1.0}
COMPARE = "{reference: dcnv2, alpha: 0.01}"


@pytest.fixture
def three(stored):
    def make(strength=STRENGTH, **changes):
        return stored(strength, **{"methods": "[deepfm, dcnv2, pnn]", "seeds": "3", "compare": COMPARE, **changes})

    return make


def test_every_format_has_it_beside_the_comparison(three):
    plan, store = three(paper="table2")
    results = collect(plan, store)
    found = {c.against: c for c in results.comparisons if c.metric == "auc"}
    reach = found["pnn"].reach
    assert reach.difference == resolvable(found["pnn"].difference.luck, 3, 0.01 / 2), "Holm's strictest step, of two"
    assert reach.difference > reach.difference_at_best
    table = overall_table(results)
    at = table.columns.index(TableColumn("movielens-1m", "resolvable", "ours"))
    text = {row.method: row.cells[at].text for row in table.rows}
    assert text["pnn"].startswith(f"{reach.difference:.4f}")
    assert text["dcnv2"] == "—"
    files = table_files(results)
    assert all(text["pnn"].encode() in files[name] for name in ("mini.md", "mini.tex", "mini.json"))
    document = json.loads(files["mini.json"])
    assert {c["reach"]["difference"] > 0 for c in document["comparisons"]} == {True}
    verdicts = [c["verdict"] for c in document["cells"] if c["verdict"]]
    assert len(verdicts) == 6
    assert all(v["reach"]["difference"] > v["margin"] for v in verdicts)
    record = explain(plan, store, results, "pnn", "movielens-1m")
    assert record["differences"][0]["reach"]["difference"] == pytest.approx(reach.difference, rel=1e-5)
    page = to_html(plan, store, results)
    assert f"{reach.difference:.4f} ({reach.difference_at_best:.4f})" in page
    for words in (
        "p < 0.01/2, Holm's strictest step",
        "equivalence within 0.001 is out of reach whatever the seeds for",
    ):
        assert words in table.caption()


def test_one_seed_tells_nothing_of_others(three):
    plan, store = three(seeds="1")
    results = collect(plan, store)
    assert [column.metric for column in overall_table(results).columns] == ["auc", "logloss", "rel_impr"]
    record = explain(plan, store, results, "pnn", "movielens-1m")
    assert [d["reach"] for d in record["differences"]] == [None, None]


def test_explain_prints_it(three, cli):
    plan, _ = three(paper="table2")
    code, out, _ = cli("explain", plan.suite.file, "pnn", "movielens-1m")
    assert code == 0
    assert "(smallest difference from the paper that becomes a verdict 0." in out
    assert "p after Holm" in out
    assert "whatever the seeds" in out


def test_power_of_own_runs_of_others_and_of_none(three):
    plan, store = three()
    own = powers(plan, store, "auc")
    assert {(p.row, p.against, p.known, p.basis) for p in own} == {
        ("dcnv2", other, "runs", "3 seeds of both") for other in ("deepfm", "pnn")
    }
    by_report = {c.against: c.reach for c in collect(plan, store).comparisons if c.metric == "auc"}
    assert {p.against: p.reach for p in own} == by_report
    assert (own[0].users, own[0].seeds, own[0].alpha, own[0].difference) == (40, 3, 0.005, 0.001)

    for stage in plan.cells[1].evaluations:  # dcnv2's: what remains are two rows that no test compares
        shutil.rmtree(store.folder(stage))
    others = powers(plan, store, "logloss", 0.05)
    assert {(p.known, p.basis) for p in others} == {("other runs", "median of 1 pairs of this protocol")}
    assert others[0].difference == 0.05

    refitted = plan.suite.model_copy(update={"refit": not plan.suite.refit})
    with pytest.raises(NotPreparedError):  # nothing is known from runs of another protocol, not even the users
        api.power(refitted, difference=0.05)
    for stage in plan.cells[2].evaluations:
        shutil.rmtree(store.folder(stage))
    none = powers(plan, store, "auc")[0]
    assert none.known == "assumed"
    rows = store.metrics(plan.cells[0].evaluations[0])
    of_user = rows["rows"] / none.users  # about: users are not of one size
    error = hanley_mcneil(0.8, rows["positives"], rows["rows"] - rows["positives"])
    error *= math.sqrt((1 + (of_user - 1) * WITHIN_USERS) * (1 - ALIKE))
    assert none.luck.users == none.luck.both == pytest.approx(error, rel=0.1)
    assert none.luck.seeds == SEEDS_SD


def test_power_with_one_seed_of_each(three):
    plan, store = three()
    one = plan.suite.model_copy(update={"seeds": 1})
    for cell in plan.cells:
        for stage in cell.evaluations[1:]:
            shutil.rmtree(store.folder(stage))
    answers = api.power(one)
    assert {(a.known, a.basis) for a in answers} == {("runs", "one seed of both; seeds' spread assumed, 0.001")}
    assert {a.reach for a in answers} == {None}, "a suite of one seed tests nothing"
    assert all(a.users_at_best > a.users for a in answers)


def test_power_on_the_command_line(three, cli, refused):
    plan, _ = three()
    code, out, err = cli("power", plan.suite.file, "--difference", "0.2")
    assert (code, err) == (0, "")
    assert "movielens-1m: auc, 40 test users, power .8 at p < 0.01/2" in out
    assert "dcnv2 − pnn" in out
    code, out, _ = cli("power", plan.suite.file, "--metric", "logloss", "--seeds", "50", "--json")
    first = json.loads(out)[0]
    assert (first["metric"], first["seeds"], first["difference"]) == ("logloss", 50, 0.002)
    assert first["reach"]["difference"] > 0
    assert first["luck"]["users"] == 0
    assert (first["reach"]["difference_at_best"], first["reach"]["margin_at_best"]) == (None, None)
    assert "--difference -1: must be above 0" in refused("power", plan.suite.file, "--difference", "-1")
    assert "name a compare.reference" in refused("power", plan.suite.file, "--only", "model=pnn")


def test_power_before_anything_was_run_on_generated_data(suite_file):
    suite = api.load_suite(suite_file(methods="[deepfm, dcnv2]", compare="{reference: dcnv2}", seeds="4"))
    (answer,) = api.power(suite, difference=0.02)
    assert answer.known == "assumed"
    assert answer.users > 100
    assert answer.reach.difference > 0.02 > answer.difference / 2
    assert answer.users_needed > answer.users
