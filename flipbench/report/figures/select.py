"""Which cells of a suite a figure is drawn from, and which settings the suite varies."""

from collections.abc import Iterator

from flipbench.plan.expand import Cell, Plan
from flipbench.plan.settings import flatten
from flipbench.store.runs import Store


def finished_cells(plan: Plan, store: Store) -> Iterator[tuple[str, list[Cell]]]:
    """By data set, the cells all of whose runs are finished: a mean over survivors would mislead."""
    for dataset in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.data.label == dataset and cell.evaluations]
        yield dataset, [cell for cell in cells if all(map(store.done, cell.evaluations))]


def varied_settings(plan: Plan) -> dict[str, list[float]]:
    """Numeric settings in which rows of one method differ, by dotted name, with their values in ascending order."""
    by_method: dict[str, list[dict[str, object]]] = {}
    for cell in plan.cells:
        if cell.settings:
            by_method.setdefault(cell.method.method, []).append(flatten(cell.settings))
    varied: dict[str, list[float]] = {}
    for rows in by_method.values():
        for name in rows[0]:
            values = {v for row in rows if isinstance(v := row[name], int | float) and not isinstance(v, bool)}
            if len(values) > 1:
                varied[name] = sorted(values)
    return varied
