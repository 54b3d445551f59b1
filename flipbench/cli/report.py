"""``flipbench report [SUITE]``."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from flipbench import plan, suite
from flipbench.cli.common import plan_of, store_of
from flipbench.errors import UserError
from flipbench.report import terminal
from flipbench.report.cells import SuiteResults
from flipbench.report.collect import collect, seeds_run
from flipbench.report.table import overall_table
from flipbench.report.write import to_json, write_report
from flipbench.suite import Suite


def main(args: argparse.Namespace) -> int:
    """Render one suite, or every suite that comes with flipbench and has results."""
    names = [args.suite] if args.suite else [str(path) for path in suite.available()]
    tables = []
    for name in names:
        found = plan.with_options(suite.load(name), args.seeds, args.protocol, args.results)
        if not args.suite and not _has_results(found):
            continue
        found = plan.narrow(found, args.only)
        results = _collect(found)
        if not args.suite and not results.cells:
            continue
        table = overall_table(results)
        tables.append(table)
        if not args.json:
            terminal.print_table(table)
        for path in write_report(results, Path(args.reports or found.outputs.reports)):
            print(f"wrote {path}", file=sys.stderr)
    if not tables:
        raise UserError("no suite has results yet; run one with 'flipbench run SUITE'")
    if args.json:
        documents = [json.loads(to_json(table)) for table in tables]
        print(json.dumps(documents[0] if args.suite else documents, indent=1, ensure_ascii=False))
    return 0


def _collect(found: Suite) -> SuiteResults:
    """The suite's results; of the seeds run so far, where all cells with runs have equally many."""
    store = store_of(found)
    planned = plan_of(found, store)
    seeds = seeds_run(planned, store)
    if seeds is None or seeds == found.seeds:
        return collect(planned, store)
    results = collect(plan_of(found.model_copy(update={"seeds": seeds}), store), store)
    return replace(results, notes=(*results.notes, f"The suite asks for {found.seeds} seeds; {seeds} so far."))


def _has_results(found: Suite) -> bool:
    """Whether any of the suite's data sets has a run folder, so that nothing is generated for an empty report."""
    root = Path(found.outputs.results)
    return any(any((root / d.name).glob("*/*/DONE")) for d in found.data)
