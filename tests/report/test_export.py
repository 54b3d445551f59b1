"""What is exported reads back as what the API gives."""

import json
import re

import pandas as pd
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from pandas.testing import assert_frame_equal

from flipbench import api
from flipbench.errors import UserError

ROWS = {"flip": 1.0, "deepfm": 0.8, "constant": 0.5}
CHANGES = {
    "methods": "[flip: {plm: small, backbone: autoint}, deepfm: {hidden: [8, 4]}, constant]",
    "seeds": "2",
    "refit": "true",
}


@pytest.fixture
def suite(suite_file, stored_runs):
    """A suite of three unlike rows on two data sets, all but the last cell finished."""
    loaded = api.load_suite(suite_file(data="[planted-tiny, planted-tiny: {order: random}]", **CHANGES))
    planned, store = api.plan(loaded), api.store_of(loaded)
    most = type(planned)(loaded, planned.cells[:-1])
    stored_runs(most, store, ROWS)
    return loaded


def plain(frame):
    """A frame whose missing values are all None, whatever type says so."""
    return frame.astype(object).where(frame.notna(), None)


def read_csv(path, like):
    return pd.read_csv(path, dtype=like.dtypes.to_dict())


def test_tables_read_back_equal(suite, tmp_path):
    written = api.export(suite, tmp_path / "out")
    frame = api.results(suite).reset_index()
    assert len(frame) == 10
    parquet = pd.read_parquet(tmp_path / "out" / "mini.runs.parquet")
    assert_frame_equal(plain(parquet), plain(frame), check_dtype=False)
    assert_frame_equal(read_csv(tmp_path / "out" / "mini.runs.csv", parquet), parquet, check_exact=True)
    assert str(parquet["pretrain.icl"].dtype) == "boolean", "not text, where some rows have none"
    assert {path.name for path in written if path.parent.name == "out"} == {
        "mini.runs.csv",
        "mini.runs.parquet",
        "mini.predictions.parquet",
    }
    before = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in api.export(suite, tmp_path / "out")} == before


def test_predictions_read_back_equal(suite, tmp_path):
    api.export(suite, tmp_path)
    predictions = pd.read_parquet(tmp_path / "mini.predictions.parquet")
    results = api.results(suite)
    assert set(predictions["key"]) == set(results["key"])
    for key, rows in predictions.groupby("key"):
        of_run = api.predictions(key, suite.outputs.results)
        assert_frame_equal(rows.drop(columns="key").reset_index(drop=True), of_run)


def test_trials_read_back_equal(suite_file, tmp_path):
    short = "{max_epochs: 1, batch_size: 1024, embedding_dim: 4, hidden: [4]}"
    suite = api.load_suite(suite_file(tune="{budget: 2}", settings=short, refit="false"))
    assert api.run(suite, device="cpu", workers=1).failures == {}
    api.export(suite, tmp_path / "out")
    parquet = pd.read_parquet(tmp_path / "out" / "mini.trials.parquet")
    assert_frame_equal(plain(parquet), plain(api.trials(suite)), check_dtype=False)
    assert_frame_equal(read_csv(tmp_path / "out" / "mini.trials.csv", parquet), parquet, check_exact=True)


def test_a_setting_of_several_types_is_json(suite, tmp_path, monkeypatch):
    frame = api.results(suite).reset_index()
    frame["settings.mixed"] = [1, "own", True, None, 0.5] * 2
    monkeypatch.setattr("flipbench.report.export.results_of_plan", lambda plan, store: frame.set_index("dataset"))
    api.export(suite, tmp_path)
    read = pd.read_parquet(tmp_path / "mini.runs.parquet")["settings.mixed"]
    assert [json.loads(value) for value in read.dropna()] == [1, "own", True, 0.5] * 2


def test_results_for_the_hub_read_back_equal(suite, tmp_path):
    api.export(suite, tmp_path, {"planted-tiny": "org/planted"})
    files = {path.stem: path for path in (tmp_path / ".eval_results").iterdir()}
    assert files.keys() == {"mini-flip", "mini-deepfm", "mini-constant"}
    results = api.results(suite)
    for row, places in {"flip": ["", "random-"], "constant": [""]}.items():
        entries = parse_eval_result_entries(yaml.safe_load(files[f"mini-{row}"].read_text()))
        assert [(e.dataset_id, e.task_id) for e in entries] == [
            ("org/planted", f"{place}{metric}") for place in places for metric in ("auc", "logloss")
        ], "a cell that is not finished is none"
        of_row = results[results.label == row].reset_index().groupby("order")
        for metric in ("auc", "logloss"):
            means = of_row[metric].mean()
            expected = [means["chronological"], *([means["random"]] if len(places) > 1 else [])]
            assert [e.value for e in entries if e.task_id.endswith(metric)] == pytest.approx(expected, abs=1e-15)
        assert all("2 seeds, mean, sd" in e.notes and "held-out" in e.notes for e in entries)


def test_a_failed_run_leaves_no_mean_of_the_others(suite, tmp_path):
    store, cell = api.store_of(suite), api.plan(suite).cells[-1]
    store.fail(cell.evaluations[0], "DivergedError", "", {})
    store.fail(cell.evaluations[1], "DivergedError", "", {})
    api.export(suite, tmp_path)
    tasks = [
        e["dataset"]["task_id"] for e in yaml.safe_load((tmp_path / ".eval_results/mini-constant.yaml").read_text())
    ]
    assert tasks == ["auc", "logloss"]


def test_labels_that_are_no_file_names_are_made_some(suite_file, stored_runs, tmp_path):
    methods = "[../a: {method: dcnv2}, '..-a': {method: deepfm}]"
    suite = api.load_suite(suite_file(methods=methods))
    stored_runs(api.plan(suite), api.store_of(suite), {"../a": 1.0, "..-a": 0.5})
    api.export(suite, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / ".eval_results").iterdir())
    assert len(names) == 2
    assert all(name.startswith("mini-") for name in names)


def test_the_command_line_says_what_it_wrote(suite, tmp_path, cli, suite_file):
    path = suite.file
    code, out, err = cli("export", path, "--to", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[0] == str(tmp_path / "out" / "mini.runs.csv")
    assert err == "in .eval_results data sets have their names here; for the hub's: --hub planted-tiny=ORG/NAME\n"
    code, _, err = cli("export", path, "--to", tmp_path / "out", "--hub", "planted-tiny=a/b")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "export: nothing to write to; give --to DIR, --mlflow URI or both"),
        (
            ["--to", "x", "--hub", "planted-tny=a/b"],
            "the suite has no data set 'planted-tny'; did you mean 'planted-tiny'?",
        ),
        (["--to", "x", "--hub", "a/b"], "expected NAME=ID"),
        (["--to", "x"], "mini: no finished run in .* to export"),
        (["--mlflow", "sqlite:///x.db"], "mini: no finished run to write to MLflow"),
    ],
)
def test_mistakes_are_one_line(options, line, suite_file, refused, tmp_path, monkeypatch):
    path = suite_file()
    monkeypatch.chdir(tmp_path)
    assert re.search(line, refused("export", path, *options))


def test_a_folder_that_cannot_be_written_is_named(suite, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: the export cannot be written"):
        api.export(suite, tmp_path / "file")
