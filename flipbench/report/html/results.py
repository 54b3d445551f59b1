"""The result table: one a data set, the paper's numbers beside ours; a number opens its evidence."""

from collections.abc import Callable, Iterator

from flipbench.paper import dataset_name
from flipbench.report.columns import METRIC_NAMES, TableCell, TableColumn
from flipbench.report.html.elements import Html, group, hidden, join, scroll, tag
from flipbench.report.table import ResultTable, Row

LinkOf = Callable[[str, str], str | None]
"""The id of the evidence of a row on a data set, where there is any."""

_MARKS = {"best": "best", "second": "second best"}
_SOURCES = {"ours": "here", "paper": "paper"}


def results(table: ResultTable, link_of: LinkOf) -> Html:
    """Every data set with runs, then those of which only the paper has numbers, folded."""
    ran = [d for d in table.datasets if table.has_ours(d)]
    return join([*(_ran(table, d, link_of) for d in ran), *_printed(table)], "\n")


def _ran(table: ResultTable, dataset: str, link_of: LinkOf) -> Html:
    return join([tag("h3", dataset_name(dataset)), _table(table, dataset, table.columns_of(dataset), link_of)])


def _printed(table: ResultTable) -> Iterator[Html]:
    for dataset in table.datasets:
        columns = [i for i in table.columns_of(dataset) if table.columns[i].source == "paper"]
        if columns and not table.has_ours(dataset):
            summary = tag("summary", f"{dataset_name(dataset)}: not run here, the paper's numbers")
            yield tag("details", summary, _table(table, dataset, columns, lambda *_: None))


def _table(table: ResultTable, dataset: str, columns: list[int], link_of: LinkOf) -> Html:
    """Of the given columns."""
    parts = [g for g in table.groups if any(row.cells[i].status != "not-run" for row in g.rows for i in columns)]
    shown = [table.columns[i] for i in columns]
    bodies = []
    for part in parts:
        rows = (
            _row(
                row,
                part.family,
                link_of(row.method, dataset),
                [(c, row.cells[i]) for i, c in zip(columns, shown, strict=True)],
            )
            for row in part.rows
        )
        bodies.append(tag("tbody", join([group(part.family, 1 + len(columns)), *rows], "\n")))
    content = join([_head(shown), *bodies], "\n")
    return scroll(f"Results on {dataset_name(dataset)}", tag("table", content, class_="results"))


def _head(columns: list[TableColumn]) -> Html:
    """The metrics over their sources; one line where nothing is the paper's."""
    metrics = list(dict.fromkeys(column.metric for column in columns))
    if len(metrics) == len(columns):
        model = tag("th", "Model", scope="col", class_="text", data_sort="ascending")
        return tag("thead", tag("tr", model, *(_sorting(c, METRIC_NAMES[c.metric]) for c in columns)))
    model = tag("th", "Model", scope="col", class_="text", rowspan=2, data_sort="ascending")
    over = [
        tag("th", METRIC_NAMES[m], scope="colgroup", colspan=sum(c.metric == m for c in columns), class_="over")
        for m in metrics
    ]
    under = [_sorting(c, join([hidden(f"{METRIC_NAMES[c.metric]}, "), _SOURCES[c.source]])) for c in columns]
    return tag("thead", tag("tr", model, *over), tag("tr", *under))


def _sorting(column: TableColumn, text: str) -> Html:
    """A column's head, with the direction that puts its best number first."""
    first = "ascending" if column.metric == "logloss" else "descending"
    return tag("th", text, scope="col", class_=f"number {column.source}", data_sort=first)


def _row(row: Row, family: str, link: str | None, cells: list[tuple[TableColumn, TableCell]]) -> Html:
    # the family is seen where sorting has taken the row out of its group
    head = tag("th", row.label, tag("span", f" · {family}", class_="family"), scope="row", class_="text")
    numbers = []
    for column, cell in cells:
        text = _number(cell)
        if link and cell.status != "not-run":
            # one stop of the tab key a row: its other numbers lead to the same place
            stop = None if (column.metric, column.source) == ("auc", "ours") else -1
            text = tag("a", text, href=f"#{link}", class_="evidence", tabindex=stop)
        value = None if cell.value is None else repr(cell.value)
        numbers.append(tag("td", text, class_=f"number {column.source} {cell.status}", data_value=value))
    return tag("tr", head, *numbers)


def _number(cell: TableCell) -> Html:
    """A number with its marks, in signs for those who see them and in words for those who hear them."""
    text: str = cell.text
    if cell.best_baseline:
        text = tag("span", text, class_="baseline")
    if cell.mark:
        text = tag("span", text, class_=cell.mark)
    parts, heard = [text], []
    if cell.mark:
        heard.append(_MARKS[cell.mark])
    if cell.best_baseline:
        heard.append("best baseline")
    if cell.starred:
        parts.append(tag("span", "*", class_="star", aria_hidden="true"))
        heard.append("significantly better")
    if cell.spread:
        parts.append(tag("span", f" ± {cell.spread}", class_="spread"))
    if cell.symbol and cell.verdict:
        parts.append(tag("span", cell.symbol, class_="verdict", aria_hidden="true"))
        heard.append(f"against the paper: {cell.verdict.outcome}")
    return join([*parts, *([hidden(f" ({', '.join(heard)})")] if heard else [])])
