"""HTML from small parts: what is not marked as markup is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

VOID = frozenset({"img", "meta"})
"""Elements without an end tag."""


class Html(str):
    """Markup. Any other text is escaped where it becomes part of some."""

    __slots__ = ()


def tag(element: str, /, *children: str, **attributes: str | int | bool | None) -> Html:
    """An element.

    Args:
        children: markup, or text to be escaped.
        attributes: ``class_`` is ``class`` and ``aria_label`` ``aria-label``; True is an attribute without a value,
            None and False are none.
    """
    words = ""
    for key, value in attributes.items():
        if value is not None and value is not False:
            name = key.rstrip("_").replace("_", "-")
            words += f" {name}" if value is True else f' {name}="{escape(str(value))}"'
    return Html(f"<{element}{words}>" if element in VOID else f"<{element}{words}>{join(children)}</{element}>")


def join(parts: Iterable[str], between: str = "") -> Html:
    """Markup and texts, the texts escaped."""
    return Html(between.join(part if isinstance(part, Html) else escape(part) for part in parts))


def hidden(text: str) -> Html:
    """For those who hear the page: what the others see by weight, line or sign."""
    return tag("span", text, class_="heard")


def scroll(label: str, table: Html) -> Html:
    """A table in a box of its own, which a narrow window scrolls and the keyboard reaches."""
    return tag("div", table, class_="scroll", role="group", tabindex=0, aria_label=label)


def group(heading: str, columns: int) -> Html:
    """A row over the rows that belong together."""
    return tag("tr", tag("th", heading, scope="rowgroup", colspan=columns), class_="group")


Rows = Iterable[Sequence[str]]


def grid(
    label: str, columns: Sequence[str], rows: Rows | Mapping[str, Rows], words: Iterable[str] = (), sort: bool = False
) -> Html:
    """A plain table; each row is headed by its first cell.

    Args:
        label: what it holds, for those who hear it.
        rows: cells, one a column; where they are in groups, by heading.
        words: columns of text, set left; all others hold numbers, set right.
        sort: whether a click on a column's head sorts it.
    """
    left = {columns[0], *words}
    sides = ["text" if name in left else "number" for name in columns]
    direction = "ascending" if sort else None
    head = join(tag("th", c, scope="col", class_=s, data_sort=direction) for c, s in zip(columns, sides, strict=True))

    def row(first: str, *rest: str) -> Html:
        cells = (tag("td", cell, class_=side) for cell, side in zip(rest, sides[1:], strict=True))
        return tag("tr", tag("th", first, scope="row", class_="text"), *cells)

    groups = rows if isinstance(rows, Mapping) else {"": rows}
    bodies = [
        tag("tbody", join([*([group(name, len(columns))] if name else []), *(row(*cells) for cells in members)], "\n"))
        for name, members in groups.items()
    ]
    return scroll(label, tag("table", join([tag("thead", tag("tr", head)), *bodies], "\n")))


def signed(value: float, digits: int = 4) -> str:
    """With its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    return f"[{signed(low)}, {signed(high)}]"


def probability(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
