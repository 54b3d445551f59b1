"""A suite's report as files."""

import json

from flipbench.plan.expand import Plan
from flipbench.printable import json_line
from flipbench.report.cells import SuiteResults
from flipbench.report.figures import figure_files
from flipbench.report.html.page import to_html
from flipbench.report.latex import to_latex
from flipbench.report.markdown import to_markdown
from flipbench.report.table import ResultTable, overall_table
from flipbench.store.runs import Store


def to_json(table: ResultTable) -> str:
    """:meth:`ResultTable.as_dict` as JSON text; ends in a newline."""
    return json_line(json.dumps(table.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def table_files(results: SuiteResults) -> dict[str, bytes]:
    """The content of a table's files by name: ``SUITE.md``, ``SUITE.tex``, ``SUITE.json``.

    Raises:
        UserError: the paper has no such table.
    """
    table = overall_table(results)
    texts = {".md": to_markdown(table), ".tex": to_latex(table), ".json": to_json(table)}
    return {f"{results.suite}{suffix}": text.encode() for suffix, text in texts.items()}


def report_files(plan: Plan, store: Store, results: SuiteResults, figures: bool = True) -> dict[str, bytes]:
    """The content of a report's files by name; the same results give the same bytes.

    The table's, unless the suite inspects; once anything has run, those of its figures, and ``SUITE.html``.

    Args:
        plan, store, results: of the same suite.
        figures: whether to draw, which takes longest.

    Raises:
        UserError: the paper has no such table, or a run's files are missing, damaged or changed.
    """
    files = {} if plan.suite.inspect else table_files(results)
    if results.cells or any(store.done(stage) for cell in plan.cells for stage in cell.inspections):
        pictures = figure_files(plan, store) if figures else {}
        files |= pictures | {f"{results.suite}.html": to_html(plan, store, results, pictures).encode()}
    return files
