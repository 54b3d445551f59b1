"""What ``flipbench verify`` answers with 3: results that were forged, damaged or cut, manifests and all."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from forged import rewrite, with_column

from flipbench import metrics
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.plan import suite
from flipbench.store.planning import plan_of, store_of

STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9, "bias": 0.3}


@pytest.fixture
def reported(suite_file, stored_runs, cli):
    """A suite with finished runs and a report; returns its file, plan and store."""

    def make(data="movielens-1m", methods="[deepfm, dcnv2]", **rows):
        path = suite_file(data=f"[{data}]", methods=methods, settings="", seeds="2", compare="{reference: dcnv2}")
        mini = suite.load(str(path))
        plan = plan_of(mini, store := store_of(mini))
        stored_runs(plan, store, STRENGTH, **rows)
        assert cli("report", path, "--no-figures")[0] == 0
        assert cli("verify", path)[0] == 0
        return path, plan, store

    return make


@pytest.fixture
def mismatch(cli):
    """Verifies what does not follow; returns the lines that say so."""

    def call(path):
        code, _, err = cli("verify", path)
        assert code == 3, err
        return err

    return call


@pytest.fixture
def prepared(reported):
    """As ``reported``, on the test rows of a table that is prepared here."""
    table = open_table("planted-tiny")
    test = split.test_rows(table, "chronological")
    return reported("planted-tiny", test=test, bayes_auc=table.meta["bayes_auc"])


def with_figures(store, stage, **figures):
    rewrite(store, stage, "metrics.json", json.dumps({**store.metrics(stage), **figures}).encode())


def column(store, stage, name):
    return pq.read_table(store.folder(stage) / "predictions.parquet")[name].to_numpy()


@pytest.mark.parametrize("forged", ["label", "group"])
def test_rows_of_every_run_are_those_of_the_prepared_table(prepared, mismatch, forged):
    path, plan, store = prepared
    for stage in (stage for cell in plan.cells for stage in cell.evaluations):
        labels, logits = (column(store, stage, name) for name in ("label", "logit"))
        if forged == "label":
            labels = ~labels
        with_column(store, stage, forged, labels if forged == "label" else column(store, stage, "group")[::-1])
        scores = {"auc": metrics.auc(labels, logits), "logloss": metrics.logloss(labels, logits)}
        with_figures(store, stage, **scores, positives=int(labels.sum()))
    err = mismatch(path)
    assert err.count("its labels or users are not those of planted-tiny as prepared here") == 4


def test_rows_of_one_run_are_those_of_the_others(reported, mismatch):
    path, plan, store = reported()
    stage = plan.cells[1].evaluations[1]
    with_column(store, stage, "group", column(store, stage, "group")[::-1])
    assert mismatch(path) == f"flipbench: {store.folder(stage)}: its labels or users are not most other runs'\n"


@pytest.mark.parametrize("group", [-1, 400, 2**31 - 1])
def test_users_that_no_row_can_have(reported, mismatch, group):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    groups = column(store, stage, "group").copy()
    groups[7] = group
    with_column(store, stage, "group", groups)
    assert "predictions.parquet: users are numbered" in mismatch(path)


@pytest.mark.parametrize("source", ["another row", "another seed"])
def test_predictions_of_another_run(reported, mismatch, source):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    other = plan.cells[1].evaluations[0] if source == "another row" else plan.cells[0].evaluations[1]
    for name in ("predictions.parquet", "metrics.json"):
        rewrite(store, stage, name, (store.folder(other) / name).read_bytes())
    err = mismatch(path)
    assert "predicts to the last bit what" in err
    assert str(store.folder(stage)) in err
    assert str(store.folder(other)) in err


def test_equal_weights_and_floors_may_predict_alike(reported, cli, tmp_path):
    path, plan, store = reported(methods="[deepfm, dcnv2, bias]")
    for cell, weighed in ((plan.cells[1], True), (plan.cells[2], False)):
        stage, other = cell.evaluations
        for name in ("predictions.parquet", "metrics.json"):
            rewrite(store, stage, name, (store.folder(other) / name).read_bytes())
        if weighed:
            with_figures(store, stage.parents["fit"], weights=store.metrics(other.parents["fit"])["weights"])
    assert cli("report", path, "--no-figures")[0] == 0
    assert cli("verify", path)[0] == 0


def test_a_number_of_epochs_follows_from_the_selection(reported, mismatch):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    refit = stage.parents["fit"]
    history = [{"epoch": i, "auc": None, "logloss": None} for i in range(3)]
    with_figures(store, stage, epochs=3)
    assert "is of 3 epochs, and its refit has 1" in mismatch(path)
    with_figures(store, refit, best=history[2], history=history)
    assert "is of 3 epochs, and its select has 1" in mismatch(path)
    history = [{"epoch": i, "auc": 0.9 - i / 100, "logloss": 0.7} for i in range(3)]
    with_figures(store, refit.parents["select"], best=history[2], history=history)
    assert "its best epoch is 2, and by its history 0" in mismatch(path)
    for none in ([], history[1:], [[0]], 3):
        with_figures(store, refit.parents["select"], history=none)
        assert "has no history of its epochs, counted from 0" in mismatch(path)


def test_a_parent_that_is_gone(reported, mismatch):
    path, plan, store = reported()
    refit = plan.cells[0].evaluations[0].parents["fit"]
    gone = store.folder(refit.parents["select"])
    shutil.rmtree(gone)
    assert f"{store.folder(refit)}: was made from {gone}, which is missing" in mismatch(path)
    shutil.rmtree(gone.parent)
    assert "names run" in mismatch(path)


BAD = {"high bytes": b"\xff\xfe\x80", "a list": b"[]", "a number": b"3", "half": b"{", "empty": b""}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
@pytest.mark.parametrize("sealed", [True, False])
def test_files_of_a_run_that_are_no_such_files(reported, mismatch, content, sealed):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    kept = {file: file.read_bytes() for file in store.folder(stage).iterdir()}
    for name in ("metrics.json", "spec.json", "env.json", "predictions.parquet", "DONE"):
        file = store.folder(stage) / name
        if sealed and name != "DONE":
            rewrite(store, stage, name, content)
        else:
            file.write_bytes(content)
        assert str(file.parent if name == "DONE" else file) in mismatch(path)
        for other, before in kept.items():
            other.write_bytes(before)


ODD = {"runs that are no keys": b'{"cells": [{"runs": [1, null], "method": 2, "dataset": []}]}', "deep": b"[" * 10**5}


@pytest.mark.parametrize("content", (BAD | ODD).values(), ids=BAD | ODD)
def test_files_of_a_report_that_are_no_such_files(reported, mismatch, content, tmp_path):
    path, _, _ = reported()
    files = sorted((tmp_path / "reports").iterdir())
    assert {file.suffix for file in files} == {".html", ".json", ".md", ".tex"}
    for file in files:
        if content and file.suffix in (".md", ".tex"):
            continue  # they are compared, never parsed
        before = file.read_bytes()
        file.write_bytes(content)
        assert str(file) in mismatch(path)
        file.write_bytes(before)


@pytest.mark.parametrize("role", ["select", "refit", "evaluate"])
def test_a_manifest_that_lists_nothing(reported, mismatch, role):
    path, plan, store = reported()
    stage = next(stage for stage in plan.stages() if stage.role == role)
    (store.folder(stage) / "DONE").write_bytes(b"")
    assert str(store.folder(stage)) in mismatch(path)


@pytest.mark.parametrize("name", ["../../../../secret", "/etc/hostname"])
def test_what_lies_elsewhere_is_neither_verified_nor_packed(reported, mismatch, refused, tmp_path, name):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    (tmp_path / "secret").write_text("mine")
    with (store.folder(stage) / "DONE").open("a") as done:
        done.write(f"{'0' * 64}  {name}\n")
    assert "lists no file of a run of role 'evaluate'" in mismatch(path)
    assert "lists no file" in refused("bundle", path, "--to", tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize("name", ["metrics.json", "events.jsonl", ""])
def test_links_are_neither_verified_nor_packed_nor_shown(reported, mismatch, refused, tmp_path, name):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    place = store.folder(stage) / name
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert "a symbolic link" in mismatch(path)
    assert "a symbolic link" in refused("bundle", path, "--to", tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()
    if name != "events.jsonl":
        assert refused("show", stage.key, "--results", store.root)


@pytest.mark.parametrize("env", [{"seconds": "long"}, {"seconds": True}, {"seconds": 1.0, "device": 3}])
def test_an_environment_that_is_none(reported, mismatch, env):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    rewrite(store, stage, "env.json", json.dumps(env).encode())
    assert "env.json: seconds are no number, or device is no text" in mismatch(path)


def test_a_bound_that_is_not_the_datas(prepared, mismatch):
    path, plan, store = prepared
    with_figures(store, plan.cells[0].evaluations[0], bayes_auc=0.999)
    assert "bayes_auc is 0.999" in mismatch(path)


def test_logits_are_not_hidden_by_the_tolerance(reported, mismatch):
    path, plan, store = reported()
    stage = plan.cells[0].evaluations[0]
    logits = column(store, stage, "logit") + np.float32(0.01)
    with_column(store, stage, "logit", logits)
    assert "logloss is" in mismatch(path)
