"""``flipbench explain SUITE ROW DATASET``."""

import argparse
from typing import Any

from flipbench.cli.common import results_of
from flipbench.cli.output import print_json, print_table
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.report.explain import explain

NAMES = {"auc": "AUC", "logloss": "Logloss"}


PROVENANCES = {
    "overridden": "settings that are stated, and that the suite sets otherwise",
    "guess": "settings that neither the paper nor released code states",
    "searched": "settings chosen by the search",
    "code": "settings as released code states, where the paper does not",
}


def main(args: argparse.Namespace) -> int:
    found = plan.with_options(suite.load(args.suite), None, None, args.results)
    planned, store, results = results_of(found)
    record = explain(planned, store, results, args.row, args.dataset)
    if args.json:
        print_json(record)
        return 0
    print(f"{record['row']} · {record['dataset']} · {record['suite']} · {record['protocol']}")
    for metric, shown in record["metrics"].items():
        print(f"  {NAMES[metric]:8} {_line(shown, len(record['runs']))}")
    if record["sampling_error"]:
        print(f"  standard error of one AUC on these test rows, were they independent: {record['sampling_error']:.4f}")
    for reason in record["failed"]:
        print(f"  failed: {reason}")
    _section("runs", ["seed", "key", "AUC", "logloss", "epochs", "device"], [_run(run) for run in record["runs"]])
    _section("differences", ["row less other", "metric", "difference", "95 %", "p", "seeds"], _differences(record))
    for provenance, title in PROVENANCES.items():
        _section(title, ["setting", "here", "declared", "source"], _settings(record, provenance))
    trials = sorted(record["trials"], key=lambda t: -(t["auc"] or 0.0))
    _section(
        "trials",
        ["key", "validation AUC", "settings"],
        [[t["key"][:12], "—" if t["auc"] is None else f"{t['auc']:.4f}", _values(t["settings"])] for t in trials],
    )
    return 0


def _line(shown: dict[str, Any], seeds: int) -> str:
    spread = "" if shown["sd"] is None else f" ± {shown['sd']:.4f}"
    text = f"{shown['text']}{spread} ({seeds} seed{'s' * (seeds != 1)})"
    judged = shown["verdict"]
    if shown["paper"] is None or judged is None:
        return text
    text += f"  paper {shown['paper']:.4f}  difference {judged['difference']:+.4f}"
    if judged["low"] is not None:
        text += f" [{judged['low']:+.4f}, {judged['high']:+.4f}]"
    needed = "" if judged["seeds_needed"] is None else f"; {judged['seeds_needed']} seeds for power .8"
    return f"{text} → {judged['outcome']} (margin ±{judged['margin']:g}{needed})"


def _run(run: dict[str, Any]) -> list[str]:
    figures = [f"{run['auc']:.4f}", f"{run['logloss']:.4f}", str(run["epochs"]), str(run["device"])]
    return [str(run["seed"]), run["key"][:12], *figures]


def _differences(record: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{d['row']} − {d['against']}",
            NAMES[d["metric"]],
            f"{d['value']:+.4f}",
            f"[{d['low']:+.4f}, {d['high']:+.4f}]",
            f"{d['p']:.2g}",
            str(d["seeds"]),
        ]
        for d in record["differences"]
    ]


def _settings(record: dict[str, Any], provenance: str) -> list[list[str]]:
    own = [s for s in record["settings"] if s["provenance"] == provenance]
    return [[s["name"], str(s["value"]), str(s["default"]), f"{s['source']}: {s['where']}"] for s in own]


def _values(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _section(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        print(f"\n{title}")
        print_table(columns, rows)
