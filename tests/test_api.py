"""The Python API, on the committed results and on small runs of its own."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from flipbench import api, metrics
from flipbench.errors import UserError

RESULTS = Path(__file__).parents[1] / "results"
SHORT = "{max_epochs: 1, batch_size: 256, embedding_dim: 4, hidden: [8]}"


@pytest.fixture(scope="module")
def committed():
    return api.results(RESULTS)


def spec_of(key):
    """What determines the run of a key, with its pretraining in the place of its parents, and without seeds."""
    (folder,) = RESULTS.glob(f"*/*/*-{key[:12]}")
    spec = json.loads((folder / "spec.json").read_text())
    parents = {name: spec_of(parent) for name, parent in spec.pop("parents").items()}
    del spec["seed"]
    return json.dumps({**spec, "parents": parents}, sort_keys=True)


def test_naive_mean_averages_seeds_alone(committed):
    """MovieLens by time and shuffled, in both precisions, of all or few users; BookCrossing in two orders; sweeps."""
    assert len(committed) == len(list(RESULTS.glob("*/*/evaluate-*/DONE")))
    for row, runs in committed.reset_index().groupby("row"):
        assert runs.groupby(["dataset", "order", "users", "protocol", "precision"]).ngroups == 1, row
        assert len(set(map(spec_of, runs.key))) == 1, row
        assert runs.seed.is_unique, row
    means = committed.groupby("row").auc.mean()
    assert committed.groupby("row").key.first().map(spec_of).is_unique, "one row for all seeds of a run"
    assert means["dcnv2 · movielens-1m · random"] == pytest.approx(0.90328, abs=1e-5)
    assert means["dcnv2 · bookcrossing · file"] == pytest.approx(0.59021, abs=1e-5)


def test_the_committed_results_are_read_within_a_second(committed):
    """Of this process's own time: a busy machine's clock says nothing of it."""
    began = time.process_time()
    api.results(RESULTS)
    assert time.process_time() - began < 1


def test_a_run_has_its_figures_and_all_its_settings(committed):
    flip = committed[(committed.method == "flip") & (committed.index.get_level_values("users") < 1)].reset_index()
    assert len(flip) == 1
    run = flip.iloc[0]
    assert (run.users, run.order, run.protocol, run.precision) == (0.015, "chronological", "held-out", "bfloat16")
    assert (run["settings.learning_rate"], run["pretrain.epochs"], run["backbone.name"]) == (0.001, 2, "dcnv2")
    assert run["backbone.hidden"] == "[300, 300, 128]"
    assert (run.device, run.seconds) == ("cpu", 12.872)


def test_predictions_give_the_stored_metrics(committed):
    run = committed[committed.method == "afm"].iloc[0]
    predictions = api.predictions(run.key[:12], RESULTS)
    assert list(predictions.columns) == ["label", "group", "logit"]
    labels, logits = predictions.label.to_numpy(), predictions.logit.to_numpy()
    assert metrics.auc(labels, logits) == pytest.approx(run.auc, abs=1e-9)
    assert metrics.logloss(labels, logits) == pytest.approx(run.logloss, abs=1e-9)


@pytest.mark.parametrize(
    ("key", "folder", "message"),
    [
        ("ffffffffffff", RESULTS, "no finished run in .* with a key that begins with 'ffffffffffff'"),
        ("", RESULTS, r"\d+ finished runs in "),
        ("0", "nowhere", "nowhere: no folder of results"),
    ],
)
def test_a_key_that_names_no_run_is_refused(key, folder, message):
    with pytest.raises(UserError, match=message):
        api.predictions(key, folder)


def test_only_evaluations_predict(committed):
    selection = next(RESULTS.glob("*/afm/select-*"))
    with pytest.raises(UserError, match="a stage of role 'select' predicts no test rows"):
        api.predictions(selection.name.rpartition("-")[2], RESULTS)


@pytest.mark.parametrize("suite", ["seeds", "split_leak", "precision"])
def test_a_suites_rows_are_its_own(suite, committed):
    loaded = api.load_suite(suite, results=RESULTS)
    frame = api.results(loaded)
    several = len(loaded.data) > 1
    rows = {f"{m.label} · {d.label}" if several else m.label for m in loaded.methods for d in loaded.data}
    assert set(frame.index.get_level_values("row")) == rows
    assert set(frame.key) <= set(committed.key)
    assert frame.index.is_unique


def test_pretrained_runs_are_not_alike(tmp_path):
    for folder in RESULTS.glob("planted-tiny/flip/evaluate-*"):
        shutil.copytree(folder, tmp_path / folder.relative_to(RESULTS))
    frame = api.results(tmp_path)
    assert frame.groupby("row").size().max() == 1, "nobody knows which of these runs differ in their seed alone"


def test_a_changed_or_misnamed_run_is_refused(tmp_path):
    (folder,) = RESULTS.glob("movielens-1m/xdeepfm/evaluate-*")
    copy = tmp_path / folder.relative_to(RESULTS)
    shutil.copytree(folder, copy)
    (copy / "metrics.json").write_text((copy / "metrics.json").read_text().replace("0.8", "0.9", 1))
    with pytest.raises(UserError, match=r"metrics\.json: changed since the run was finished"):
        api.results(tmp_path)
    copy.rename(copy.with_name("evaluate-s0-aaaaaaaaaaaa"))
    with pytest.raises(UserError, match="holds another run than its name says"):
        api.results(tmp_path)


def test_an_empty_folder_gives_an_empty_frame(tmp_path, suite_file):
    for frame in (api.results(tmp_path), api.results(api.load_suite(suite_file()))):
        assert frame.empty
        assert {"auc", "logloss", "key"} <= set(frame.columns)


def test_from_a_suite_to_its_report_in_one_process(suite_file, tmp_path):
    suite = api.load_suite(suite_file(tune="{budget: 2}", seeds="2", settings=SHORT), only=["model=dcnv2"])
    assert api.plan(suite).choosing
    events = []
    summary = api.run(suite, device="cpu", workers=1, on_event=events.append)
    assert (summary.done, summary.total, summary.failures) == (2, 2, {})
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Planned") == 2, "the trials, then what the search chose"
    finished = [event for event in events if isinstance(event, api.Finished)]
    assert len(finished) == kinds.count("Started") == sum(len(e.stages) for e in events if isinstance(e, api.Planned))
    assert api.run(suite, device="cpu", on_event=pytest.fail) == summary, "nothing runs twice"

    trials = api.trials(suite)
    assert list(trials.state) == ["done", "done"]
    assert trials.chosen.sum() == 1
    assert trials.auc.idxmax() == trials.chosen.idxmax()
    assert trials["settings.learning_rate"].nunique() + trials["settings.embedding_l2"].nunique() > 2
    results = api.results(suite)
    assert list(results.index.get_level_values("seed")) == [0, 1]
    assert [cell.auc for cell in api.status(suite)] == [pytest.approx(results.auc.mean())]

    report = api.report(suite, tmp_path / "reports", figures=False)
    assert {path.name for path in report.paths} == {"mini.md", "mini.tex", "mini.json", "mini.html"}
    cell = next(c for c in report.table.as_dict()["cells"] if c["metric"] == "auc" and c["source"] == "ours")
    assert cell["value"] == pytest.approx(results.auc.mean())
    assert api.verify(suite, tmp_path / "reports").mismatches == ()
    assert api.bundle(suite, tmp_path / "mini.tar")[1] == len(api.plan(suite).stages())


def test_a_failed_trial_and_one_to_run_say_so(suite_file):
    suite = api.load_suite(suite_file(tune="{budget: 3}", settings=SHORT))
    first, *_ = api.plan(suite).stages()
    api.store_of(suite).fail(first, "DivergedError: the training loss is nan", "", {"seconds": 1.5})
    trials = api.trials(suite)
    assert list(trials.state) == ["failed", "to run", "to run"]
    assert trials.seconds[0] == 1.5
    assert np.isnan(trials.auc.astype(float)).all()
    assert not trials.chosen.any()


def test_data_that_is_not_prepared_is_warned_of(suite_file):
    suite = api.load_suite(suite_file(data="[planted-tiny, goodreads]"))
    with pytest.warns(UserWarning, match="not planned: data set 'goodreads' is not prepared"):
        plan = api.plan(suite)
    assert {stage.dataset for stage in plan.stages()} == {"planted-tiny"}
    with pytest.raises(UserError, match="without it: --only dataset=planted-tiny"):
        api.plan(suite, unprepared="raise")
    assert len(api.cost(suite, device="cpu").not_prepared) == 1
