"""Whether the rows of a table share what no method should win by."""

from collections.abc import Iterable, Mapping

from flipbench.plan.expand import Cell
from flipbench.plan.settings import flatten

SHARED = ("embedding_l2", "decay", "max_epochs", "patience", "batch_size", "oov")
"""Settings that all rows of a table should share, or all search; protocol, validation part and search budget are the
suite's own."""

SEARCHED = "searched:"
"""Before the values of a searched setting, over which all rows should search alike."""

Unequal = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By setting, the rows of each value as text; only settings in which rows differ."""


def unequal(cells: Iterable[Cell]) -> Unequal:
    """In which of :data:`SHARED` the rows of one data set differ; a row that has no such setting counts with none."""
    differing: dict[str, dict[str, tuple[str, ...]]] = {}
    cells = list(cells)
    for name in SHARED:
        rows: dict[str, tuple[str, ...]] = {}
        for cell in cells:
            settings = flatten(cell.settings or (cell.search.points[0] if cell.search else {}))
            if name in settings:
                axis = cell.search.axes.get(name) if cell.search else None
                value = f"{SEARCHED} {', '.join(f'{v}' for v in axis)}" if axis else f"{settings[name]}"
                rows[value] = (*rows.get(value, ()), cell.method.label)
        if len(rows) > 1:
            differing[name] = rows
    return differing
