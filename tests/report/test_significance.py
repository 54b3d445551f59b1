"""Stars, verdicts and claims from stored predictions with a known truth, and what must not become a number."""

import hashlib
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flipbench.cli.common import results_of
from flipbench.errors import UserError
from flipbench.paper.claims import load_claims
from flipbench.report.claims import OurNumbers, Suite, evaluate
from flipbench.report.collect import collect
from flipbench.report.significance import Evidence, pairs
from flipbench.report.table import overall_table
from flipbench.report.write import render, to_json

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
    column = next(i for i, c in enumerate(table.columns) if (c.metric, c.source) == (metric, "ours"))
    return {row.method: row.cells[column] for group in table.groups for row in group.rows}


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


def test_one_seed_gets_no_star_and_no_verdict_and_the_caption_says_so(flip):
    plan, store = flip(seeds="1")
    results = collect(plan, store)
    assert results.comparisons == ()
    found = cells(plan, store)
    assert not found["flip"].starred
    assert found["flip"].verdict.outcome == "inconclusive"
    assert found["flip"].symbol == ""
    assert "no star of ours, and every verdict against the paper is inconclusive" in " ".join(
        overall_table(results).notes
    )


def test_who_is_tested_against_whom(flip):
    plan, _ = flip()
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [
        ("flip_id", "deepfm"), ("flip_id", "dcnv2"), ("flip", "deepfm"), ("flip", "dcnv2"),
    ]  # fmt: skip
    plan, _ = flip(methods="[deepfm, dcnv2, pnn]", compare="{reference: pnn}")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("pnn", "deepfm"), ("pnn", "dcnv2")]
    rows = "[deepfm/none: {method: deepfm}, deepfm/flip: {method: flip, plm: small}, dcnv2/none: {method: dcnv2}]"
    plan, _ = flip(methods=rows, paper="table3", compare="")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("deepfm/flip", "deepfm/none")]
    rows = "[none/dcnv2: {method: dcnv2}, roberta/flip: {method: flip, plm: small}]"
    plan, _ = flip(methods=rows, paper="table5", compare="")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("roberta/flip", "none/dcnv2")]


@pytest.mark.parametrize("test", ["user-bootstrap", "delong", "paired-t"])
def test_every_declared_test_runs_from_stored_predictions(flip, test):
    plan, store = flip(compare=f"{{reference: flip, test: {test}, alpha: 0.05}}")
    results = collect(plan, store)
    assert {c.difference.test for c in results.comparisons} == {test}
    assert all(c.difference.adjusted >= c.difference.p for c in results.comparisons)
    assert cells(plan, store)["flip"].starred


def test_resampling_is_kept_and_a_damaged_file_of_it_changes_nothing(flip, tmp_path, monkeypatch):
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
    assert "≈" in render(collect(plan, store))["mini.md"]


def rewrite(path, content):
    """Replace a file of a run and its digest in DONE, as a wrong program would."""
    old, done = hashlib.sha256(path.read_bytes()).hexdigest(), path.with_name("DONE")
    path.write_bytes(content)
    done.write_text(done.read_text().replace(old, hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("logit", np.full(400, np.nan, np.float32), "400 of 400 predictions are NaN or infinite"),
        ("logit", np.zeros(400, np.float32), "every prediction is 0: the model tells no row from another"),
        ("label", np.ones(400, bool), "all 400 labels are equal"),
        ("label", np.arange(400) % 2 == 0, "its test rows are not those of"),
    ],
)
def test_wrong_predictions_are_named(flip, column, values, says):
    plan, store = flip()
    path = store.folder(plan.cells[-1].evaluations[1]) / "predictions.parquet"
    table, stream = pq.read_table(path), pa.BufferOutputStream()
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), stream)
    rewrite(path, stream.getvalue().to_pybytes())
    with pytest.raises(UserError, match=says) as error:
        collect(plan, store)
    assert re.search("evaluate-s[01]", str(error.value))


def test_a_mutated_file_is_named(flip):
    plan, store = flip()
    path = store.folder(plan.cells[-1].evaluations[2]) / "predictions.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"evaluate-s2-\w+/predictions.parquet: changed since the run was finished"):
        collect(plan, store)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("metrics.json", lambda d: {**d, "auc": 0.99}, "metrics.json: changed since"),
        ("spec.json", lambda d: {**d, "protocol": "as-released"}, "spec.json: changed since"),
    ],
)
def test_a_changed_figure_is_named(flip, name, change, says):
    plan, store = flip()
    path = store.folder(plan.cells[0].evaluations[0]) / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=says):
        collect(plan, store)


def test_a_run_of_another_protocol_in_the_place_of_ours_is_named(flip):
    plan, store = flip()
    other, _ = flip(protocol="as-released")
    ours, theirs = (store.folder(p.cells[0].evaluations[0]) for p in (plan, other))
    assert ours != theirs
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    with pytest.raises(
        UserError, match=r"holds another run than its name says.*protocol is 'as-released', not 'held-out'"
    ):
        collect(plan, store)


def test_a_missing_run_leaves_no_mean(flip):
    plan, store = flip()
    shutil.rmtree(store.folder(plan.cells[-1].evaluations[1]))
    found = cells(plan, store)["flip"]
    assert (found.text, found.value, found.starred, found.verdict) == ("2/3 runs", None, False, None)


@pytest.mark.parametrize(("auc", "says"), [(0.5, "exactly 0.5"), (float("nan"), "not finite"), (None, "no AUC")])
def test_wrong_metrics_are_named(flip, auc, says):
    plan, store = flip()
    stage = plan.cells[0].evaluations[0]
    content = json.dumps({**store.metrics(stage), "auc": auc}).encode()
    rewrite(store.folder(stage) / "metrics.json", content)
    with pytest.raises(UserError, match=says):
        collect(plan, store)


def numbers_of(plan, store):
    found = Suite(collect(plan, store), tuple(d.label for d in plan.suite.data), {}, {})
    return OurNumbers(lambda name: found if name == "table2" else None)


def claim(number):
    return next(c for c in load_claims() if c.id == number)


def test_a_claim_is_refuted_by_one_data_set_and_never_supported_by_one(flip):
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


def test_results_of_counts_the_seeds_that_are_there(flip):
    plan, store = flip(seeds="3")
    for cell in plan.cells:
        shutil.rmtree(store.folder(cell.evaluations[2]))
    _, _, results = results_of(plan.suite)
    assert results.seeds == 2
    assert "The suite asks for 3 seeds; 2 so far." in results.notes
    assert results.comparisons


def test_of_rows_at_different_seeds_the_common_ones_count_and_a_failure_is_never_left_out(flip):
    plan, store = flip(seeds="3")
    one, other, *_ = plan.cells
    shutil.rmtree(store.folder(one.evaluations[2]))
    shutil.rmtree(store.folder(other.evaluations[1]))
    assert results_of(plan.suite)[2].seeds == 1
    store.fail(other.evaluations[1], "boom", "", {})
    _, _, results = results_of(plan.suite)
    assert results.seeds == 2
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
