"""A suite's report as files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from flipbench.atomic import write_files
from flipbench.plan.expand import Plan
from flipbench.report.cells import SuiteResults
from flipbench.report.html import to_html
from flipbench.report.latex import to_latex
from flipbench.report.markdown import to_markdown
from flipbench.report.table import ResultTable, overall_table
from flipbench.store.runs import Store


def to_json(table: ResultTable) -> str:
    """:meth:`ResultTable.as_dict` as JSON text; ends in a newline."""
    return json.dumps(table.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render(results: SuiteResults) -> dict[str, str]:
    """The content of a report's files by name: ``SUITE.md``, ``SUITE.tex``, ``SUITE.json``.

    Raises:
        UserError: the paper has no such table.
    """
    table = overall_table(results)
    texts = {".md": to_markdown(table), ".tex": to_latex(table), ".json": to_json(table)}
    return {f"{results.suite}{suffix}": text for suffix, text in texts.items()}


def write_report(results: SuiteResults, folder: Path) -> list[Path]:
    """Write the files of :func:`render` into ``folder``, each replaced as a whole.

    The same results give the same bytes.

    Returns:
        The files, in the order above.

    Raises:
        UserError: the paper has no such table, or the folder cannot be written.
    """
    return _write(folder, render(results))


def write_html(plan: Plan, store: Store, results: SuiteResults, pictures: Iterable[Path], folder: Path) -> list[Path]:
    """Write ``SUITE.html``, of :func:`flipbench.report.html.to_html`, replaced as a whole.

    Raises:
        UserError: as there, or the folder cannot be written.
    """
    return _write(folder, {f"{results.suite}.html": to_html(plan, store, results, pictures)})


def _write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    return write_files(folder, {name: text.encode() for name, text in texts.items()}, "the report")
