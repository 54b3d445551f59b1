"""Which figures a suite has, and of what each is drawn."""

from collections.abc import Iterator
from dataclasses import replace

from flipbench.plan.expand import Cell, Plan
from flipbench.store.runs import Store


def parts(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """The kinds of figure that a suite can have, each with the cells that it is drawn from: of one data set, or all.

    Last those whose numbers take longest to find, which a report's tables need too.
    """
    suite = plan.suite
    if suite.inspect:
        yield from ((what, plan) for what in suite.inspect)
        return
    of_data = [
        replace(plan, cells=tuple(cell for cell in plan.cells if cell.data.label == data)) for data in datasets(plan)
    ]
    if varied(plan):
        yield "sweep", plan
    kinds = {
        "cost": len(suite.methods) > 1,
        "calibration": True,
        "tuning": suite.tune is not None,
        "differences": suite.compare.reference is not None and len(suite.methods) > 1,
    }
    for kind, there in kinds.items():
        for part in of_data if there else ():
            yield kind, part


def finished(plan: Plan, store: Store, dataset: str) -> list[Cell]:
    """The cells of a data set all of whose runs are finished: a mean of survivors is none."""
    cells = [cell for cell in plan.cells if cell.data.label == dataset]
    return [cell for cell in cells if cell.evaluations and all(map(store.done, cell.evaluations))]


def datasets(plan: Plan) -> list[str]:
    return list(dict.fromkeys(cell.data.label for cell in plan.cells))


def varied(plan: Plan) -> dict[str, list[float]]:
    """Numeric settings in which rows of one method differ, with their values: what a suite sweeps."""
    settings = [(cell.method.method, cell.settings) for cell in plan.cells if cell.settings]
    found: dict[str, list[float]] = {}
    for method in dict.fromkeys(name for name, _ in settings):
        own = [s for name, s in settings if name == method]
        for name in own[0]:
            values = {v for s in own if isinstance(v := s[name], int | float) and not isinstance(v, bool)}
            if len(values) > 1:
                found[name] = sorted(values)
    return found
