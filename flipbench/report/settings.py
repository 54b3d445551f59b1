"""Who says what a row's runs are set to: the paper, released code, a search, or nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from flipbench.plan import registry
from flipbench.plan.expand import Cell
from flipbench.plan.settings import Source, Value, flatten

Standing = Literal["paper", "code", "guess", "searched", "otherwise"]
"""Of a value as run. ``paper``, ``code``: as they state it. ``guess``: neither says what it should be, whatever it is
here. ``searched``: chosen on validation rows. ``otherwise``: stated, and the suite sets another value."""


@dataclass(frozen=True)
class Used:
    """A setting of a cell as it was run.

    Attributes:
        value: here. default: as the method's file declares it, with who says so (``source``) and ``where`` or why.
    """

    name: str
    value: Value
    default: Value
    source: Source
    where: str
    standing: Standing


@dataclass(frozen=True)
class Unstated:
    """Names of a row's settings, over its data sets, whose values are neither the paper's nor released code's.

    Attributes:
        guesses: neither states any. otherwise: stated, and set to another value by the suite.
    """

    guesses: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()


def settings_of(cell: Cell) -> tuple[Used, ...]:
    """Every setting of a cell, in the order of its declaration; as declared while a search has not chosen."""
    declared = registry.get(cell.method.method)
    used = flatten(cell.settings or {})
    chosen = used.get("flavour", "")
    flavour = {**flatten(declared.flavours.get(str(chosen), {})), "flavour": chosen}
    searched = cell.search.axes if cell.search else {}
    found = []
    for name, setting in flatten(declared.settings).items():
        value = used.get(name, setting.value)
        standing: Standing = setting.source
        if setting.source != "guess" and name in searched:
            standing = "searched"
        elif setting.source != "guess" and value != setting.value:
            standing = "code" if name in flavour and value == flavour[name] else "otherwise"
        found.append(Used(name, value, setting.value, setting.source, setting.where, standing))
    return tuple(found)


def unstated(cells: Iterable[Cell]) -> Mapping[str, Unstated]:
    """By row, of the cells given."""
    names: dict[str, dict[Standing, dict[str, None]]] = {}
    for cell in cells:
        own = names.setdefault(cell.method.label, {"guess": {}, "otherwise": {}})
        for used in settings_of(cell):
            if used.standing in own:
                own[used.standing][used.name] = None
    return {row: Unstated(tuple(own["guess"]), tuple(own["otherwise"])) for row, own in names.items()}
