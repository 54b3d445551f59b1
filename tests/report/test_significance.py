"""Stars, verdicts and claims from stored predictions with a known truth, and what must not become a number."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from flipbench.errors import UserError
from flipbench.paper.claims import load_claims
from flipbench.report.claims import OurNumbers, SuiteNumbers, evaluate, suite_numbers
from flipbench.report.collect import collect
from flipbench.report.columns import TableColumn
from flipbench.report.significance import Evidence, pairs
from flipbench.report.so_far import results_so_far as results_of
from flipbench.report.table import overall_table
from flipbench.report.write import table_files, to_json

ROWS = "[deepfm, dcnv2, {flip_id: {plm: small}}, {flip: {plm: small}}]"
STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9, "flip_id": 0.85, "flip": 1.6}


@pytest.fixture
def flip(stored):
    """Runs of four rows, FLIP's two among them; returns plan and store."""

    def make(strength=STRENGTH, **changes):
        options = {"methods": ROWS, "seeds": "3", "paper": "table2", "compare": "{reference: flip, alpha: 0.01}"}
        return stored(strength, **options | changes)

    return make


def cells(plan, store, metric="auc"):
    table = overall_table(collect(plan, store))
    column = table.columns.index(TableColumn("movielens-1m", metric, "ours"))
    return {row.method: row.cells[column] for row in table.rows}


def test_a_real_gain_is_starred_and_a_missing_one_is_not(flip):
    plan, store = flip()
    for metric in ("auc", "logloss"):
        found = cells(plan, store, metric)
        assert found["flip"].starred
        assert not any(found[row].starred for row in ("flip_id", "dcnv2", "deepfm"))
        assert (found["flip"].mark, found["dcnv2"].best_baseline) == ("best", True)
    text = " ".join(overall_table(collect(plan, store)).notes)
    assert "p < 0.01, paired bootstrap over users and t over seeds, Holm over 4 tests a metric" in text
    assert "over 3 seeds" in text
    worse, other = flip({**STRENGTH, "flip": 0.3})
    assert not cells(worse, other)["flip"].starred, "significantly worse is no star"


def test_one_seed_gets_no_star_and_no_verdict(flip):
    plan, store = flip(seeds="1")
    results = collect(plan, store)
    assert results.comparisons == ()
    found = cells(plan, store)
    assert not found["flip"].starred
    assert found["flip"].verdict.outcome == "inconclusive"
    assert found["flip"].symbol == ""
    assert "no star of ours, and every verdict against the paper is inconclusive" in overall_table(results).caption()


GROUPED = "[deepfm/none: {method: deepfm}, deepfm/flip: {method: flip, plm: small}, dcnv2/none: {method: dcnv2}]"
BY_PLM = "[none/dcnv2: {method: dcnv2}, roberta/flip: {method: flip, plm: small}]"


@pytest.mark.parametrize(
    ("changes", "tested"),
    [
        ({}, ["flip_id deepfm", "flip_id dcnv2", "flip deepfm", "flip dcnv2"]),
        ({"methods": "[deepfm, dcnv2, pnn]", "compare": "{reference: pnn}"}, ["pnn deepfm", "pnn dcnv2"]),
        ({"methods": GROUPED, "paper": "table3", "compare": ""}, ["deepfm/flip deepfm/none"]),
        ({"methods": BY_PLM, "paper": "table5", "compare": ""}, ["roberta/flip none/dcnv2"]),
    ],
)
def test_who_is_tested_against_whom(flip, changes, tested):
    plan, _ = flip({}, **changes)
    assert [f"{row.method.label} {other.method.label}" for row, other in pairs(plan)] == tested


@pytest.mark.parametrize("test", ["user-bootstrap", "delong", "paired-t"])
def test_every_declared_test_runs(flip, test):
    plan, store = flip(compare=f"{{reference: flip, test: {test}, alpha: 0.05}}")
    results = collect(plan, store)
    assert {c.difference.test for c in results.comparisons} == {test}
    assert all(c.difference.adjusted >= c.difference.p for c in results.comparisons)
    assert cells(plan, store)["flip"].starred


def test_resampling_is_kept_and_damage_changes_nothing(flip, tmp_path, monkeypatch):
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    plan, store = flip()
    first = to_json(overall_table(collect(plan, store)))
    kept = sorted((tmp_path / "home" / "bootstrap").iterdir())
    assert len(kept) == 4, "one a cell"
    kept[0].write_bytes(b"half")
    np.savez(kept[1], other=np.zeros(3))
    assert to_json(overall_table(collect(plan, store))) == first
    monkeypatch.setattr(Evidence, "_read", lambda *_: pytest.fail("read again"))
    assert to_json(overall_table(collect(plan, store))) == first


def test_a_home_that_cannot_be_written_only_costs_time(flip, tmp_path, monkeypatch):
    plan, store = flip()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "file"))
    assert cells(plan, store)["flip"].starred


