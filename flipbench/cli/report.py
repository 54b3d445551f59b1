"""``flipbench report [SUITE]``."""

import argparse
import json
import sys
from pathlib import Path

from flipbench import plan, suite
from flipbench.cli.common import has_results, results_of
from flipbench.errors import UserError
from flipbench.plan import Plan
from flipbench.report import terminal
from flipbench.report.table import overall_table
from flipbench.report.write import to_json, write_html, write_report
from flipbench.store.runs import Store


def main(args: argparse.Namespace) -> int:
    """Render one suite, or every suite that comes with flipbench and has results."""
    names = [args.suite] if args.suite else [str(path) for path in suite.available()]
    documents = []
    for name in names:
        found = plan.with_options(suite.load(name), args.seeds, args.protocol, args.results)
        if not args.suite and not has_results(found):
            continue
        found = plan.narrow(found, args.only)
        planned, store, results = results_of(found)
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
            figures = [] if args.no_figures else _figures(planned, store, folder)
            written += [*figures, *write_html(planned, store, results, figures, folder)]
            if found.inspect and (figures or (args.no_figures and inspected)):  # nothing is scored: no table
                documents.append({"suite": found.suite, "figures": [path.name for path in figures]})
        for path in written:
            print(f"wrote {path}", file=sys.stderr)
    if not documents:
        raise UserError("no suite has results yet; run one with 'flipbench run SUITE'")
    if args.json:
        print(json.dumps(documents[0] if args.suite else documents, indent=1, ensure_ascii=False))
    return 0


def _figures(planned: Plan, store: Store, folder: Path) -> list[Path]:
    from flipbench.report.figures import write_figures  # matplotlib, for whom wants pictures

    return write_figures(planned, store, folder)
