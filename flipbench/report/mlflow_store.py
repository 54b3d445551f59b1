"""Finished runs in an MLflow store."""

import os
from typing import TYPE_CHECKING, Any

import pandas as pd

from flipbench.errors import UserError, described

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS = ("auc", "logloss", "seconds")
KEY = "flipbench.key"
"""The tag that says which run an MLflow run is."""

MOST = 100
"""Parameters that a server takes at once."""


def log_runs(suite: str, results: pd.DataFrame, uri: str) -> tuple[int, int]:
    """Write what :func:`flipbench.api.results` gives, one MLflow run a run, and leave alone those that are there.

    Metrics are ``auc``, ``logloss`` and ``seconds``; parameters all settings and what else tells unlike runs apart; a
    tag has the run's key. A run that was stopped while it was written is written anew.

    Args:
        suite: names the experiment.

    Returns:
        How many were written, and how many were there.

    Raises:
        UserError: no finished run, MLflow is not installed, or the store cannot be used.
    """
    if results.empty:
        raise UserError(f"{suite}: no finished run to write to MLflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # what is written here is nobody else's business
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError(f"--mlflow needs MLflow ({error}): pip install 'flipbench[mlflow]'") from None
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(suite)
        experiment = found.experiment_id if found else client.create_experiment(suite)
        written = _keys(client, experiment)
        new = [run for run in results.reset_index().to_dict("records") if run["key"] not in written]
        for run in new:
            _log(client, experiment, run)
    except (MlflowException, OSError) as error:
        raise UserError(f"--mlflow {uri}: {described(error)}") from error
    return len(new), len(results) - len(new)


def _keys(client: "MlflowClient", experiment: str) -> set[str]:
    """Of the runs that are finished in an experiment."""
    keys: set[str] = set()
    token = None
    while True:
        page = client.search_runs([experiment], "attributes.status = 'FINISHED'", page_token=token)
        keys |= {run.data.tags[KEY] for run in page if KEY in run.data.tags}
        if not (token := page.token):
            return keys


def _log(client: "MlflowClient", experiment: str, run: dict[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    known = {name: value for name, value in run.items() if not pd.isna(value)}
    name = f"{run['row']} s{run['seed']}"
    created = client.create_run(experiment, tags={KEY: run["key"]}, run_name=name).info
    metrics = [Metric(each, float(known[each]), created.start_time, 0) for each in METRICS if each in known]
    params = [Param(each, str(value)) for each, value in known.items() if each not in (*METRICS, "key")]
    for first in range(0, len(params), MOST):
        client.log_batch(created.run_id, metrics if first == 0 else (), params[first : first + MOST])
    client.set_terminated(created.run_id)
