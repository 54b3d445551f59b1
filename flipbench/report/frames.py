"""Finished runs, trials and predictions as data frames."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan.expand import Plan
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage
from flipbench.report.collect import run_of
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store, read_json

INDEX = ["dataset", "order", "users", "protocol", "precision", "row", "seed"]
DATA_CONDITIONS = INDEX[:5]
COLUMNS = ["label", "method", "version", "device", "auc", "logloss", "seconds", "key"]
"""Of every frame of results; the settings follow as ``settings.NAME``, ``pretrain.NAME`` and ``backbone.NAME``."""


def results_of_plan(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a finished run of a suite, indexed by :data:`INDEX`.

    ``row`` is the suite's, with the data set where the suite has several: ``dcnv2 · movielens-1m@random``.

    Raises:
        UserError: a run's files are missing, damaged or changed.
    """
    several = len(plan.suite.data) > 1
    records = []
    for cell in plan.cells:
        label = cell.method.label
        row = {"row": f"{label} · {cell.data.label}" if several else label, "label": label}
        records += [row | _record(stage, store) for stage in cell.evaluations if store.done(stage)]
    return _indexed(records)


def results_of_folder(store: Store) -> pd.DataFrame:
    """One row a finished run of a results folder, whatever suite it was for, indexed by :data:`INDEX`.

    ``row`` alone tells unlike runs apart, so that no mean over it mixes them: it is the method and, where they differ,
    data set, order, users, protocol and precision, as in ``dcnv2 · movielens-1m · random``; where runs of one such name
    differ in the method's version or, by a short digest, in anything else but the seed, that too.

    Raises:
        UserError: a run's files are missing, damaged or changed, or a folder's name is not of the run that it holds.
    """
    stages = [stage for stage in _stages(store) if stage.role == "evaluate"]
    records = [{"row": "", "label": stage.method} | _record(stage, store) for stage in stages]
    if records:
        conditions = pd.DataFrame([_conditions(stage) for stage in stages])
        data = pd.Series("", index=conditions.index)
        for name in DATA_CONDITIONS:
            data = _where_they_differ(data, conditions[name])
        rows = pd.Series([stage.method for stage in stages]) + data
        for name in ("version", "rest"):
            rows = _where_they_differ(rows, conditions[name])
        records = [record | {"row": row} for record, row in zip(records, rows, strict=True)]
    return _indexed(records)


def _where_they_differ(labels: "pd.Series[str]", values: "pd.Series[str]") -> "pd.Series[str]":
    """Labels, with its value added to each whose rows have several values."""
    differ = values.groupby(labels).transform("nunique") > 1
    return labels.where(~differ, labels + " · " + values)


def _indexed(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records)
    settings = sorted(set(frame.columns) - {*INDEX, *COLUMNS})
    return frame.reindex(columns=[*INDEX, *COLUMNS, *settings]).set_index(INDEX).sort_index()


