"""The table as GitHub Markdown: one table a data set, since Markdown has no two-level header."""

import re

from tabulate import tabulate

from flipbench.paper.names import dataset_name
from flipbench.printable import one_line
from flipbench.report.columns import METRIC_NAMES, TableCell
from flipbench.report.table import ResultTable


def to_markdown(table: ResultTable) -> str:
    """Best values in ``**bold**``, second ``<u>underlined</u>``, the best baseline with ``~``; ends in a newline."""
    parts = [f"# {escape(table.title)}"]
    for dataset in table.datasets:
        places = table.columns_of(dataset)
        columns = [table.columns[i] for i in places]
        header = ["Model", *(METRIC_NAMES[c.metric] if c.source == "ours" else escape(c.source) for c in columns)]
        rows: list[list[str]] = []
        for group in table.groups_of(dataset):
            rows.append([f"*{escape(group.family)}*"] + [""] * len(places))
            rows += [[escape(row.marked_label), *(number(row.cells[i]) for i in places)] for row in group.rows]
        align = ("left", *("right" for _ in places))
        parts.append(f"## {escape(dataset_name(dataset))}")
        parts.append(tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align))
    parts += [escape(table.caption()), f"`{table.signature}`"]
    return "\n\n".join(parts) + "\n"


def number(cell: TableCell) -> str:
    marked = {"best": f"**{cell.text}**", "second": f"<u>{cell.text}</u>", None: cell.text}[cell.mark]
    marked += r"\*" * cell.starred + r"\~" * cell.best_baseline
    return " ".join(part for part in (marked, cell.spread and f"± {cell.spread}", cell.symbol) if part)


def escape(text: str) -> str:
    """Text that Markdown prints as it is, on one line; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*|<$~\[\]])", r"\\\1", one_line(" ".join(text.split())))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
