"""``flipbench ledger SUITE``."""

import argparse
from dataclasses import asdict

from flipbench.cli.common import plan_to_read, store_of, suite_of
from flipbench.cli.output import print_json, print_table
from flipbench.errors import UserError
from flipbench.report.ledger import Entry, ledger


def main(args: argparse.Namespace) -> int:
    """Print what every search cost and found; expected bests are at the trials that all methods have done."""
    suite = suite_of(args)
    if suite.tune is None:
        raise UserError(f"{suite.suite}: nothing is searched; add 'tune: {{budget: 24}}' to the suite")
    store = store_of(suite)
    entries = ledger(plan_to_read(suite, store).cells, store, suite.tune.select)
    equal = {e.dataset: min(other.done for other in entries if other.dataset == e.dataset) for e in entries}
    if args.json:
        tune = suite.tune.model_dump()
        print_json({"suite": suite.suite, "tune": tune, "equal": equal, "searches": [asdict(e) for e in entries]})
        return 0
    rows = [
        [
            e.dataset,
            e.method,
            f"{e.done}/{suite.tune.budget}",
            str(e.failed or ""),
            f"{e.device_hours:.2f}",
            "—" if e.best is None else f"{e.best:.4f}",
            _at(e, equal[e.dataset]),
            "; ".join(e.borders),
        ]
        for e in entries
    ]
    columns = [
        "data set",
        "method",
        "trials",
        "failed",
        "device-hours",
        f"best {suite.tune.select}",
        "expected",
        "at a border",
    ]
    print_table(columns, rows, right=frozenset(columns[2:7]))
    print(f"{suite.suite} · {suite.tune.search}, {suite.tune.budget} points a method, chosen on validation rows")
    return 0


def _at(entry: Entry, trials: int) -> str:
    """``.7912 of 8``: the expected best of 8 trials."""
    return f"{entry.expected[trials - 1]:.4f} of {trials}" if trials else "—"
