"""What is behind each cell, from :func:`flipbench.report.explain.explain`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, cast

from flipbench.paper import dataset_name, row_name
from flipbench.plan.expand import Cell, Plan
from flipbench.report.cells import SuiteResults
from flipbench.report.columns import METRIC_NAMES, TableMetric
from flipbench.report.explain import explain
from flipbench.report.html.elements import Html, grid, interval, join, plural, probability, signed, tag
from flipbench.report.significance import Evidence
from flipbench.report.table import ResultTable
from flipbench.store.runs import Store

Ids = Mapping[tuple[str, str], str]
"""Of the evidence, by row and data set."""

_PROVENANCES = {
    "overridden": "Stated, and set otherwise here",
    "guess": "Neither the paper nor released code states it",
    "searched": "Chosen by the search",
    "code": "As released code states",
    "paper": "As the paper states",
}


def ids(results: SuiteResults) -> Ids:
    """An id for each row and data set that anything was run of; the number keeps apart what the words do not."""
    return {
        (c.method, c.dataset): re.sub(r"[^A-Za-z0-9_.-]+", "-", f"e{number}-{c.method}-{c.dataset}")
        for number, c in enumerate(results.cells, 1)
    }


def evidence(plan: Plan, store: Store, results: SuiteResults, table: ResultTable) -> Html:
    """A folded part for each cell with runs, finished or failed; under the id that :func:`ids` gives it.

    Raises:
        UserError: as :func:`flipbench.report.explain.explain`.
    """
    stored, places, parts = Evidence(store), ids(results), []
    for dataset in dict.fromkeys(c.dataset for c in results.cells):
        parts.append(tag("h3", dataset_name(dataset)))
        for cell in (c for c in plan.cells if c.data.label == dataset):
            row = cell.method.label
            if (row, dataset) in places:
                record = explain(plan, store, results, row, dataset, table, stored)
                parts.append(_part(cell, record, places[row, dataset]))
    return join(parts, "\n")


def _part(cell: Cell, record: dict[str, Any], place: str) -> Html:
    """The id is inside what is folded, so that a browser unfolds it for a link."""
    name = f"{row_name(record['row'])} on {dataset_name(record['dataset'])}"
    auc = record["metrics"]["auc"]["text"]
    summary = tag("summary", tag("b", row_name(record["row"])), tag("span", f"AUC {auc}"))
    command = f"flipbench explain {record['suite']} {record['row']} {record['dataset']}"
    content = [
        *(tag("p", f"Failed: {reason}", class_="failed") for reason in record["failed"]),
        *_metrics(record),
        *_runs(record),
        *_differences(record),
        *_settings(record),
        *_trials(record),
        tag("p", "The same on the command line: ", tag("code", command), class_="note"),
    ]
    return tag("details", summary, tag("div", *content, id=place, data_title=name), class_="cell")


def _metrics(record: dict[str, Any]) -> Iterator[Html]:
    rows = [_metric(name, shown) for name, shown in record["metrics"].items()]
    columns = ["Metric", "Here", "± over seeds", "Paper", "Difference", "90 % interval", "Verdict"]
    yield tag("h4", "Against the paper")
    yield grid("Means and verdicts", columns, rows, words=["Verdict"])
    words = []
    verdicts = [shown["verdict"] for shown in record["metrics"].values() if shown["verdict"]]
    if verdicts:
        margins = ", ".join(
            f"{v['margin']:g} ({METRIC_NAMES[cast(TableMetric, n)]})"
            for n, v in zip(record["metrics"], verdicts, strict=False)
        )
        words.append(f"Verdict: two one-sided t-tests at 5 %, margin {margins}.")
    if record["sampling_error"]:
        words.append(
            f"Standard error of one AUC on these test rows, were they independent: {record['sampling_error']:.4f}."
        )
    if words:
        yield tag("p", " ".join(words), class_="note")


def _metric(name: str, shown: dict[str, Any]) -> list[str]:
    judged = shown["verdict"] or {}
    outcome = judged.get("outcome", "—")
    if judged.get("seeds") == 1:
        outcome += ": one seed has no spread"
    elif judged.get("seeds_needed"):
        outcome += f"; {judged['seeds_needed']} seeds for power 0.8"
    if judged.get("p") is not None:
        outcome += f" (p of equivalence {probability(judged['p'])})"
    return [
        METRIC_NAMES[cast(TableMetric, name)],
        shown["text"] + " *" * shown["starred"],
        "—" if shown["sd"] is None else f"{shown['sd']:.4f}",
        "—" if shown["paper"] is None else f"{shown['paper']:.4f}",
        signed(judged["difference"]) if judged else "—",
        interval(judged["low"], judged["high"]) if judged.get("low") is not None else "—",
        outcome,
    ]


def _runs(record: dict[str, Any]) -> Iterator[Html]:
    if not record["runs"]:
        return
    rows = [
        [
            str(run["seed"]),
            f"{run['auc']:.6f}",
            f"{run['logloss']:.6f}",
            "—" if run["epochs"] is None else str(run["epochs"]),
            str(run["device"] or "—"),
            tag("code", run["key"][:12], title=run["key"]),
            # under the results folder: where that lies is the machine's
            tag("code", "/".join(PurePath(run["folder"]).parts[-3:])),
        ]
        for run in record["runs"]
    ]
    yield tag("h4", plural(len(rows), "run"))
    columns = ["Seed", "AUC", "Logloss", "Epochs", "Device", "Key", "Folder in results"]
    yield grid("Runs", columns, rows, words=columns[4:])


def _differences(record: dict[str, Any]) -> Iterator[Html]:
    if not record["differences"]:
        return
    rows = [
        [
            f"{row_name(d['row'])} − {row_name(d['against'])}",
            METRIC_NAMES[cast(TableMetric, d["metric"])],
            signed(d["value"]),
            interval(d["low"], d["high"]),
            probability(d["p"]),
            "—" if d["adjusted"] is None else probability(d["adjusted"]),
            str(d["seeds"]),
        ]
        for d in record["differences"]
    ]
    tests = " and ".join(sorted({d["test"] for d in record["differences"]}))
    yield tag("h4", f"Differences from other rows ({tests})")
    columns = ["Rows", "Metric", "Difference", "95 % interval", "p", "p after Holm", "Seeds"]
    yield grid("Differences from other rows", columns, rows, words=["Metric"])


def _settings(record: dict[str, Any]) -> Iterator[Html]:
    """Those that differ from what is stated first, then those that nobody states."""
    groups: dict[str, list[list[str]]] = {words: [] for words in _PROVENANCES.values()}
    for s in record["settings"]:
        declared = _value(s["default"]) if s["value"] != s["default"] else "same"
        shown = [s["name"], _value(s["value"]), declared, f"{s['source']}: {s['where']}"]
        groups[_PROVENANCES[s["provenance"]]].append(shown)
    columns = ["Setting", "Here", "Declared", "Source of the declared"]
    yield tag("h4", "Settings")
    if not groups[_PROVENANCES["overridden"]]:
        yield tag("p", "The suite sets none otherwise than stated.", class_="note")
    yield grid("Settings", columns, {name: rows for name, rows in groups.items() if rows}, words=columns)


def _trials(record: dict[str, Any]) -> Iterator[Html]:
    """By validation AUC; of the settings those in which trials differ."""
    trials = sorted(record["trials"], key=lambda trial: -(trial["auc"] or 0.0))
    if not trials:
        return
    names = [n for n in trials[0]["settings"] if len({repr(t["settings"].get(n)) for t in trials}) > 1]
    rows = [
        [
            tag("code", t["key"][:12]),
            "—" if t["auc"] is None else f"{t['auc']:.4f}",
            *(_value(t["settings"].get(n)) for n in names),
        ]
        for t in trials
    ]
    yield tag("h4", f"Search: {plural(len(trials), 'trial')}")
    yield grid("Trials of the search", ["Key", "Validation AUC", *names], rows)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
