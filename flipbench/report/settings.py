"""Who states what a row's runs are set to: the paper, released code, a search, or nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from flipbench.plan import registry
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.settings import Source, Value, flatten

Provenance = Literal["paper", "code", "guess", "searched", "overridden"]
"""Of a value as run. ``paper``, ``code``: as they state it. ``guess``: neither says what it should be, whatever it is
here. ``searched``: chosen on validation rows. ``overridden``: stated, and the suite sets another value."""


@dataclass(frozen=True)
class UsedSetting:
    """A setting of a cell as it was run.

    Attributes:
        name: dotted, where it is nested.
        value: here. default: as the method's file declares it, with who says so (``source``) and ``where`` or why.
    """

    name: str
    value: Value
    default: Value
    source: Source
    where: str
    provenance: Provenance


@dataclass(frozen=True)
class Unstated:
    """Names of a row's settings, over its data sets, whose values are neither the paper's nor released code's.

    Attributes:
        guesses: neither states any. overridden: stated, and set to another value by the suite.
    """

    guesses: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


def settings_of(cell: Cell) -> tuple[UsedSetting, ...]:
    """Every setting of a cell, in the order of its declaration; as declared while a search has not chosen."""
    declared = registry.get(cell.method.method)
    values = flatten(cell.settings or {})
    flavour = values.get("flavour", "")
    of_flavour = {**flatten(declared.flavours.get(str(flavour), {})), "flavour": flavour}
    searched = flatten(cell.search.axes) if cell.search else {}
    settings = []
    for name, setting in flatten(declared.settings).items():
        value = values.get(name, setting.value)
        provenance: Provenance = setting.source
        if setting.source != "guess" and name in searched:
            provenance = "searched"
        elif setting.source != "guess" and value != setting.value:
            provenance = "code" if name in of_flavour and value == of_flavour[name] else "overridden"
        settings.append(UsedSetting(name, value, setting.value, setting.source, setting.where, provenance))
    return tuple(settings)


def unstated(cells: Iterable[Cell]) -> Mapping[str, Unstated]:
    """By row, of the cells given."""
    by_row: dict[str, list[UsedSetting]] = {}
    for cell in cells:
        by_row.setdefault(cell.method.label, []).extend(settings_of(cell))

    def names(settings: list[UsedSetting], provenance: Provenance) -> tuple[str, ...]:
        return tuple(dict.fromkeys(used.name for used in settings if used.provenance == provenance))

    return {row: Unstated(names(used, "guess"), names(used, "overridden")) for row, used in by_row.items()}


def varied_settings(plan: Plan) -> dict[str, list[float]]:
    """Numeric settings in which rows of one method differ on one data set, by dotted name, their values ascending.

    What a search has chosen for rows is no sweep.
    """
    if plan.suite.tune:
        return {}
    by_method: dict[tuple[str, str], list[dict[str, Value]]] = {}
    for cell in plan.cells:
        if cell.settings:
            by_method.setdefault((cell.data.label, cell.method.method), []).append(flatten(cell.settings))
    varied: dict[str, set[float]] = {}
    for rows in by_method.values():
        for name in rows[0]:
            values = {v for row in rows if isinstance(v := row[name], int | float) and not isinstance(v, bool)}
            if len(values) > 1:
                varied.setdefault(name, set()).update(values)
    return {name: sorted(values) for name, values in varied.items()}
