"""The points that Optuna's samplers ask, as a function of what is known alone."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from flipbench.identity import canonical
from flipbench.plan.settings import Axes, Fits, Value
from flipbench.protocol import Metric

if TYPE_CHECKING:
    from flipbench.plan.entries import Tune

optuna.logging.set_verbosity(optuna.logging.WARNING)

MISSES = 50
"""Points asked that were asked before or do not fit, after which a space counts as used up."""


def ask(
    how: "Tune",
    axes: Axes,
    known: Sequence[tuple[Mapping[str, Value], float | None]],
    count: int,
    fits: Fits = lambda point: True,
) -> list[dict[str, Value]]:
    """Up to ``count`` new points from Optuna's quasi-random or TPE sampler; fewer where nothing new comes.

    A function of its arguments alone: the sampler is made anew with the number of known points as its seed, so that
    neither workers nor restarts move a point. Quasi-random: a scrambled Sobol sequence, of which a dozen points cover
    every axis evenly. TPE: Bergstra et al., NeurIPS 2011, joint over the settings.

    Args:
        known: earlier points with their figures, the declared settings first; NaN: failed, None: yet to run.
        fits: points that do not are passed over.
    """
    space = distributions(axes, ranges=True)
    study = optuna.create_study(direction=direction(how.select), sampler=_sampler(how.search, len(known)))
    # the sequence's dimensions are those of a finished trial, whose figure is not looked at
    finished = [(known[0][0], 0.0)] if how.search == "sobol" else known
    for point, figure in finished:
        if figure is not None and figure == figure:
            study.add_trial(optuna_trial(point, figure, space))
    seen = {canonical(dict(point)) for point, _ in known}
    new: list[dict[str, Value]] = []
    misses = 0
    while len(new) < count and misses < MISSES:
        chosen = study.ask(space).params
        point = {**known[0][0], **{name: _value(name, v, axes) for name, v in chosen.items()}}
        if canonical(point) in seen or not fits(point):
            misses += 1
        else:
            seen.add(canonical(point))
            new.append(point)
    return new


def _sampler(search: str, seed: int) -> optuna.samplers.BaseSampler:
    if search == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    with warnings.catch_warnings():  # its interface may change, and is tried by the tests
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.QMCSampler(scramble=True, seed=seed)


def distributions(axes: Axes, ranges: bool) -> dict[str, BaseDistribution]:
    """Optuna's form of the axes.

    Args:
        ranges: numbers with a fraction are drawn between their least and greatest value, by their logarithm where these
            are a factor of ten apart. Whole numbers stay the listed ones: three heads may not divide the width. So do
            axes from zero over magnitudes, where neither scale would fit.
    """
    space: dict[str, BaseDistribution] = {}
    for name, values in axes.items():
        numbers = [float(v) for v in values if isinstance(v, float | int) and not isinstance(v, bool)]
        fractions = len(numbers) == len(values) > 1 and any(isinstance(v, float) for v in values)
        positive = [v for v in numbers if v > 0]
        wide = bool(positive) and max(positive) >= 10 * min(positive)
        if ranges and fractions and not (wide and min(numbers) <= 0):
            space[name] = FloatDistribution(min(numbers), max(numbers), log=wide)
        else:
            space[name] = CategoricalDistribution([_plain(v) for v in values])
    return space


def optuna_trial(
    point: Mapping[str, Value], figure: float, space: Mapping[str, BaseDistribution], **attributes: Any
) -> optuna.trial.FrozenTrial:
    params = {name: _plain(point[name]) for name in space}
    return create_trial(
        state=TrialState.COMPLETE, value=figure, params=params, distributions=dict(space), user_attrs=attributes
    )


def direction(select: Metric) -> Literal["maximize", "minimize"]:
    return "maximize" if select == "auc" else "minimize"


def _plain(value: Value) -> bool | int | float | str:
    """A value as Optuna stores it: a list as its JSON text."""
    return canonical(value) if isinstance(value, list) else value


def _value(name: str, asked: Any, axes: Axes) -> Value:
    """What a setting gets of an asked value: three significant digits, which last-bit differences do not move.

    Rounding may not leave the range: the sampler is told of the point when it is made anew, and refuses one outside.
    """
    listed = {_plain(v): v for v in axes[name]}
    if asked in listed:
        return listed[asked]
    numbers = [float(v) for v in listed]
    return min(max(float(f"{asked:.3g}"), min(numbers)), max(numbers))
