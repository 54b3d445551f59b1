"""A suite's report as one page: its style and script inside, and a policy that lets nothing else in."""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from flipbench.paper.names import dataset_name, row_name
from flipbench.plan.expand import Plan
from flipbench.printable import one_line
from flipbench.report.cells import SuiteResults
from flipbench.report.claims import claims_of_suite
from flipbench.report.columns import METRIC_NAMES
from flipbench.report.explain import explain
from flipbench.report.html import formats
from flipbench.report.html.figures import DRAWN_BY, drawn_by, shown_figure
from flipbench.report.significance import Evidence
from flipbench.report.table import ResultTable, overall_table
from flipbench.store.runs import Store

SECTIONS = {"results": "Results", "figures": "Figures", "claims": "Claims of the paper", "evidence": "Evidence"}
"""Heading of each part of the page that has anything to show; ``ID.html`` is its template."""

_WORDS = {
    "METRIC_NAMES": METRIC_NAMES,
    "DRAWN_BY": DRAWN_BY,
    "MARKS": {"best": "best", "second": "second best"},
    "PROVENANCES": {
        "overridden": "Stated, and set otherwise here",
        "guess": "Neither the paper nor released code states it",
        "searched": "Chosen by the search",
        "code": "As released code states",
        "paper": "As the paper states",
    },
}


def to_html(plan: Plan, store: Store, results: SuiteResults, pictures: Mapping[str, bytes] = {}) -> str:
    """One self-contained page; ends in a newline. The same results give the same bytes.

    Args:
        plan, store, results: of the same suite.
        pictures: files of :func:`flipbench.report.figures.figure_files`, to be shown.

    Raises:
        UserError: the paper has no such table, or a run's files were changed.
    """
    table = overall_table(results)
    ids = {  # of the evidence; the number keeps apart what the words do not
        (c.method, c.dataset): re.sub(r"[^A-Za-z0-9_.-]+", "-", f"e{number}-{c.method}-{c.dataset}")
        for number, c in enumerate(results.cells, 1)
    }
    style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in ("style.css", "script.js"))
    content: dict[str, Any] = {
        "results": results.cells,
        "figures": [shown_figure(name, pictures, results.suite) for name in pictures if name.endswith(".png")],
        "claims": list(claims_of_suite(plan, store, results)),
        "evidence": _evidence(plan, store, results, table),
    }
    runs = sum(len(cell.runs) for cell in results.cells)
    counts = formats.plural(results.seeds, "seed"), formats.plural(runs, "run")
    return _template().render(
        **content,
        sections={id_: heading for id_, heading in SECTIONS.items() if content[id_]},
        table=table,
        ids=ids,
        parts=_result_parts(table),
        sentences=table.sentences(baseline="with a wavy underline"),
        facts=[results.suite, f"protocol {results.protocol}", *counts],
        style=style,
        script=script,
        policy=_policy(style, script),
        drawn_by=drawn_by(),
    )


def _template() -> Template:
    """The page's, in which every text is escaped, and a name that is not there is an error."""
    environment = Environment(
        loader=PackageLoader("flipbench.report.html", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
        undefined=StrictUndefined,
    )
    environment.globals |= _WORDS
    environment.filters |= {"dataset_name": dataset_name, "row_name": row_name, **formats.FILTERS}
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    """A value as text without control characters; what is HTML already is left."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _result_parts(table: ResultTable) -> list[dict[str, Any]]:
    """The table by data set."""
    parts = []
    for dataset in table.datasets:
        places = table.columns_of(dataset)
        groups = {
            group.family: [(row, [(table.columns[i], row.cells[i]) for i in places]) for row in group.rows]
            for group in table.groups_of(dataset)
        }
        parts.append({"dataset": dataset, "columns": [table.columns[i] for i in places], "groups": groups})
    return parts


def _evidence(plan: Plan, store: Store, results: SuiteResults, table: ResultTable) -> dict[str, list[dict[str, Any]]]:
    """What :func:`flipbench.report.explain.explain` knows of each cell with runs, finished or failed, by data set."""
    stored, ran = Evidence(store), {(cell.method, cell.dataset) for cell in results.cells}
    by_dataset: dict[str, list[dict[str, Any]]] = {}
    for cell in plan.cells:
        row, dataset = cell.method.label, cell.data.label
        if (row, dataset) in ran:
            record = explain(plan, store, results, row, dataset, table, stored)
            record["trials"].sort(key=lambda trial: -(trial["auc"] or 0.0))
            values = [trial["settings"] for trial in record["trials"]]
            names = values[0] if values else ()
            record["searched"] = [n for n in names if len({repr(settings.get(n)) for settings in values}) > 1]
            by_dataset.setdefault(dataset, []).append(record)
    return by_dataset


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and no style or script but these runs, whatever a name in a suite may hold."""

    def digest(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
