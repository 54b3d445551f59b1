"""Searching settings: which points are tried, and which one won."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flipbench.identity import canonical
from flipbench.method import Value

if TYPE_CHECKING:
    from flipbench.stage import Stage
    from flipbench.store.runs import Store


def points(
    grid: Mapping[str, Sequence[Any]], settings: Mapping[str, Value], fixed: Mapping[str, Value], budget: int
) -> list[dict[str, Value]]:
    """The points of a grid that a search of ``budget`` trials tries, each once.

    The declared settings come first; the rest is the grid in order, or, where it is larger than
    the budget, a sample of it drawn with a fixed seed.

    Args:
        grid: values by setting.
        settings: the method's settings without the search.
        fixed: settings that the suite sets; they are not searched.
        budget: at most so many points.
    """
    axes = {name: values for name, values in grid.items() if name not in fixed}
    first = dict(settings)
    seen = {canonical(first)}
    rest = []
    for combination in itertools.product(*axes.values()):
        point = {**first, **dict(zip(axes, combination, strict=True))}
        if canonical(point) not in seen:
            seen.add(canonical(point))
            rest.append(point)
    if len(rest) > budget - 1:
        kept = sorted(random.Random(0).sample(range(len(rest)), budget - 1))  # noqa: S311 - not a secret
        rest = [rest[i] for i in kept]
    return [first, *rest]


def winner(store: "Store") -> Callable[[Sequence["Stage"], str], int | None]:
    """The rule by which a search chooses: the best validation figure among its finished trials.

    A failed trial is out; while one is neither finished nor failed there is no winner yet.
    """

    def chosen(trials: Sequence["Stage"], select: str) -> int | None:
        best: tuple[float, int] | None = None
        for index, trial in enumerate(trials):
            if store.done(trial):
                value = float(store.metrics(trial)["best"][select])
                rank = value if select == "auc" else -value
                if best is None or rank > best[0]:
                    best = (rank, index)
            elif store.failure(trial) is None:
                return None
        return best[1] if best else None

    return chosen
