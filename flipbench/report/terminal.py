"""The table on a terminal: one block a data set, so that it fits 100 columns whatever the number of data sets."""

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from flipbench.paper import dataset_name
from flipbench.report.columns import METRIC_NAMES, Cell, Mark, Source
from flipbench.report.table import Table

PLAIN_WIDTH = 100
"""Width where there is no terminal, so that a piped table is the same everywhere."""

STYLES: dict[Mark | None, str] = {"best": "bold green", "second": "underline", None: ""}
SUFFIXES: dict[Mark | None, str] = {"best": "*", "second": "+", None: ""}
ASCII = str.maketrans({"±": "+/-", "—": "-", "≈": "=", "↑": ">", "↓": "<", "†": "!"})
PLAIN_MARKS = {"best": "marked *", "second": "+"}
STATUS_STYLES = {"failed": "red", "partial": "yellow"}


def print_table(table: Table, console: Console | None = None) -> None:
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
    plain = not console.is_terminal or console.no_color

    def text(content: str, style: str = "") -> Text:
        if console.options.ascii_only:
            content = content.translate(ASCII).encode("ascii", "replace").decode()
        return Text(content, style="" if plain else style)

    def marks(cell: Cell) -> str:
        return SUFFIXES[cell.mark] * plain + "†" * cell.starred + "~" * cell.best_baseline

    def number(cell: Cell, source: Source, width: int) -> Text:
        words = Text() + text(cell.text, STYLES[cell.mark] or STATUS_STYLES.get(cell.status, ""))
        words += text(marks(cell).ljust(width))
        if cell.spread:
            words += text(f" ± {cell.spread}")
        if cell.symbol:
            words += text(f" {cell.symbol}")
        if source == "paper" and not plain:
            words.stylize("dim")
        return words

    def block(dataset: str) -> Grid:
        own = table.columns_of(dataset)
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        grid.add_column(text("Model", "bold"), no_wrap=True)
        widths = {i: max((len(marks(row.cells[i])) for g in table.groups for row in g.rows), default=0) for i in own}
        for i in own:
            column = table.columns[i]
            ours = column.source == "ours"
            header = text(METRIC_NAMES[column.metric] if ours else "paper", "bold" if ours else "dim")
            header += text(" " * widths[i])
            grid.add_column(header, justify="right", no_wrap=True)
        for group in table.groups:
            grid.add_row(text(group.family, "italic"))
            for row in group.rows:
                cells = [number(row.cells[i], table.columns[i].source, widths[i]) for i in own]
                grid.add_row(text(f"  {row.label}"), *cells)
        return grid

    def emit(*parts: Text | Grid) -> None:
        with console.capture() as captured:
            for part in parts:
                console.print(part)
        lines = captured.get().splitlines()
        console.file.write("".join(f"{line.rstrip()}\n" for line in lines))

    emit(text(table.title, "bold"))
    width = console.width
    ran = [dataset for dataset in table.datasets if table.has_ours(dataset)]
    for dataset in ran or table.datasets:
        grid = block(dataset)
        console.width = max(width, console.measure(grid, options=console.options.update(max_width=10_000)).maximum)
        emit(Text(), text(dataset_name(dataset), "bold"), grid)
        console.width = width
    if missing := [dataset_name(d) for d in table.datasets if ran and d not in ran]:
        emit(Text(), text(f"Not run: {', '.join(missing)}.", "dim"))
    emit(Text(), text(table.caption(star="†", **(PLAIN_MARKS if plain else {}))))
    console.print(text(table.signature, "dim"), soft_wrap=True)  # one line, to be copied
