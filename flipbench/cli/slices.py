"""``flipbench slices SUITE``."""

import argparse
from dataclasses import asdict

from flipbench.cli.common import plan_to_read, store_of, suite_of
from flipbench.cli.output import print_json, print_table
from flipbench.errors import UserError
from flipbench.report.slices import Slice, slices


def main(args: argparse.Namespace) -> int:
    """Print one table a data set: AUC by how often training shows the item."""
    suite = suite_of(args)
    reference = args.reference or suite.compare.reference
    if reference is None:
        raise UserError(f"{suite.suite}: names no compare.reference; give one with --reference ROW")
    store = store_of(suite)
    found = slices(plan_to_read(suite, store), store, reference)
    if args.json:
        print_json([asdict(one) for one in found])
        return 0
    for number, dataset in enumerate(dict.fromkeys(one.dataset for one in found)):
        own = [one for one in found if one.dataset == dataset]
        items = list(dict.fromkeys(one.items for one in own))
        print(f"{'' if number == 0 else chr(10)}{dataset}: AUC by how often training shows the item (less {reference})")
        head = [f"{name} ({next(one.rows for one in own if one.items == name):,} rows)" for name in items]
        rows = [
            [method, str(own[[one.method for one in own].index(method)].seeds)]
            + [_shown(next(o for o in own if (o.method, o.items) == (method, name))) for name in items]
            for method in dict.fromkeys(one.method for one in own)
        ]
        print_table(["method", "seeds", *head], rows)
    return 0


def _shown(one: Slice) -> str:
    if one.auc is None:
        return "—"
    d = one.difference
    return f"{one.auc:.4f}" + ("" if d is None else f" ({d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}])")
