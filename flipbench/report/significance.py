"""Which rows of a suite are tested against which, and the tests, from stored predictions."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args
from zipfile import BadZipFile

import numpy as np

from flipbench.atomic import replacing
from flipbench.data.store import home
from flipbench.errors import DamagedError, UserError
from flipbench.paper.names import family, is_proposed
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.cells import Comparison
from flipbench.report.scored import Scores, kept_scores, scores_of
from flipbench.stats.bootstrap import RESAMPLES, VERSION, Resampled, bootstrap_metrics
from flipbench.stats.compare import compare, compare_resampled
from flipbench.stats.difference import Difference, holm
from flipbench.stats.power import Reach, reach
from flipbench.store.manifest import PREDICTIONS
from flipbench.store.predictions import Predictions, read_predictions
from flipbench.store.runs import Store, is_number

Stages = tuple[Stage, ...]

TOLERANCE = 1e-9
"""Of a recomputed figure; the last bits may differ between processors."""


class UntestableError(UserError):
    """Two rows of which the declared test has no value: seeds that agree to the last bit, one user."""


def comparisons(plan: Plan, evidence: "Evidence") -> tuple[Comparison, ...]:
    """The suite's declared test of every pair of :func:`pairs` whose cells have all their seeds, two or more.

    Holm's adjustment is over all of a metric's tests, every data set and baseline: the best baseline is known only
    after the runs, so choosing it must not make the test easier. One seed is no evidence of a method, so none is
    tested. A pair of which the test has no value in a metric, as two rows that are one run under two names under
    ``paired-t``, is left untested in both; :func:`untested` names it.

    Raises:
        DamagedError: a run's predictions are missing, changed or cannot be scored, or two runs' test rows differ.
    """
    compare, tested = plan.suite.compare, []
    for row, other in _seeded(plan, evidence.store):
        if found := evidence.differences(row.evaluations, other.evaluations, compare.test):
            tested.append((row, other, found))
    differences: dict[Metric, list[Difference]] = {}
    for metric in get_args(Metric):
        alone = [found[metric] for _, _, found in tested]
        adjusted = holm([difference.p for difference in alone])
        differences[metric] = [difference.within(p) for difference, p in zip(alone, adjusted, strict=True)]
    return tuple(
        Comparison(row.data.label, metric, row.method.label, other.method.label, each[i], can)
        for i, (row, other, _) in enumerate(tested)
        for metric, each in differences.items()
        for can in [reach_of(each[i], len(row.evaluations), compare.alpha / len(tested))]
    )


def untested(plan: Plan, store: Store, tested: Iterable[Comparison]) -> Iterator[tuple[Cell, Cell]]:
    """The pairs with all their seeds that :func:`comparisons` left out: the declared test has no value for them."""
    names = {(c.dataset, c.row, c.against) for c in tested}
    for row, other in _seeded(plan, store):
        if (row.data.label, row.method.label, other.method.label) not in names:
            yield row, other


def _seeded(plan: Plan, store: Store) -> Iterator[tuple[Cell, Cell]]:
    """The pairs whose cells have all their seeds, two or more."""
    return (p for p in pairs(plan) if all(len(c.evaluations) > 1 and all(map(store.done, c.evaluations)) for c in p))


def reach_of(difference: Difference, seeds: int, alpha: float) -> Reach | None:
    """What a declared test with its seeds can resolve, at the level of the single test."""
    return None if difference.luck is None else reach(difference.luck, seeds, alpha)


def pairs(plan: Plan, dataset: str | None = None) -> Iterator[tuple[Cell, Cell]]:
    """Which cell is tested against which, on each data set, or on one.

    The paper's own rows against their baselines: in Table II all of them, in Tables III to VI the raw ID-based model
    (of their group, else of the table). In a suite without rows of the paper, or with nothing else, the declared
    reference against every other row.
    """
    for label in [dataset] if dataset else dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.data.label == label]
        proposed = [c for c in cells if is_proposed(c.method.label, c.method.method)]
        baselines = [c for c in cells if c not in proposed]
        if proposed and baselines:
            for cell in proposed:
                in_group = [b for b in baselines if "/" in cell.method.label and _family(b) == _family(cell)]
                yield from ((cell, other) for other in in_group or baselines)
        else:
            reference = [c for c in cells if c.method.label == plan.suite.compare.reference]
            yield from ((cell, other) for cell in reference for other in cells if other is not cell)


def _family(cell: Cell) -> str:
    return family(cell.method.label, cell.method.method)


class Evidence:
    """Stored predictions and what is computed from them, each read and checked once.

    Args:
        afresh: what was kept of scores is not read.
    """

    def __init__(self, store: Store, afresh: bool = False) -> None:
        self.store, self.afresh = store, afresh
        self._predictions: dict[str, Predictions] = {}
        self._resampled: dict[tuple[str, ...], Resampled] = {}

    def difference(self, first: Stages, second: Stages, metric: Metric, test: str) -> Difference:
        """``first`` minus ``second`` by a declared test, over runs with the same seeds.

        Raises:
            DamagedError: a run's predictions are missing, changed or cannot be scored, or two runs' test rows differ.
            UntestableError: the test has no value for these two.
        """
        try:
            if test == "user-bootstrap":
                a, b = self.resampled(first), self.resampled(second)
                self.check((first[0], second[0]))
                return compare_resampled(metric, a, b)
            self.check((*first, *second))
            one, other = ([self.predictions(stage) for stage in stages] for stages in (first, second))
            logits = ([p.logits for p in one], [p.logits for p in other])
            return compare(test, metric, one[0].labels, *logits, one[0].groups)
        except ValueError as error:
            both = f"{self.store.folder(first[0])} and {self.store.folder(second[0])}"
            raise UntestableError(f"{both}: {error}") from None

    def differences(self, first: Stages, second: Stages, test: str) -> dict[Metric, Difference]:
        """:meth:`difference` in each metric; empty where the test has no value in one of them."""
        try:
            return {metric: self.difference(first, second, metric, test) for metric in get_args(Metric)}
        except UntestableError:
            return {}

    def scores(self, stage: Stage) -> Scores:
        """What a finished run's predictions give, which is also what it recorded.

        Raises:
            DamagedError: a file is missing or was changed, the predictions cannot be scored, or give other figures.
        """
        store, recorded = self.store, self.store.metrics(stage)
        store.check(stage, PREDICTIONS, "env.json")
        path = store.folder(stage) / PREDICTIONS
        scores = (scores_of if self.afresh else kept_scores)(path, store.digests(stage)[PREDICTIONS], stage.is_floor)
        for name in ("auc", "logloss", "rows", "positives"):
            said, computed = recorded.get(name), getattr(scores, name)
            if not is_number(said) or abs(said - computed) > TOLERANCE * max(1.0, abs(computed)):
                where = path.with_name("metrics.json")
                raise DamagedError(f"{where}: {name} is {said} in metrics.json, {computed} from its predictions")
        return scores

    def predictions(self, stage: Stage) -> Predictions:
        """A finished run's predictions, their bytes as they were committed.

        Raises:
            DamagedError: missing, changed, or nothing that can be scored.
        """
        if stage.key not in self._predictions:
            self.store.check(stage, PREDICTIONS)
            self._predictions[stage.key] = self._read(stage)
        return self._predictions[stage.key]

    def check(self, stages: Stages) -> None:
        """That finished runs have predictions which can be scored, all of them of the same test rows.

        Raises:
            DamagedError: as :meth:`scores`; or names a run whose labels or users are not those of most others.
        """
        digests = [self.scores(stage).test_rows for stage in stages]
        most = max(digests, key=digests.count, default="")
        if odd := next((stage for stage, rows in zip(stages, digests, strict=True) if rows != most), None):
            other = stages[digests.index(most)]
            raise DamagedError(f"{self.store.folder(odd)}: its test rows are not those of {self.store.folder(other)}")

    def resampled(self, stages: Stages) -> Resampled:
        """A cell's metrics under resampled users.

        Kept beside the prepared data under the predictions' own digests, on which alone they depend: a report of
        millions of rows costs no resampling the second time.

        Raises:
            DamagedError: as :meth:`predictions`, or two runs' test rows differ.
        """
        name = tuple(stage.key for stage in stages)
        if name not in self._resampled:
            for stage in stages:
                self.store.check(stage, PREDICTIONS)
            digests = "\n".join(self.store.digests(stage)[PREDICTIONS] for stage in stages)
            digest = hashlib.sha256(digests.encode()).hexdigest()
            path = home() / "bootstrap" / f"{digest}-{RESAMPLES}-v{VERSION}.npz"
            if kept := _load(path):
                self._resampled[name] = kept
            else:
                runs = [self._read(stage) for stage in stages]
                self.check(stages)
                logits = np.stack([run.logits for run in runs])
                self._resampled[name] = bootstrap_metrics(runs[0].labels, logits, runs[0].groups)
                _keep(path, self._resampled[name])
        return self._resampled[name]

    def _read(self, stage: Stage) -> Predictions:
        return read_predictions(self.store.folder(stage) / PREDICTIONS, may_be_equal=stage.is_floor)


def _load(path: Path) -> Resampled | None:
    """What :func:`_keep` wrote; None where there is nothing or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Resampled(kept["auc"], kept["logloss"], int(kept["users"]))
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _keep(path: Path, resampled: Resampled) -> None:
    """Written whole or not at all; a folder that cannot be written costs time, no result."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            np.savez(beside, **vars(resampled))