def trials_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a trial of each search, in the order that they are tried.

    Columns: ``row``, ``dataset``, ``trial`` (from 0), ``state`` (``done``, ``failed``, ``to run``), ``chosen``, ``auc``
    and ``logloss`` of the best epoch on the validation rows, ``seconds``, ``key``, and the point's settings.
    """
    first = ["row", "dataset", "trial", "state", "chosen", "auc", "logloss", "seconds", "key"]
    records: list[dict[str, Any]] = []
    for cell in plan.cells:
        for number, stage in enumerate(cell.trials):
            assert cell.search is not None
            done, failure = store.done(stage), store.failure(stage)
            best = store.metrics(stage)["best"] if done else {}
            env = store.read(stage, "env.json") if done else (failure or {}).get("env", {})
            records.append(
                {
                    "row": cell.method.label,
                    "dataset": cell.data.label,
                    "trial": number,
                    "state": "done" if done else "failed" if failure else "to run",
                    "chosen": number == cell.search.best,
                    "auc": best.get("auc"),
                    "logloss": best.get("logloss"),
                    "seconds": env.get("seconds"),
                    "key": stage.key,
                    **_point_columns(cell.search.points[number]),
                }
            )
    frame = pd.DataFrame(records)
    return frame.reindex(columns=[*first, *sorted(set(frame.columns) - set(first))])


def predictions_frame(key: str, store: Store) -> pd.DataFrame:
    """The test rows of the run whose key begins with ``key``: ``label`` bool, ``group`` int32, ``logit`` float32.

    Raises:
        UserError: no such run or several, it predicts nothing, or its files were changed.
    """
    folders = [folder for folder in store.find(key) if folder.is_dir()]
    if not folders:
        raise UserError(f"no finished run in {store.root} whose key begins with '{key}'")
    if len(folders) > 1:
        raise UserError(f"'{key}' begins the keys of {len(folders)} runs: {', '.join(map(str, folders))}")
    spec = read_json(folders[0] / "spec.json")
    stage = Stage(spec["role"], spec)
    if stage.role != "evaluate":
        raise UserError(f"{folders[0]}: a '{stage.role}' stage predicts no test rows; the run's last stage does")
    predictions = Evidence(store).predictions(stage)
    return pd.DataFrame(
        {"label": predictions.labels, "group": predictions.groups, "logit": predictions.logits}, copy=True
    )


def _stages(store: Store) -> list[Stage]:
    """Every finished stage of a results folder, with the stages before it as far as they are there."""
    specs: dict[str, dict[str, Any]] = {}
    for folder in store.finished_folders():
        spec = read_json(folder / "spec.json")
        try:
            if store.folder(stage := Stage(spec["role"], spec)) != folder:
                raise ValueError("the key is another one")
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{folder}: holds another run than its name says") from None
        specs[stage.key] = spec

    def stage_of(key: str) -> Stage:
        spec = specs[key]
        parents = {name: stage_of(parent) for name, parent in spec["parents"].items() if parent in specs}
        return Stage(spec["role"], spec, parents)

    return [stage_of(key) for key in specs]


def _record(stage: Stage, store: Store) -> dict[str, Any]:
    spec, scored, env = stage.spec, run_of(stage, store), store.read(stage, "env.json")
    backbone, pretraining = spec.get("backbone"), _pretraining(stage)
    settings = {
        "settings": spec["settings"],
        "pretrain": pretraining.spec["settings"] if pretraining else {},
        "backbone": {"name": backbone["name"], **backbone["settings"]} if backbone else {},
    }
    return {
        "dataset": stage.dataset,
        "order": spec["order"],
        "users": float(spec.get("users", 1.0)),
        "protocol": spec["protocol"],
        "precision": spec["settings"].get("precision", "float32"),
        "seed": stage.seed,
        "method": stage.method,
        "version": spec["version"],
        "device": env.get("device"),
        "auc": scored.auc,
        "logloss": scored.logloss,
        "seconds": env.get("seconds"),
        "key": stage.key,
        **_cells(flatten(settings)),
    }


def _conditions(stage: Stage) -> dict[str, str]:
    """All that makes a run unlike others of its method, as words of a label: everything in its key but the seed."""
    spec = stage.spec
    settings = {name: value for name, value in spec["settings"].items() if name != "precision"}
    named = ("dataset", "order", "users", "protocol", "version", "settings", "seed", "role", "parents")
    rest: dict[str, Any] = {name: value for name, value in spec.items() if name not in named}
    rest["settings"] = settings
    if pretraining := _pretraining(stage):
        rest["pretrain"] = {n: v for n, v in pretraining.spec.items() if n not in ("seed", "parents")}
    elif "plm" in spec and not _is_whole(stage):  # what was pretrained is not known here: alike is only what is equal
        rest["parents"] = spec["parents"]
    return {
        "dataset": stage.dataset,
        "order": spec["order"],
        "users": f"{100 * spec.get('users', 1.0):g} % of users",
        "protocol": spec["protocol"],
        "precision": spec["settings"].get("precision", "float32"),
        "version": f"version {spec['version']}",
        "rest": key_of(rest)[:8],
    }


def _pretraining(stage: Stage) -> Stage | None:
    fitted = stage.parents.get("fit")
    return fitted.parents.get("pretrain") if fitted else None


def _is_whole(stage: Stage) -> bool:
    """Whether all the stages behind a stage are known."""
    return len(stage.parents) == len(stage.spec["parents"]) and all(map(_is_whole, stage.parents.values()))


def _point_columns(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point's settings by column: those of the pretraining as ``pretrain.NAME``, others as ``settings.NAME``."""
    flat = flatten(point).items()
    return _cells({n if n.startswith("pretrain.") else f"settings.{n}": v for n, v in flat})


def _cells(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a frame's cells: lists, which cannot be grouped by, as JSON."""
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in settings.items()}
