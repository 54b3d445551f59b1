"""``flipbench gap SUITE``."""

import argparse

from flipbench.cli.common import plan_to_read, store_of, suite_of
from flipbench.cli.output import print_json, print_table
from flipbench.errors import UserError
from flipbench.report.gap import Rung, ladder


def main(args: argparse.Namespace) -> int:
    """Print one ladder a cell that has runs."""
    suite = suite_of(args)
    store = store_of(suite)
    found = ((cell, ladder(cell, suite, store, args.suite)) for cell in plan_to_read(suite, store).cells)
    ladders = [(cell, rungs) for cell, rungs in found if rungs]
    if not ladders:
        raise UserError(f"{suite.suite}: no finished run in {store.root} to compare with the paper's numbers")
    if args.json:
        print_json(
            [
                {"dataset": c.data.label, "method": c.method.label, "rungs": [vars(rung) for rung in rungs]}
                for c, rungs in ladders
            ]
        )
        return 0
    for number, (cell, rungs) in enumerate(ladders):
        print(f"{'' if number == 0 else chr(10)}{cell.method.label} · {cell.data.label}")
        rows = [[r.factor, r.what, _range(r), "—" if r.step is None else f"{r.step:+.4f}", _count(r)] for r in rungs]
        print_table(
            ["factor", "value", "AUC", "less ours", "runs"], rows, right=frozenset({"AUC", "less ours", "runs"})
        )
        for rung in rungs:
            if rung.command:
                print(f"no run with another {rung.factor}: {rung.command}")
    return 0


def _range(r: Rung) -> str:
    if r.auc is None:
        return "—"
    spread = f" [{r.low:.4f}, {r.high:.4f}]" if r.low is not None and len(r.runs) > 1 else ""
    return f"{r.auc:.4f}{spread}"


def _count(r: Rung) -> str:
    return str(len(r.runs)) if r.runs else ""
