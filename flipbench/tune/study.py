"""Searches as Optuna studies: the points a sampler asks, and the lasting record of every trial."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from flipbench.identity import canonical, key_of
from flipbench.method import Value
from flipbench.protocol import Metric
from flipbench.tune.search import Axes, Fits, Search

if TYPE_CHECKING:
    from flipbench.plan import Cell
    from flipbench.store.runs import Store
    from flipbench.suite import Suite, Tune

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
    """Up to ``count`` new points from Optuna's random or TPE sampler; fewer where nothing new comes.

    A function of its arguments alone: the sampler is made anew with the number of known points as its seed, so that
    neither workers nor restarts move a point. TPE: Bergstra et al., NeurIPS 2011, joint over the settings.

    Args:
        known: earlier points with their figures, the declared settings first; NaN: failed, None: yet to run.
        fits: points that do not are passed over.
    """
    space = distributions(axes, ranges=True)
    samplers = optuna.samplers
    seed = len(known)
    sampler = (
        samplers.TPESampler(seed=seed, multivariate=True) if how.search == "tpe" else samplers.RandomSampler(seed=seed)
    )
    study = optuna.create_study(direction=_direction(how.select), sampler=sampler)
    for point, figure in known:
        if figure is not None and figure == figure:
            study.add_trial(_trial(point, figure, space))
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


def distributions(axes: Axes, ranges: bool) -> dict[str, BaseDistribution]:
    """Optuna's form of the axes.

    Args:
        ranges: numbers with a fraction are drawn between their least and greatest value, by their logarithm where these
            are a factor of ten apart. Whole numbers stay the listed ones: three heads may not divide the width. So do
            axes from zero over magnitudes, where neither scale would fit.
    """
    found: dict[str, BaseDistribution] = {}
    for name, values in axes.items():
        numbers = [float(v) for v in values if isinstance(v, float | int) and not isinstance(v, bool)]
        fractions = len(numbers) == len(values) > 1 and any(isinstance(v, float) for v in values)
        positive = [v for v in numbers if v > 0]
        wide = bool(positive) and max(positive) >= 10 * min(positive)
        if ranges and fractions and not (wide and min(numbers) <= 0):
            found[name] = FloatDistribution(min(numbers), max(numbers), log=wide)
        else:
            found[name] = CategoricalDistribution([_plain(v) for v in values])
    return found


class Studies:
    """The searches of a suite, one study a cell, in ``RESULTS/studies/SUITE.journal``.

    A record for Optuna's own tools and for people. The run folders remain what decides, so a journal that is missing
    or damaged is written again from them.
    """

    def __init__(self, store: "Store", suite: "Suite", how: "Tune") -> None:
        self.store, self.suite, self.how = store, suite, how
        self.path: Path = store.root / "studies" / f"{suite.suite}.journal"
        self.lock = FileLock(store.root / ".work" / f"study-{suite.suite}.lock")
        self._storage: JournalStorage | None = None

    def record(self, cells: Iterable["Cell"]) -> None:
        """Add each finished trial that its study lacks.

        Raises:
            OSError: the journal cannot be written.
        """
        Path(self.lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        with self.lock:
            for cell in cells:
                if cell.search:
                    study = self.study(cell)
                    there = {trial.user_attrs["key"] for trial in study.get_trials(deepcopy=False)}
                    for index, stage in enumerate(cell.trials):
                        if stage.key not in there and self.store.done(stage):
                            study.add_trial(self._finished(cell.search, index))

    def study(self, cell: "Cell") -> optuna.Study:
        """The cell's study; another search space, data or protocol makes another one."""
        select = self.how.select
        axes = cell.search.axes if cell.search else {}
        space = key_of([{name: list(values) for name, values in axes.items()}, select, cell.trials[0].key])
        name = f"{cell.data.label}/{cell.method.label}/{self.suite.protocol}/{space[:8]}"
        return optuna.create_study(
            study_name=name, storage=self._open(), direction=_direction(select), load_if_exists=True
        )

    def _finished(self, search: Search, index: int) -> optuna.trial.FrozenTrial:
        stage = search.trials[index]
        space = distributions(search.axes, ranges=self.how.search != "grid")
        figure = float(self.store.metrics(stage)["best"][self.how.select])
        seconds = self.store.read(stage, "env.json").get("seconds")
        return _trial(search.points[index], figure, space, key=stage.key, index=index, seconds=seconds)

    def _open(self) -> JournalStorage:
        if self._storage is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not _whole(self.path):
                self.path.unlink()
            # The system drops this lock with its process; Optuna's own outlives a kill by half a minute.
            lock: Any = self.lock
            self._storage = JournalStorage(JournalFileBackend(str(self.path), lock_obj=lock))
        return self._storage


def _whole(path: Path) -> bool:
    """Whether every line of a journal was written to its end and reads."""
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        return False
    try:
        for line in lines:  # Optuna itself passes over a damaged last one, until another is written after it
            json.loads(line)
        JournalStorage(JournalFileBackend(str(path)))
    except Exception:  # a damaged line raises whatever it happens to look like
        return False
    return True


def _trial(
    point: Mapping[str, Value], figure: float, space: Mapping[str, BaseDistribution], **attributes: Any
) -> optuna.trial.FrozenTrial:
    params = {name: _plain(point[name]) for name in space}
    return create_trial(
        state=TrialState.COMPLETE, value=figure, params=params, distributions=dict(space), user_attrs=attributes
    )


def _direction(select: Metric) -> Literal["maximize", "minimize"]:
    return "maximize" if select == "auc" else "minimize"


def _plain(value: Value) -> bool | int | float | str:
    """A value as Optuna stores it: a list as its JSON text."""
    return canonical(value) if isinstance(value, list) else value


def _value(name: str, asked: Any, axes: Axes) -> Value:
    """What a setting gets of an asked value: three significant digits, which last-bit differences do not move."""
    listed = {_plain(v): v for v in axes[name]}
    return listed[asked] if asked in listed else float(f"{asked:.3g}")
