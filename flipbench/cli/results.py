"""``flipbench status``, ``ledger``, ``show`` and ``explain``: what the run folders hold."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flipbench import api
from flipbench.cli.output import print_json, print_table, say, say_unchecked, suite_of, tell
from flipbench.cost.plan_cost import counted
from flipbench.errors import UserError
from flipbench.plan.settings import flatten
from flipbench.store.code import line_of
from flipbench.store.runs import Store

METRIC_NAMES = {"auc": "AUC", "logloss": "Logloss"}

PROVENANCES = {
    "overridden": "settings that are stated, and that the suite sets otherwise",
    "guess": "settings that neither the paper nor released code states",
    "searched": "settings chosen by the search",
    "code": "settings as released code states, where the paper does not",
}
"""Titles of the sections of settings that ``explain`` prints."""


def status(args: argparse.Namespace) -> None:
    """Print a line a cell."""
    suite = suite_of(args)
    planned = api.plan(suite, unprepared="skip")
    cells = api.status(planned)
    if changed := api.changed_code(planned):
        tell(line_of(changed))
    if any(cell.auc is not None for cell in cells):
        say_unchecked("AUC")
    if args.json:
        document = {"suite": suite.suite, "protocol": suite.protocol, "results": suite.outputs.results}
        print_json({**document, "cells": [asdict(cell) for cell in cells]})
        return
    rows = [
        [c.dataset, c.method, c.trials or "", f"{c.done}/{c.expected}", _digits(c.auc), "; ".join(c.failed)]
        for c in cells
    ]
    print_table(["data set", "method", "trials", "runs", "AUC", "failed"], rows, ["trials", "runs", "AUC"])
    if missing := {data.label for data in suite.data} - {cell.dataset for cell in cells}:
        tell(f"not prepared here: {', '.join(sorted(missing))}")
    say(f"{suite.suite} · {suite.protocol}: {sum(c.done for c in cells)} of {suite.runs * len(cells)} runs done")


def ledger(args: argparse.Namespace) -> None:
    """Print what every search cost and found; expected bests are at the trials that all methods have done."""
    suite = suite_of(args)
    entries = api.ledger(suite)
    assert suite.tune is not None
    equal = {e.dataset: min(other.done for other in entries if other.dataset == e.dataset) for e in entries}
    say_unchecked("validation figures")
    if args.json:
        tune = suite.tune.model_dump()
        print_json({"suite": suite.suite, "tune": tune, "equal": equal, "searches": [asdict(e) for e in entries]})
        return
    rows = [
        [
            e.dataset,
            e.method,
            f"{e.done}/{suite.tune.budget}",
            str(e.failed or ""),
            str(e.missing or ""),
            f"{e.device_hours:.2f}",
            _digits(e.best),
            f"{e.expected[trials - 1]:.4f} of {trials}" if (trials := equal[e.dataset]) else "—",
            "; ".join(e.borders),
        ]
        for e in entries
    ]
    best = f"best {suite.tune.select}"
    columns = ["data set", "method", "trials", "failed", "missing", "device-hours", best, "expected", "at a border"]
    print_table(columns, rows, columns[2:8])
    say(f"{suite.suite} · {suite.tune.search}, {suite.tune.budget} points a method, chosen on validation rows")
    if any(e.missing for e in entries):
        say("missing: points that a row's space has less than the budget; search: sobol refines it between its points")


def show(args: argparse.Namespace) -> None:
    """Print the documents of the runs and failures whose keys begin so."""
    folder = args.results or "results"
    store = Store(Path(folder))
    paths = store.find(args.key)
    if not paths:
        hint = "(flipbench plan SUITE --json lists keys)"
        raise UserError(f"no run in {folder} whose key begins with '{args.key}' {hint}")
    documents = [{"path": str(path), **_documents(store, path)} for path in paths]
    say_unchecked("figures")
    if args.json:
        print_json(documents)
        return
    for document in documents:
        say(document.pop("path"))
        for name, part in document.items():
            say(f"  {name}")
            for line in (line for key, value in part.items() for line in _lines(key, value)):
                say(f"    {line}")


def _documents(store: Store, path: Path) -> dict[str, Any]:
    if path.is_dir():
        stage = store.stage_at(path)
        return {"spec": dict(stage.spec), "metrics": store.metrics(stage), "env": store.env(stage)}
    failure = store.document(path)
    return {**{name: part for name, part in failure.items() if isinstance(part, dict)}, "failure": failure}


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [key, *(f"  {json.dumps(item)}" for item in value)]
    if isinstance(value, dict):
        return [key, *(f"  {k}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())]
    if isinstance(value, str) and "\n" in value.strip():  # a traceback
        return [key, *(f"  {line}" for line in value.splitlines())]
    return [f"{key}: {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"]


def explain(args: argparse.Namespace) -> None:
    """Print a cell's metrics, runs, differences, settings and trials."""
    record = api.explain(suite_of(args), args.row, args.dataset)
    if args.json:
        print_json(record)
        return
    say(f"{record['row']} · {record['dataset']} · {record['suite']} · {record['protocol']}")
    for metric, shown in record["metrics"].items():
        say(f"  {METRIC_NAMES[metric]:8} {_metric(shown, len(record['runs']))}")
    if record["sampling_error"]:
        say(f"  standard error of one AUC on these test rows, were they independent: {record['sampling_error']:.4f}")
    for reason in record["failed"]:
        say(f"  failed: {reason}")
    runs = [
        [str(r["seed"]), r["key"][:12], _digits(r["auc"]), _digits(r["logloss"]), str(r["epochs"]), str(r["device"])]
        for r in record["runs"]
    ]
    _section("runs", ["seed", "key", "AUC", "logloss", "epochs", "device"], runs)
    differences = []
    for d in record["differences"]:
        what = [f"{d['row']} − {d['against']}", METRIC_NAMES[d["metric"]]]
        after = "—" if d["adjusted"] is None else f"{d['adjusted']:.2g}"
        told = [f"{d['value']:+.4f}", _interval(d), f"{d['p']:.2g}", after, str(d["seeds"]), *_resolved(d["reach"])]
        differences.append([*what, *told])
    columns = ["row less other", "metric", "difference", "95 %", "p", "p after Holm", "seeds"]
    _section("differences", [*columns, "resolvable", "whatever the seeds"], differences)
    for provenance, title in PROVENANCES.items():
        settings = [
            [s["name"], str(s["value"]), str(s["default"]), f"{s['source']}: {s['where']}"]
            for s in record["settings"]
            if s["provenance"] == provenance
        ]
        _section(title, ["setting", "here", "declared", "source"], settings)
    trials = [
        [t["key"][:12], _digits(t["auc"]), ", ".join(f"{n} {v}" for n, v in flatten(t["settings"]).items())]
        for t in sorted(record["trials"], key=lambda t: -(t["auc"] or 0.0))
    ]
    _section("trials, as they recorded themselves", ["key", "validation AUC", "settings"], trials)


