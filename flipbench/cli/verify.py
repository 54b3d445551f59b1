"""``flipbench verify [SUITE]``."""

import argparse
import sys
from pathlib import Path

from flipbench.cli.common import has_results, plan_to_read, results_of, store_of, suite_of
from flipbench.cli.output import print_json
from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.plan.suite import Suite
from flipbench.report.html.figures import drawn_by
from flipbench.report.verify import Mismatch, verify_page, verify_reports, verify_runs

MISMATCH = 3


def main(args: argparse.Namespace) -> int:
    """Verify one suite, or every suite that comes with flipbench and has results; 3 where something does not follow."""
    if args.suite:
        suites = [suite_of(args)]
    else:
        known = [
            plan.with_options(suite.load(str(p)), args.seeds, args.protocol, args.results) for p in suite.available()
        ]
        suites = [plan.narrow(found, args.only) for found in known if has_results(found)]
    if not suites:
        raise UserError("no suite has results to verify")
    records = [_verify(found, args) for found in suites]
    if args.json:
        print_json(
            [{"suite": name, "runs": runs, "mismatches": [vars(m) for m in wrong]} for name, runs, wrong in records]
        )
    for name, runs, wrong in records:
        if not args.json:
            print(f"{name}: {runs} runs checked, {f'{len(wrong)} mismatches' if wrong else 'all follows'}")
        for m in wrong:
            print(f"flipbench: {m.where}: {m.what}", file=sys.stderr)
    return MISMATCH if any(wrong for _, _, wrong in records) else 0


def _verify(found: Suite, args: argparse.Namespace) -> tuple[str, int, list[Mismatch]]:
    store, reports = store_of(found), Path(args.reports or found.outputs.reports)
    runs, wrong = verify_runs(plan_to_read(found, store), store)
    if wrong:  # the tables cannot be right, and the runs say why
        return found.suite, runs, wrong
    planned, store, results = results_of(found)
    if results.cells:
        wrong = verify_reports(results, reports)
    if results.cells or (found.inspect and runs):
        pages, other = verify_page(planned, store, results, reports)
        wrong += pages
        if other:
            print(
                f"{found.suite}: of the figures the numbers are compared, not the pictures: {other} drew them, "
                f"here are {drawn_by()}",
                file=sys.stderr,
            )
    return found.suite, runs, wrong
