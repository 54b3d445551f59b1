"""verify, bundle, explain, gap, claims and audit-paper as users call them."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from flipbench import suite
from flipbench.cli import main
from flipbench.cli.common import plan_of
from flipbench.report.collect import collect
from flipbench.report.write import write_report
from flipbench.store.runs import Store

ROWS = "[deepfm, dcnv2, {flip: {plm: small}}]"


@pytest.fixture
def mini(suite_file, stored_runs):
    """A reported suite; returns its file, plan and store."""
    path = suite_file(
        data="[movielens-1m]", methods=ROWS, settings="", seeds="2", paper="table2", compare="{reference: flip}"
    )
    found = suite.load(str(path))
    store = Store(Path(found.outputs.results))
    plan = plan_of(found, store)
    stored_runs(plan, store, {"deepfm": 0.8, "dcnv2": 0.9, "flip": 1.5})
    write_report(collect(plan, store), Path(found.outputs.reports))
    return path, plan, store


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return code, out.out, out.err


def test_what_follows_is_verified(mini, capsys):
    code, out, err = run(capsys, "verify", mini[0])
    assert (code, out, err) == (0, f"mini: {len(mini[1].stages())} runs checked, all follows\n", "")


def test_a_report_changed_by_one_digit_is_exit_code_3_and_named(mini, capsys, tmp_path):
    report = tmp_path / "reports" / "mini.md"
    report.write_text(report.read_text().replace("0.8548", "0.8549"))
    code, out, err = run(capsys, "verify", mini[0], "--json")
    assert code == 3
    assert err.count("\n") == 1
    assert "mini.md: line" in err
    assert "0.8549" in err
    assert len(json.loads(out)[0]["mismatches"]) == 1


def test_a_changed_prediction_and_a_changed_metric_name_their_run(mini, capsys):
    path, plan, store = mini
    first, second = plan.cells[0].finals
    target = store.folder(first) / "predictions.parquet"
    target.write_bytes(target.read_bytes()[:-1] + b"!")
    code, _, err = run(capsys, "verify", path)
    assert code == 3
    assert f"evaluate-s0-{first.key[:12]}" in err
    assert err.count("\n") == 1
    import hashlib

    metrics, done = store.folder(second) / "metrics.json", store.folder(second) / "DONE"
    old = hashlib.sha256(metrics.read_bytes()).hexdigest()
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "auc": 0.99}))
    done.write_text(done.read_text().replace(old, hashlib.sha256(metrics.read_bytes()).hexdigest()))
    _, _, err = run(capsys, "verify", path)
    assert "auc is 0.99 in metrics.json, 0." in err
    assert err.count("\n") == 2


def test_a_run_that_is_gone_is_named(mini, capsys):
    path, plan, store = mini
    gone = plan.cells[1].finals[1]
    shutil.rmtree(store.folder(gone))
    code, _, err = run(capsys, "verify", path)
    assert code == 3
    assert f"names run {gone.key[:12]} (dcnv2 on movielens-1m), which is not in the results" in err


def test_a_bundle_is_the_same_bytes_and_verifies_elsewhere(mini, capsys, tmp_path, monkeypatch):
    path, plan, store = mini
    code, out, _ = run(capsys, "bundle", path, "--to", tmp_path / "one.tar")
    assert (code, out) == (0, f"{tmp_path / 'one.tar'}\n")
    for folder in store.root.rglob("*"):
        os.utime(folder, (1, 1))
    run(capsys, "bundle", path, "--to", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        archive.extractall(tmp_path / "there", filter="data")
    there = tmp_path / "there" / "mini"
    shutil.rmtree(store.root)
    monkeypatch.chdir(there)
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "empty"))
    options = ("suites/mini.yaml", "--results", "results", "--reports", "reports")
    assert run(capsys, "verify", *options)[:2] == (0, f"mini: {len(plan.stages())} runs checked, all follows\n")


def test_a_bundle_of_damaged_or_no_runs_is_refused(mini, capsys, tmp_path):
    path, plan, store = mini
    target = store.folder(plan.cells[0].finals[0]) / "env.json"
    target.write_text("{}")
    code, _, err = run(capsys, "bundle", path, "--to", tmp_path / "x.tar")
    assert code == 1
    assert "env.json: changed since the run was finished" in err
    shutil.rmtree(store.root)
    code, _, err = run(capsys, "bundle", path, "--to", tmp_path / "x.tar")
    assert code == 1
    assert "no finished run" in err
    assert not (tmp_path / "x.tar").exists()


def test_explain_tells_runs_settings_tests_and_verdict(mini, capsys):
    path, plan, _ = mini
    code, out, _ = run(capsys, "explain", path, "dcnv2", "movielens-1m")
    assert code == 0
    assert "paper 0.8548" in out
    assert "(margin ±0.001" in out
    assert plan.cells[1].finals[1].key[:12] in out
    assert "flip − dcnv2" in out
    assert "embedding_l2" in out
    record = json.loads(run(capsys, "explain", path, "dcnv2", "movielens-1m", "--json")[1])
    assert [r["seed"] for r in record["runs"]] == [0, 1]
    assert {(d["row"], d["against"], d["seeds"]) for d in record["differences"]} == {("flip", "dcnv2", 2)}
    assert record["metrics"]["auc"]["verdict"]["outcome"] in ("better", "worse", "inconclusive")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dcnv3", "movielens-1m"), "mini has no row 'dcnv3'; did you mean 'dcnv2'?"),
        (("dcnv2", "movielens"), "mini has no data set 'movielens'; did you mean 'movielens-1m'?"),
    ],
)
def test_a_cell_that_is_not_there_names_the_nearest(mini, capsys, arguments, says):
    code, _, err = run(capsys, "explain", mini[0], *arguments)
    assert code == 1
    assert says in err
    assert err.count("\n") == 1


def test_the_gap_has_a_rung_a_factor_and_a_dash_where_nothing_was_run(mini, suite_file, stored_runs, capsys):
    path, _, store = mini
    changes = [
        {"protocol": "as-released"},
        {"data": "[movielens-1m: {order: random}]"},
        {"settings": "{embedding_l2: 0.0}"},
    ]
    for change in changes:
        options = {"data": "[movielens-1m]", "methods": "[dcnv2]", "settings": "", **change}
        other = suite.load(str(suite_file(**options)))
        stored_runs(plan_of(other, store), store, {"dcnv2": 1.2})
    suite_file(data="[movielens-1m]", methods=ROWS, settings="", seeds="2", paper="table2")
    code, out, _ = run(capsys, "gap", path, "--only", "model=dcnv2", "--json")
    assert code == 0
    (ladder,) = json.loads(out)
    rungs = {r["factor"]: r for r in ladder["rungs"]}
    assert list(rungs) == ["paper", "protocol", "split", "vocabulary", "seed", "grid", "ours"]
    assert rungs["paper"]["auc"] == 0.8548
    assert rungs["protocol"]["what"] == "as-released"
    assert rungs["split"]["what"] == "random"
    assert rungs["grid"]["what"] == "embedding_l2 0.0"
    assert rungs["grid"]["step"] == pytest.approx(rungs["grid"]["auc"] - rungs["ours"]["auc"])
    assert len(rungs["ours"]["runs"]) == 2
    assert (rungs["vocabulary"]["auc"], rungs["seed"]["auc"]) == (None, None)
    text = run(capsys, "gap", path, "--only", "model=dcnv2")[1]
    assert next(line for line in text.splitlines() if line.startswith("vocabulary")).split()[-2:] == ["—", "—"]


def test_claims_without_results_are_not_run_but_the_papers_numbers_speak(capsys, tmp_path):
    code, out, _ = run(capsys, "claims", "--results", tmp_path / "none", "--json")
    assert code == 0
    found = json.loads(out)
    assert len(found) == 25
    assert {c["verdict"] for c in found} == {"not run"}
    assert {c["id"] for c in found if c["paper"] == "refuted"} == {6, 10, 12, 14, 16, 18}


def test_audit_paper(capsys):
    code, out, _ = run(capsys, "audit-paper")
    assert code == 0
    assert "Table IV autoint/none bookcrossing auc" in out
    assert "Rel.Impr: 39 of 39 agree" in out
    assert len(json.loads(run(capsys, "audit-paper", "--json")[1])) == 39 + 44 + 17


def test_verify_without_results_is_a_users_mistake(capsys, tmp_path):
    code, _, err = run(capsys, "verify", "--results", tmp_path / "none")
    assert code == 1
    assert "no suite has results to verify" in err
