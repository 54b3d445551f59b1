"""What a search cost and found: trials, device-hours, best so far, expected best at equal budget, borders."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from flipbench.plan.expand import Cell
from flipbench.plan.search import Search, best_of
from flipbench.plan.settings import Value, flatten
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.collect import with_ancestors
from flipbench.store.runs import Store, is_number


@dataclass(frozen=True)
class Entry:
    """One search in the ledger.

    Attributes:
        trials: asked so far. done, failed: of them.
        missing: points that the row had less than the budget, because its space has no more.
        device_hours: time on one device of every run the trials needed, failed ones and pretrainings with them.
        best: the best validation figure so far, None without one; with the settings that were searched.
        curve: best so far after each finished trial, in the order the points are tried.
        expected: expected best of 1, 2, ... trials, see :func:`expected_best`.
        borders: searched numbers whose best value ends what was tried: ``name = value, lowest of those tried, a to b``.
    """

    dataset: str
    method: str
    trials: int
    done: int
    failed: int
    missing: int
    device_hours: float
    best: float | None
    settings: dict[str, Value]
    curve: tuple[float, ...]
    expected: tuple[float, ...]
    borders: tuple[str, ...]


def ledger(cells: Iterable[Cell], store: Store, select: Metric) -> list[Entry]:
    """An entry for each cell that searches."""
    return [_entry(cell, cell.search, store, select) for cell in cells if cell.search]


def _entry(cell: Cell, search: Search, store: Store, select: Metric) -> Entry:
    trial_metric = store.trial_metric
    tried = [(point, trial_metric(trial, select)) for point, trial in zip(search.points, search.trials, strict=True)]
    done = [(point, value) for point, value in tried if value is not None and not math.isnan(value)]
    values = [value for _, value in done]
    index = best_of(values, select)
    point = {} if index is None else flatten(done[index][0])
    stages = {key: stage for trial in search.trials for key, stage in with_ancestors(trial).items()}
    return Entry(
        dataset=cell.data.label,
        method=cell.method.label,
        trials=len(tried),
        done=len(done),
        failed=sum(value is not None and math.isnan(value) for _, value in tried),
        missing=search.missing,
        device_hours=sum(_seconds(stage, store) for stage in stages.values()) / 3600,
        best=None if index is None else values[index],
        settings={name: point[name] for name in flatten(search.axes)} if point else {},
        curve=tuple(accumulate(values, max if select == "auc" else min)),
        expected=tuple(expected_best(values, n, select) for n in range(1, len(values) + 1)),
        borders=tuple(_borders(search, point)) if point else (),
    )


def expected_best(values: Sequence[float], trials: int, select: Metric = "auc") -> float:
    """The expected best of ``trials`` draws with replacement from ``values``.

    Dodge et al., Show Your Work (EMNLP 2019), eq. 7: with the values in ascending order v_1 ... v_N,
    E[max] = sum_i v_i ((i/N)^n - ((i-1)/N)^n). For logloss the order is turned round.

    Raises:
        ValueError: there are no values, or ``trials`` is below 1.
    """
    if not values or trials < 1:
        raise ValueError("needs at least one value and one trial")
    ranked = sorted(values, reverse=select == "logloss")
    shares = [(i / len(ranked)) ** trials for i in range(len(ranked) + 1)]
    return math.fsum(value * (after - before) for value, (before, after) in zip(ranked, pairwise(shares), strict=True))


def _borders(search: Search, point: dict[str, Value]) -> Iterator[str]:
    """Numbers of which none beyond was tried; a least value of 0 is no border, nothing lies below it."""
    for name, axis in flatten(search.axes).items():
        if any(isinstance(value, bool) or not isinstance(value, float | int) for value in axis):
            continue
        tried = sorted({flatten(other)[name] for other in search.points})
        for end, word in ((tried[0], "lowest"), (tried[-1], "highest")):
            if len(tried) > 1 and point[name] == end != 0:
                yield f"{name} = {end:g}, {word} of those tried, {tried[0]:g} to {tried[-1]:g}"


def _seconds(stage: Stage, store: Store) -> float:
    if store.done(stage):
        return float(store.env(stage).get("seconds", 0.0))
    seconds = (store.failure(stage) or {"env": {}})["env"].get("seconds")
    return float(seconds) if is_number(seconds) else 0.0
