"""The table on a terminal: one block a data set, so that it fits 100 columns whatever the number of data sets."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flipbench.paper.names import dataset_name
from flipbench.printable import ASCII, one_line
from flipbench.report.columns import METRIC_NAMES, Mark, TableCell
from flipbench.report.table import ResultTable

PLAIN_WIDTH = 100
"""Width where there is no terminal, so that a piped table is the same everywhere."""

STYLES: dict[Mark | None, str] = {"best": "bold green", "second": "underline", None: ""}
SUFFIXES: dict[Mark | None, str] = {"best": "*", "second": "+", None: ""}
PLAIN_MARKS = {"best": "marked *", "second": "+"}
STATUS_STYLES = {"failed": "red", "partial": "yellow"}


def print_table(table: ResultTable, console: Console | None = None) -> None:
    """Print with colour, bold and underline; where there is no terminal, or NO_COLOR is set, as plain text.

    Plain text marks the best value with ``*`` and the second with ``+``; both forms mark what is significant with ``†``
    and the best baseline with ``~``. On a console that is not UTF-8 plain text is pure ASCII. A number is never cut: a
    table wider than the console runs over.

    Args:
        console: where to; standard output if None.
    """
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PLAIN_WIDTH
    printer = _Printer(console, plain=not console.is_terminal or console.no_color)
    text = printer.text
    printer.emit(text(table.title, "bold"))
    width = console.width
    for dataset in table.datasets:
        block = printer.block(table, dataset)
        console.width = max(width, console.measure(block, options=console.options.update(max_width=10_000)).maximum)
        printer.emit(Text(), text(dataset_name(dataset), "bold"), block)
        console.width = width
    printer.emit(Text(), text(table.caption(star="†", **(PLAIN_MARKS if printer.plain else {}))))
    console.print(text(table.signature, "dim"), soft_wrap=True)  # one line, to be copied


@dataclass(frozen=True)
class _Printer:
    """Parts of a table for a console; ``plain``: without colours and weights."""

    console: Console
    plain: bool

    def emit(self, *parts: Text | Table) -> None:
        """Print without spaces at the end of lines."""
        with self.console.capture() as captured:
            for part in parts:
                self.console.print(part)
        lines = captured.get().splitlines()
        self.console.file.write("".join(f"{line.rstrip()}\n" for line in lines))

    def text(self, content: str, style: str = "") -> Text:
        if self.console.options.ascii_only:
            content = content.translate(ASCII).encode("ascii", "replace").decode()
        return Text(one_line(content), style="" if self.plain else style)

    def block(self, table: ResultTable, dataset: str) -> Table:
        places = table.columns_of(dataset)
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        grid.add_column(self.text("Model", "bold"), no_wrap=True)
        widths = {i: max((len(self._marks(row.cells[i])) for row in table.rows), default=0) for i in places}
        for i in places:
            column = table.columns[i]
            name, style = (METRIC_NAMES[column.metric], "bold") if column.source == "ours" else (column.source, "dim")
            grid.add_column(self.text(name, style) + " " * widths[i], justify="right", no_wrap=True)
        for group in table.groups_of(dataset):
            grid.add_row(self.text(group.family, "italic"))
            for row in group.rows:
                numbers = [self._number(row.cells[i], table.columns[i].source, widths[i]) for i in places]
                grid.add_row(self.text(f"  {row.marked_label}"), *numbers)
        return grid

    def _marks(self, cell: TableCell) -> str:
        return SUFFIXES[cell.mark] * self.plain + "†" * cell.starred + "~" * cell.best_baseline

    def _number(self, cell: TableCell, source: str, width: int) -> Text:
        """A number with its marks, which take ``width`` so that digits stay in line."""
        number = Text() + self.text(cell.text, STYLES[cell.mark] or STATUS_STYLES.get(cell.status, ""))
        number += self.text(self._marks(cell).ljust(width))
        number += self.text(f" ± {cell.spread}" if cell.spread else "")
        number += self.text(f" {cell.symbol}" if cell.symbol else "")
        if source != "ours" and not self.plain:
            number.stylize("dim")
        return number
