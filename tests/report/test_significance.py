"""Stars, verdicts and claims from stored predictions with a known truth, and what must not become a number."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flipbench.errors import UserError
from flipbench.paper.claims import load_claims
from flipbench.plan import suite
from flipbench.report.claims import OurNumbers, Suite, evaluate
from flipbench.report.collect import collect
from flipbench.report.significance import Evidence, pairs, resample_ahead
from flipbench.report.so_far import results_so_far as results_of
from flipbench.report.table import overall_table
from flipbench.report.write import render, to_json
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

ROWS = "[deepfm, dcnv2, {flip_id: {plm: small}}, {flip: {plm: small}}]"
STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9, "flip_id": 0.85, "flip": 1.6}


@pytest.fixture
def stored(suite_file, stored_runs, tmp_path):
    """A suite with runs of every row; returns its plan, store and what else a test asks for."""

    def make(strength=STRENGTH, **changes):
        options = {
            "data": "[movielens-1m]",
            "methods": ROWS,
            "settings": "",
            "seeds": "3",
            "paper": "table2",
            **changes,
        }
        options.setdefault("compare", "{reference: flip, alpha: 0.01}")
        found = suite.load(str(suite_file(**options)))
        store = Store(Path(found.outputs.results))
        plan = plan_of(found, store)
        stored_runs(plan, store, strength)
        return plan, store

    return make


def cells(plan, store, metric="auc"):
    table = overall_table(collect(plan, store))
    column = next(i for i, c in enumerate(table.columns) if (c.metric, c.source) == (metric, "ours"))
    return {row.method: row.cells[column] for group in table.groups for row in group.rows}


def test_a_real_gain_is_starred_and_a_missing_one_is_not(stored):
    plan, store = stored()
    for metric in ("auc", "logloss"):
        found = cells(plan, store, metric)
        assert found["flip"].starred
        assert not any(found[row].starred for row in ("flip_id", "dcnv2", "deepfm"))
        assert (found["flip"].mark, found["dcnv2"].best_baseline) == ("best", True)
    text = " ".join(overall_table(collect(plan, store)).notes)
    assert "p < 0.01, paired bootstrap over users and t over seeds, Holm over 4 tests a metric" in text
    assert "over 3 seeds" in text
    worse, other = stored({**STRENGTH, "flip": 0.3})
    assert not cells(worse, other)["flip"].starred, "significantly worse is no star"


def test_one_seed_gets_no_star_and_no_verdict_and_the_caption_says_so(stored):
    plan, store = stored(seeds="1")
    results = collect(plan, store)
    assert results.comparisons == ()
    found = cells(plan, store)
    assert not found["flip"].starred
    assert found["flip"].verdict.outcome == "inconclusive"
    assert found["flip"].symbol == ""
    assert "no star of ours, and every verdict against the paper is inconclusive" in " ".join(
        overall_table(results).notes
    )


def test_who_is_tested_against_whom(stored):
    plan, _ = stored()
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [
        ("flip_id", "deepfm"), ("flip_id", "dcnv2"), ("flip", "deepfm"), ("flip", "dcnv2"),
    ]  # fmt: skip
    plan, _ = stored(methods="[deepfm, dcnv2, pnn]", compare="{reference: pnn}")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("pnn", "deepfm"), ("pnn", "dcnv2")]
    rows = "[deepfm/none: {method: deepfm}, deepfm/flip: {method: flip, plm: small}, dcnv2/none: {method: dcnv2}]"
    plan, _ = stored(methods=rows, paper="table3", compare="")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("deepfm/flip", "deepfm/none")]
    rows = "[none/dcnv2: {method: dcnv2}, roberta/flip: {method: flip, plm: small}]"
    plan, _ = stored(methods=rows, paper="table5", compare="")
    assert [(a.method.label, b.method.label) for a, b in pairs(plan)] == [("roberta/flip", "none/dcnv2")]


@pytest.mark.parametrize("test", ["user-bootstrap", "delong", "paired-t"])
def test_every_declared_test_runs_from_stored_predictions(stored, test):
    plan, store = stored(compare=f"{{reference: flip, test: {test}, alpha: 0.05}}")
    results = collect(plan, store)
    assert {c.difference.test for c in results.comparisons} == {test}
    assert all(c.difference.adjusted >= c.difference.p for c in results.comparisons)
    assert cells(plan, store)["flip"].starred


def test_resampling_is_kept_and_a_damaged_file_of_it_changes_nothing(stored, tmp_path, monkeypatch):
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    plan, store = stored()
    first = to_json(overall_table(collect(plan, store)))
    kept = sorted((tmp_path / "home" / "bootstrap").iterdir())
    assert len(kept) == 4, "one a cell"
    kept[0].write_bytes(b"half")
    np.savez(kept[1], other=np.zeros(3))
    assert to_json(overall_table(collect(plan, store))) == first
    monkeypatch.setattr(Evidence, "_read", lambda *_: pytest.fail("read again"))
    assert to_json(overall_table(collect(plan, store))) == first


def test_a_second_process_resamples_from_the_last_cell_on_up_to_one_that_is_kept(stored, tmp_path, monkeypatch):
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "alone"))
    plan, store = stored()
    alone = to_json(overall_table(collect(plan, store)))
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    resample_ahead(plan, store, enough=lambda: True)
    assert not (tmp_path / "home").exists()
    first, *rest = {id(cell): cell for pair in pairs(plan) for cell in pair}.values()
    Evidence(store).resampled(first.evaluations)  # as the first process does
    resample_ahead(plan, store)
    assert {Evidence(store).kept(cell.evaluations) for cell in rest} < set((tmp_path / "home" / "bootstrap").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Evidence, "_read", lambda *_: pytest.fail("read again"))
        resample_ahead(plan, store)
        assert to_json(overall_table(collect(plan, store))) == alone
    predictions = store.folder(rest[-1].evaluations[0]) / "predictions.parquet"
    predictions.write_bytes(predictions.read_bytes()[:-1] + b"x")
    resample_ahead(plan, store)
    with pytest.raises(UserError, match=r"predictions\.parquet: changed since"):
        collect(plan, store)


def test_a_home_that_cannot_be_written_only_costs_time(stored, tmp_path, monkeypatch):
    plan, store = stored()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "file"))
    assert cells(plan, store)["flip"].starred
    read = []
    monkeypatch.setattr(
        Evidence, "_read", lambda self, stage, own=Evidence._read: (read.append(stage), own(self, stage))[1]
    )
    resample_ahead(plan, store)
    assert len(read) == len(plan.cells[0].evaluations), "a second process does not go on in vain"


def test_verdicts_follow_the_declared_margin(stored):
    plan, store = stored()
    narrow = cells(plan, store)["flip"].verdict
    assert (narrow.outcome, narrow.seeds, narrow.margin) == ("better", 3, 0.001)
    plan, store = stored(compare="{reference: flip, margin: {auc: 0.5, logloss: 0.5}}")
    assert cells(plan, store)["flip"].verdict.outcome == "reproduced"
    assert "≈" in render(collect(plan, store))["mini.md"]


def damage(stage, store, **columns):
    """Replace columns of a run's predictions, the digest in DONE with them, as a wrong program would."""
    import hashlib

    folder = store.folder(stage)
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    pq.write_table(table, path)
    done = folder / "DONE"
    done.write_text(done.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"logit": np.full(400, np.nan, np.float32)}, "400 of 400 predictions are NaN or infinite"),
        ({"logit": np.zeros(400, np.float32)}, "every prediction is 0: the model tells no row from another"),
        ({"label": np.ones(400, bool)}, "all 400 labels are equal"),
        ({"label": np.arange(400) % 2 == 0}, "its test rows are not those of"),
    ],
)
def test_predictions_that_are_none_are_named_and_no_number(stored, columns, says):
    plan, store = stored()
    stage = plan.cells[-1].evaluations[1]
    damage(stage, store, **columns)
    with pytest.raises(UserError, match=says) as error:
        collect(plan, store)
    assert "evaluate-s1" in str(error.value) or "evaluate-s0" in str(error.value)


