"""``flipbench status SUITE``."""

import argparse
import sys
from typing import Any

from flipbench.cli.common import plan_to_read, store_of, suite_of
from flipbench.cli.output import print_json, print_table
from flipbench.report.collect import failure_of


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    store = store_of(suite)
    plan = plan_to_read(suite, store)
    cells: list[dict[str, Any]] = []
    for cell in plan.cells:
        scored = [store.metrics(s) for s in cell.evaluations if store.done(s)]
        failed = [reason for s in cell.ends if (reason := failure_of(s, store))]
        cells.append(
            {
                "dataset": cell.data.label,
                "method": cell.method.label,
                "trials": f"{sum(map(store.done, cell.trials))}/{len(cell.trials)}" if cell.trials else None,
                "done": sum(map(store.done, cell.ends)),
                "expected": suite.runs,
                "failed": failed,
                "auc": sum(m["auc"] for m in scored) / len(scored) if len(scored) == suite.runs else None,
            }
        )
    if args.json:
        print_json({"suite": suite.suite, "protocol": suite.protocol, "results": str(store.root), "cells": cells})
        return 0
    rows = [
        [
            c["dataset"],
            c["method"],
            c["trials"] or "",
            f"{c['done']}/{c['expected']}",
            f"{c['auc']:.4f}" if c["auc"] is not None else "—",
            "; ".join(c["failed"]),
        ]
        for c in cells
    ]
    print_table(
        ["data set", "method", "trials", "runs", "AUC", "failed"], rows, right=frozenset({"trials", "runs", "AUC"})
    )
    if left := {d.label for d in suite.data} - {cell.data.label for cell in plan.cells}:
        print(f"not prepared here: {', '.join(sorted(left))}", file=sys.stderr)
    print(f"{suite.suite} · {suite.protocol}: {sum(c['done'] for c in cells)} of {suite.runs * len(cells)} runs done")
    return 0
