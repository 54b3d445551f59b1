"""Runs in an MLflow store read back equal, are written once, and what goes wrong is one line."""

import sys

import pytest
from mlflow import MlflowClient

from flipbench import api
from flipbench.errors import UserError
from flipbench.report.mlflow_store import KEY


@pytest.fixture
def suite(suite_file, stored_runs):
    methods = "[flip: {plm: small, backbone: autoint}, deepfm: {hidden: [8, 4]}]"
    loaded = api.load_suite(suite_file(methods=methods, seeds="2", refit="true"))
    stored_runs(api.plan(loaded), api.store_of(loaded), {"flip": 1.0, "deepfm": 0.8})
    return loaded


@pytest.fixture
def files(tmp_path, monkeypatch):
    """MLflow's store of files, which it keeps behind this switch."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path / 'mlruns'}"


def runs_in(uri):
    client = MlflowClient(uri)
    return {
        run.data.tags[KEY]: run for run in client.search_runs([client.get_experiment_by_name("mini").experiment_id])
    }


def check_equal(uri, suite):
    logged = runs_in(uri)
    frame = api.results(suite).reset_index()
    assert logged.keys() == set(frame["key"])
    for run in frame.to_dict("records"):
        data, info = logged[run["key"]].data, logged[run["key"]].info
        assert data.metrics == {name: run[name] for name in ("auc", "logloss", "seconds")}
        known = {
            name: str(value) for name, value in run.items() if name not in (*data.metrics, "key") and value == value
        }
        assert data.params == known
        assert (info.run_name, info.status) == (f"{run['row']} s{run['seed']}", "FINISHED")
    assert "pretrain.icl" in logged[frame["key"][frame["label"] == "flip"].iloc[0]].data.params
    assert "pretrain.icl" not in logged[frame["key"][frame["label"] == "deepfm"].iloc[0]].data.params


def test_runs_read_back_equal_and_are_written_once(suite, files):
    assert api.log_to_mlflow(suite, files) == (4, 0)
    check_equal(files, suite)
    assert api.log_to_mlflow(suite, files) == (0, 4)
    assert len(runs_in(files)) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of MLflow and what it uses
def test_a_database_takes_them_too(suite, tmp_path, cli):
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    code, out, _ = cli("export", suite.file, "--mlflow", uri)
    assert (code, out) == (0, f"mini: 4 runs written to {uri}, 0 were there\n")
    check_equal(uri, suite)


def test_a_run_that_was_stopped_halfway_is_written_anew(suite, files, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", stop)
        with pytest.raises(KeyboardInterrupt):
            api.log_to_mlflow(suite, files)
    assert api.log_to_mlflow(suite, files) == (4, 0)


def test_a_store_that_cannot_be_used_is_one_line(suite, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(UserError, match=r"--mlflow file:.*: MlflowException: .*sqlite:///mlflow.db.*MLFLOW_ALLOW_FILE"):
        api.log_to_mlflow(suite, f"file://{tmp_path}/mlruns")
    with pytest.raises(UserError, match="--mlflow nowhere://x: "):
        api.log_to_mlflow(suite, "nowhere://x")


def test_without_mlflow_it_says_what_to_install(suite, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"needs MLflow \(.*\): pip install 'flipbench\[mlflow\]'"):
        api.log_to_mlflow(suite, "sqlite:///x.db")