def _metric(shown: dict[str, Any], seeds: int) -> str:
    spread, verdict = f" ± {shown['sd']:.4f}" if shown["sd"] else "", shown["verdict"]
    text = f"{shown['text']}{spread} ({counted(seeds, 'seed')})"
    if shown["share"] is not None:
        text += f"  {round(shown['share'])} % of the way from floor to best"
    if shown["paper"] is None or verdict is None:
        return text
    text += f"  paper {shown['paper']:.4f}  difference {verdict['difference']:+.4f}"
    if verdict["low"] is not None:
        text += f" {_interval(verdict)}"
    if verdict["reach"]:
        least = "smallest difference from the paper that becomes a verdict"
        text += " ({} {}, whatever the seeds {})".format(least, *_resolved(verdict["reach"]))
    needed = "" if verdict["seeds_needed"] is None else f"; {verdict['seeds_needed']} seeds for power .8"
    return f"{text} → {verdict['outcome']} (margin ±{verdict['margin']:g}{needed})"


def _resolved(reach: dict[str, Any] | None) -> list[str]:
    """The smallest resolvable difference with these seeds, and whatever the seeds."""
    if reach is None:
        return ["—", "—"]
    at_best = reach["difference_at_best"]
    return [_digits(reach["difference"]), "not estimable" if at_best is None else _digits(at_best)]


def _interval(bounds: dict[str, Any]) -> str:
    return f"[{bounds['low']:+.4f}, {bounds['high']:+.4f}]"


def _digits(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _section(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        print()
        say(title)
        print_table(columns, rows)