def test_verdicts_follow_the_declared_margin(flip):
    plan, store = flip()
    narrow = cells(plan, store)["flip"].verdict
    assert (narrow.outcome, narrow.seeds, narrow.margin) == ("better", 3, 0.001)
    plan, store = flip(compare="{reference: flip, margin: {auc: 0.5, logloss: 0.5}}")
    assert cells(plan, store)["flip"].verdict.outcome == "reproduced"
    assert "≈" in table_files(collect(plan, store))["mini.md"].decode()


@pytest.mark.parametrize(("name", "change"), [("metrics.json", {"auc": 0.99}), ("spec.json", {"protocol": "other"})])
def test_a_changed_file_is_named(flip, name, change):
    plan, store = flip()
    path = store.folder(plan.cells[0].evaluations[0]) / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=f"{name}: changed since"):
        collect(plan, store)


@pytest.mark.parametrize(
    ("figures", "says"),
    [({"auc": 0.5}, r"auc is 0\.5 in metrics\.json, 0\."), ({"auc": float("nan")}, "NaN"), ({}, "auc is None in")],
)
def test_wrong_metrics_are_named(flip, figures, says):
    plan, store = flip()
    path = store.folder(plan.cells[0].evaluations[0]) / "metrics.json"
    before, done = hashlib.sha256(path.read_bytes()).hexdigest(), path.with_name("DONE")
    path.write_text(json.dumps({**figures, "logloss": 0.4}))  # and its digest, as a wrong program would
    done.write_text(done.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
    with pytest.raises(UserError, match=says):
        collect(plan, store)


def numbers_of(plan, store):
    numbers = suite_numbers(plan, store, collect(plan, store), plan.suite)
    return OurNumbers(lambda name: numbers if name == "table2" else SuiteNumbers())


def claim(number):
    return next(c for c in load_claims() if c.id == number)


def test_one_data_set_refutes_a_claim_and_never_supports_it(flip):
    plan, store = flip({**STRENGTH, "flip_id": 1.2})
    found = evaluate(claim(4), numbers_of(plan, store))  # FLIP_ID beats every ID-based baseline
    assert found.outcome == "inconclusive"
    judged = {(j.where, j.words): j for j in found.evidence}
    own = judged["table2 movielens-1m auc", "flip_id > deepfm"]
    assert own.outcome == "supported"
    assert own.p < 0.05
    assert own.seeds == 3
    assert len(own.keys) == 6
    assert judged["table2 goodreads auc", "flip_id > deepfm"].outcome == "not run"
    assert judged["table2 movielens-1m auc", "flip_id > afm"].outcome == "not run"
    plan, store = flip({**STRENGTH, "flip_id": 0.3})
    found = evaluate(claim(4), numbers_of(plan, store))
    assert found.outcome == "refuted"
    assert found.paper == "supported", "by the paper's own numbers"


def test_the_claim_of_significance_uses_the_declared_test(flip):
    plan, store = flip()
    found = evaluate(claim(2), numbers_of(plan, store))
    own = {j.where: j for j in found.evidence}["table2 movielens-1m auc"]
    comparison = next(
        c for c in collect(plan, store).comparisons if (c.row, c.against, c.metric) == ("flip", "dcnv2", "auc")
    )
    assert own.p == comparison.difference.adjusted
    assert own.outcome == "supported"


def test_one_seed_supports_and_refutes_nothing(flip):
    for strength in (STRENGTH, {**STRENGTH, "flip_id": 0.1}):
        plan, store = flip(strength, seeds="1")
        numbers = numbers_of(plan, store)
        outcomes = {c.id: evaluate(c, numbers).outcome for c in load_claims()}
        assert set(outcomes.values()) <= {"inconclusive", "not run"}
        assert outcomes[4] == "inconclusive"
        assert outcomes[23] == "not run"


def test_results_of_common_seeds(flip):
    plan, store = flip()
    one, other, *_ = plan.cells
    shutil.rmtree(store.folder(one.evaluations[2]))
    shutil.rmtree(store.folder(other.evaluations[1]))
    assert results_of(plan.suite)[2].seeds == 1
    store.fail(other.evaluations[1], "boom", "", {})
    _, _, results = results_of(plan.suite)
    assert results.seeds == 2
    assert results.comparisons
    assert "The suite asks for 3 seeds; 2 so far." in results.notes
    assert [cell.failed for cell in results.cells if cell.method == other.method.label] == [1]
    shutil.rmtree(store.folder(one.evaluations[0]))
    assert results_of(plan.suite)[2].seeds == 3, "a row without its first seed has nothing in common with the others"


def test_a_row_worse_than_a_constant_prediction_is_named(flip):
    plan, store = flip({**STRENGTH, "deepfm": 0.0})  # pure noise
    own = [store.metrics(stage)["logloss"] for stage in plan.cells[0].evaluations]
    note = next(note for note in collect(plan, store).notes if note.startswith("Worse than a constant"))
    assert re.search(r"clicks alone has logloss 0\.6\d{3}: DeepFM (\d\.\d{4})\.$", note)[1] == f"{sum(own) / 3:.4f}"
    plan, store = flip()
    assert not any(note.startswith("Worse") for note in collect(plan, store).notes)
