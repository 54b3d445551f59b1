"""Which points a search tries, and which one won; a pure function of the suite and of the trials' figures."""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flipbench.identity import canonical
from flipbench.plan.settings import Axes, Fits, Value
from flipbench.protocol import Metric

if TYPE_CHECKING:
    from flipbench.plan.entries import Tune
    from flipbench.plan.stage import Stage

TrialMetric = Callable[["Stage", Metric], float | None]
"""A trial's validation figure; NaN where the trial failed, None while it has yet to run."""


@dataclass(frozen=True)
class Search:
    """A search as far as the finished trials decide it.

    Attributes:
        axes: what is searched.
        points: settings by trial, the declared ones first; those asked so far where a sampler asks in rounds.
        trials: their stages.
        best: index of the winner; None while a trial has yet to run, or where all have failed.
        missing: points that the budget has and the space, used up, has not.
    """

    axes: Axes
    points: tuple[dict[str, Value], ...]
    trials: tuple["Stage", ...]
    best: int | None
    missing: int = 0


def search(
    how: "Tune",
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Value],
    fixed: Mapping[str, Value],
    trial_of: Callable[[Mapping[str, Value]], "Stage"],
    trial_metric: TrialMetric,
    fits: Fits = lambda point: True,
) -> Search:
    """The search of one method on one data set.

    Args:
        grid: values by setting.
        settings: the method's settings without the search.
        fixed: settings that the suite sets; they are not searched.
        trial_of: the stage that trains a point.
        trial_metric: what is known of a trial; a failed one is out, and counts against the budget.
        fits: points that do not are never tried.
    """
    axes, used_up = _axes(grid, settings, fixed), how.search == "grid"
    if how.search == "grid":
        tried = points(grid, settings, fixed, how.budget, fits)
        trials = [trial_of(point) for point in tried]
        values = [trial_metric(trial, how.select) for trial in trials]
    else:
        tried, trials, values = [], [], []
        size = how.round if how.search == "tpe" else how.budget
        while len(tried) < how.budget and None not in values:
            count = min(size, how.budget - len(tried))
            new = _round(how, axes, settings, tried, values, count, fits)
            if used_up := not new:  # as a small space is
                break
            tried += new
            trials += [trial_of(point) for point in new]
            values += [trial_metric(trial, how.select) for trial in trials[len(values) :]]
    missing = how.budget - len(tried) if used_up else 0
    return Search(axes, tuple(tried), tuple(trials), best_of(values, how.select), missing)


def points(
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Value],
    fixed: Mapping[str, Value],
    budget: int,
    fits: Fits = lambda point: True,
) -> list[dict[str, Value]]:
    """The points of a grid that a search of ``budget`` trials tries, each once.

    The declared settings come first; the rest is the grid in order, or, where it is larger than
    the budget, a sample of it drawn with a fixed seed.

    Args:
        grid: values by setting.
        settings: the method's settings without the search.
        fixed: settings that the suite sets; they are not searched.
        budget: at most so many points.
        fits: points that do not are left out.
    """
    axes = {name: values for name, values in grid.items() if name not in fixed}
    first = dict(settings)
    seen = {canonical(first)}
    rest = []
    for combination in itertools.product(*axes.values()):
        point = {**first, **dict(zip(axes, combination, strict=True))}
        if canonical(point) not in seen and fits(point):
            seen.add(canonical(point))
            rest.append(point)
    if len(rest) > budget - 1:
        kept = sorted(random.Random(0).sample(range(len(rest)), budget - 1))  # noqa: S311 - not a secret
        rest = [rest[i] for i in kept]
    return [first, *rest]


def best_of(values: Sequence[float | None], select: Metric) -> int | None:
    """Index of the best trial_metric, the first of equals; None while one is missing, or where all are NaN."""
    if None in values:
        return None
    sign = 1.0 if select == "auc" else -1.0
    ranked = [(sign * v, -i) for i, v in enumerate(values) if v is not None and not math.isnan(v)]
    return -max(ranked)[1] if ranked else None


def _axes(grid: Mapping[str, Sequence[Any]], settings: Mapping[str, Value], fixed: Mapping[str, Value]) -> Axes:
    """The searched part of a grid, the declared values with it."""
    free = {name: list(values) for name, values in grid.items() if name not in fixed}
    return {n: values if settings[n] in values else [*values, settings[n]] for n, values in free.items()}


def _round(
    how: "Tune",
    axes: Axes,
    settings: Mapping[str, Value],
    tried: Sequence[Mapping[str, Value]],
    values: Sequence[float | None],
    count: int,
    fits: Fits,
) -> list[dict[str, Value]]:
    """The next ``count`` points: the declared settings before any, then what the sampler asks."""
    first = [] if tried else [dict(settings)]
    if count == len(first) or not axes:
        return first
    from flipbench.plan.sampler import ask

    known = [*zip(tried, values, strict=True), *((point, None) for point in first)]
    return first + ask(how, axes, known, count - len(first), fits)
