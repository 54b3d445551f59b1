"""Finished runs, trials and predictions as data frames."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan.expand import Plan
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage, is_refitted, validation_of
from flipbench.report.collect import run_of
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

INDEX = ["dataset", "order", "users", "protocol", "validation", "refit", "precision", "row", "seed"]
COLUMNS = ["label", "method", "version", "device", "auc", "logloss", "seconds", "key"]
"""Of every frame of results; the settings follow as ``settings.NAME``, ``pretrain.NAME`` and ``backbone.NAME``."""

TRIAL_COLUMNS = ["row", "dataset", "trial", "state", "chosen", "auc", "logloss", "seconds", "key"]
"""``trial`` counts from 0; ``state`` is ``done``, ``failed`` or ``to run``; the metrics are those of the best epoch on
the validation rows. The point's settings follow."""


def results_of_plan(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a finished run of a suite, indexed by :data:`INDEX`.

    ``row`` is the suite's, with the data set where the suite has several: ``dcnv2 · movielens-1m@random``.

    Raises:
        UserError: a run's files are missing, damaged or changed.
    """
    several, evidence = len(plan.suite.data) > 1, Evidence(store)
    records = []
    for cell in plan.cells:
        label = cell.method.label
        row = {"row": f"{label} · {cell.data.label}" if several else label, "label": label}
        records += [row | _record(stage, evidence) for stage in cell.evaluations if store.done(stage)]
    return _frame(records, INDEX + COLUMNS).set_index(INDEX).sort_index()


def results_of_folder(store: Store) -> pd.DataFrame:
    """One row a finished run of a results folder, whatever suite it was for, indexed by :data:`INDEX`.

    ``row`` alone tells unlike runs apart, so that no mean over it mixes them: it is the method and, where they differ,
    data set, order, users, protocol, validation part, refit and precision, as in ``dcnv2 · movielens-1m · random``;
    where runs of one such name differ in the method's version or, by a short digest, in anything else but the seed,
    that too.

    Raises:
        UserError: a run's files are missing, damaged or changed, or a folder's name is not of the run that it holds.
    """
    stages = [stage for stage in _stages(store) if stage.role == "evaluate"]
    evidence = Evidence(store)
    frame = _frame([{"label": stage.method} | _record(stage, evidence) for stage in stages], INDEX + COLUMNS)
    if stages:
        conditions = pd.DataFrame([_conditions(stage) for stage in stages])
        data = pd.Series("", index=frame.index)
        for name in ("dataset", "order", "users", "protocol", "validation", "refit", "precision"):
            data = _where_they_differ(data, conditions[name])
        frame["row"] = frame["label"] + data
        for name in ("version", "rest"):
            frame["row"] = _where_they_differ(frame["row"], conditions[name])
    return frame.set_index(INDEX).sort_index()


def trials_of(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a trial of each search, in the order that they are tried; see :data:`TRIAL_COLUMNS`."""
    records: list[dict[str, Any]] = []
    for cell in plan.cells:
        for number, stage in enumerate(cell.trials):
            assert cell.search is not None
            done, failure = store.done(stage), store.failure(stage)
            best = store.best(stage) if done else {}
            env = store.env(stage) if done else (failure or {}).get("env", {})
            point = flatten(cell.search.points[number]).items()
            record = {
                "row": cell.method.label,
                "dataset": cell.data.label,
                "trial": number,
                "state": "done" if done else "failed" if failure else "to run",
                "chosen": number == cell.search.best,
                "auc": best.get("auc"),
                "logloss": best.get("logloss"),
                "seconds": env.get("seconds"),
                "key": stage.key,
            }
            records.append(record | _cells({n if n.startswith("pretrain.") else f"settings.{n}": v for n, v in point}))
    return _frame(records, TRIAL_COLUMNS)


def predictions_of(key: str, store: Store) -> pd.DataFrame:
    """The test rows of the run whose key begins with ``key``: ``label`` bool, ``group`` int32, ``logit`` float32.

    Raises:
        UserError: no such run or several, it predicts nothing, or its files were changed.
    """
    folders = [folder for folder in store.find(key) if folder.is_dir()]
    if len(folders) != 1:
        several = f"{len(folders)} finished runs" if folders else "no finished run"
        raise UserError(f"{several} in {store.root} with a key that begins with '{key}'")
    stage = store.stage_at(folders[0])
    if stage.role != "evaluate":
        raise UserError(f"{folders[0]}: a stage of role '{stage.role}' predicts no test rows; 'evaluate' does")
    predictions = Evidence(store).predictions(stage)
    columns = {"label": predictions.labels, "group": predictions.groups, "logit": predictions.logits}
    return pd.DataFrame(columns, copy=True)


def _stages(store: Store) -> list[Stage]:
    """Every finished stage of a results folder, with the stages before it as far as they are there."""
    alone = {stage.key: stage for stage in store.finished()}

    def with_parents(stage: Stage) -> Stage:
        parents = {name: with_parents(alone[key]) for name, key in stage.spec["parents"].items() if key in alone}
        return replace(stage, parents=parents)

    return [with_parents(stage) for stage in alone.values()]


def _record(stage: Stage, evidence: Evidence) -> dict[str, Any]:
    spec, scored, env = stage.spec, run_of(stage, evidence), evidence.store.env(stage)
    backbone, pretraining = spec.get("backbone"), _pretraining(stage)
    settings = {
        "settings": spec["settings"],
        "pretrain": pretraining.spec["settings"] if pretraining else {},
        "backbone": {"name": backbone["name"], **backbone["settings"]} if backbone else {},
    }
    return {
        **{name: spec[name] for name in ("dataset", "order", "protocol", "seed", "method", "version")},
        "users": float(spec.get("users", 1.0)),
        **_selection(spec),
        "precision": spec["settings"].get("precision", "float32"),
        "device": env.get("device"),
        "auc": scored.auc,
        "logloss": scored.logloss,
        "seconds": env.get("seconds"),
        "key": stage.key,
        **_cells(flatten(settings)),
    }


def _conditions(stage: Stage) -> dict[str, str]:
    """All that makes a run unlike others of its method, as words of a label: everything in its key but the seed."""
    spec, pretraining = stage.spec, _pretraining(stage)
    named = ("dataset", "order", "users", "protocol", "validation", "refit", "version", "seed", "role", "parents")
    rest = {name: value for name, value in spec.items() if name not in named}
    if pretraining:
        rest["pretrain"] = {name: value for name, value in pretraining.spec.items() if name not in ("seed", "parents")}
    elif "plm" in spec and not _is_whole(stage):  # its pretraining may be one that is not known here
        rest["parents"] = spec["parents"]
    return {
        "dataset": stage.dataset,
        "order": spec["order"],
        "users": f"{100 * spec.get('users', 1.0):g} % of users",
        "protocol": spec["protocol"],
        "validation": f"selected on {_selection(spec)['validation']}",
        "refit": "refitted" if _selection(spec)["refit"] else "not refitted",
        "precision": spec["settings"].get("precision", "float32"),
        "version": f"version {spec['version']}",
        "rest": key_of(rest)[:8],
    }


def _selection(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What rows a run's epochs were selected on, and whether it was then fitted on all training rows."""
    held_out = spec["protocol"] == "held-out"
    return {"validation": validation_of(spec) if held_out else "test", "refit": held_out and is_refitted(spec)}


def _where_they_differ(labels: "pd.Series[str]", values: "pd.Series[str]") -> "pd.Series[str]":
    """Labels, with its value added to each whose rows have several values."""
    differ = values.groupby(labels).transform("nunique") > 1
    return labels.where(~differ, labels + " · " + values)


def _pretraining(stage: Stage) -> Stage | None:
    fitted = stage.parents.get("fit")
    return fitted.parents.get("pretrain") if fitted else None


def _is_whole(stage: Stage) -> bool:
    """Whether all the stages behind a stage are known."""
    return len(stage.parents) == len(stage.spec["parents"]) and all(map(_is_whole, stage.parents.values()))


def _frame(records: list[dict[str, Any]], first: list[str]) -> pd.DataFrame:
    """Records with the columns ``first``, whether or not there are any, and all others by name."""
    frame = pd.DataFrame(records)
    return frame.reindex(columns=[*first, *sorted(set(frame.columns) - set(first))])


def _cells(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a frame's cells: lists, which cannot be grouped by, as JSON."""
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in settings.items()}
