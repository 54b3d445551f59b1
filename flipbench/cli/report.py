"""``flipbench report [SUITE]``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from flipbench.cli.common import has_results, plan_so_far, results_so_far
from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.report import terminal
from flipbench.report.figures import write_figures
from flipbench.report.table import overall_table
from flipbench.report.write import to_json, write_html, write_report


def main(args: argparse.Namespace) -> int:
    """Render one suite, or every suite that comes with flipbench and has results."""
    documents = _report(args)
    if not documents:
        raise UserError("no suite has results yet; run one with 'flipbench run SUITE'")
    if args.json:
        print(json.dumps(documents[0] if args.suite else documents, indent=1, ensure_ascii=False))
    return 0


def _report(args: argparse.Namespace) -> list[Any]:
    """Write the files; returns what ``--json`` prints, of each suite."""
    names = [args.suite] if args.suite else [str(path) for path in suite.available()]
    documents: list[Any] = []
    for name in names:
        found = plan.with_options(suite.load(name), args.seeds, args.protocol, args.results)
        if not args.suite and not has_results(found):
            continue
        found = plan.narrow(found, args.only)
        planned, store = plan_so_far(found)
        results = results_so_far(found, planned, store)
        inspected = any(store.done(stage) for cell in planned.cells for stage in cell.inspections)
        if not args.suite and not (results.cells or inspected):
            continue
        folder = Path(args.reports or found.outputs.reports)
        written = []
        if not found.inspect:
            table = overall_table(results)
            documents.append(json.loads(to_json(table)) if args.json else {})
            if not args.json:
                terminal.print_table(table)
            written += write_report(results, folder)
        if found.inspect or results.cells:
            pictures = [] if args.no_figures else write_figures(planned, store, folder)
            written += [*pictures, *write_html(planned, store, results, pictures, folder)]
            if found.inspect and (pictures or (args.no_figures and inspected)):  # nothing is scored: no table
                documents.append({"suite": found.suite, "figures": [path.name for path in pictures]})
        for path in written:
            print(f"wrote {path}", file=sys.stderr)
    return documents