def test_a_mutated_file_is_named(stored):
    plan, store = stored()
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
def test_a_changed_figure_is_named(stored, name, change, says):
    plan, store = stored()
    path = store.folder(plan.cells[0].evaluations[0]) / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=says):
        collect(plan, store)


def test_a_run_of_another_protocol_in_the_place_of_ours_is_named(stored):
    plan, store = stored()
    other, _ = stored(protocol="as-released")
    ours, theirs = (store.folder(p.cells[0].evaluations[0]) for p in (plan, other))
    assert ours != theirs
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    with pytest.raises(
        UserError, match=r"holds another run than its name says.*protocol is 'as-released', not 'held-out'"
    ):
        collect(plan, store)


def test_a_missing_run_leaves_no_mean(stored):
    plan, store = stored()
    shutil.rmtree(store.folder(plan.cells[-1].evaluations[1]))
    found = cells(plan, store)["flip"]
    assert (found.text, found.value, found.starred, found.verdict) == ("2/3 runs", None, False, None)


@pytest.mark.parametrize(("auc", "says"), [(0.5, "exactly 0.5"), (float("nan"), "not finite"), (None, "no AUC")])
def test_figures_that_are_none_are_named(stored, auc, says):
    plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    documents = {"env.json": store.read(stage, "env.json")}
    shutil.rmtree(store.folder(stage))
    folder = store.commit(stage, {"metrics.json": {"auc": None, "logloss": 0.4}, **documents})
    import hashlib

    path = folder / "metrics.json"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(json.dumps({"auc": auc, "logloss": 0.4}))
    done = folder / "DONE"
    done.write_text(done.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
    with pytest.raises(UserError, match=says):
        collect(plan, store)


def numbers_of(plan, store):
    found = Suite(collect(plan, store), tuple(d.label for d in plan.suite.data), {}, {})
    return OurNumbers(lambda name: found if name == "table2" else None)


def claim(number):
    return next(c for c in load_claims() if c.id == number)


def test_a_claim_is_refuted_by_one_data_set_and_never_supported_by_one(stored):
    plan, store = stored({**STRENGTH, "flip_id": 1.2})
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
    plan, store = stored({**STRENGTH, "flip_id": 0.3})
    found = evaluate(claim(4), numbers_of(plan, store))
    assert found.outcome == "refuted"
    assert found.paper == "supported", "by the paper's own numbers"


def test_the_claim_of_significance_uses_the_declared_test(stored):
    plan, store = stored()
    found = evaluate(claim(2), numbers_of(plan, store))
    own = {j.where: j for j in found.evidence}["table2 movielens-1m auc"]
    comparison = next(
        c for c in collect(plan, store).comparisons if (c.row, c.against, c.metric) == ("flip", "dcnv2", "auc")
    )
    assert own.p == comparison.difference.adjusted
    assert own.outcome == "supported"


def test_one_seed_supports_and_refutes_nothing(stored):
    for strength in (STRENGTH, {**STRENGTH, "flip_id": 0.1}):
        plan, store = stored(strength, seeds="1")
        numbers = numbers_of(plan, store)
        outcomes = {c.id: evaluate(c, numbers).outcome for c in load_claims()}
        assert set(outcomes.values()) <= {"inconclusive", "not run"}
        assert outcomes[4] == "inconclusive"
        assert outcomes[23] == "not run"


def test_results_of_counts_the_seeds_that_are_there(stored):
    plan, store = stored(seeds="3")
    for cell in plan.cells:
        shutil.rmtree(store.folder(cell.evaluations[2]))
    _, _, results = results_of(plan.suite)
    assert results.seeds == 2
    assert "The suite asks for 3 seeds; 2 so far." in results.notes
    assert results.comparisons


def test_of_rows_at_different_seeds_the_common_ones_count_and_a_failure_is_never_left_out(stored):
    plan, store = stored(seeds="3")
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


def test_a_row_worse_than_a_constant_prediction_is_named(stored):
    plan, store = stored({**STRENGTH, "deepfm": 0.0})  # pure noise
    own = [store.metrics(stage)["logloss"] for stage in plan.cells[0].evaluations]
    note = next(note for note in collect(plan, store).notes if note.startswith("Worse than a constant"))
    assert re.search(r"clicks alone has logloss 0\.6\d{3}: DeepFM (\d\.\d{4})\.$", note)[1] == f"{sum(own) / 3:.4f}"
    plan, store = stored()
    assert not any(note.startswith("Worse") for note in collect(plan, store).notes)
