"""Which rows of a suite are tested against which, and the tests, from stored predictions."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from zipfile import BadZipFile

from flipbench.atomic import replacing
from flipbench.errors import UserError
from flipbench.paper.names import family, is_proposed
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.cells import Comparison
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.stats import Difference, Resampled
    from flipbench.store.predictions import Predictions

Stages = tuple[Stage, ...]
PREDICTIONS = "predictions.parquet"


def comparisons(plan: Plan, evidence: "Evidence") -> tuple[Comparison, ...]:
    """The suite's declared test of every pair of :func:`pairs` whose cells have all their seeds, two or more.

    Holm's adjustment is over all of a metric's tests, every data set and baseline: the best baseline is known only
    after the runs, so choosing it must not make the test easier. One seed is no evidence of a method, so none is
    tested.

    Raises:
        UserError: a run's predictions are missing, changed or cannot be scored, or two runs' test rows differ.
    """
    from flipbench.stats.multiplicity import holm

    compare = plan.suite.compare
    found: list[Comparison] = []
    for row, against in _tested(plan, evidence.store):
        for metric in get_args(Metric):
            difference = evidence.difference(row.evaluations, against.evaluations, metric, compare.test)
            found.append(Comparison(row.data.label, metric, row.method.label, against.method.label, difference))
    for metric in get_args(Metric):
        own = [i for i, c in enumerate(found) if c.metric == metric]
        for i, p in zip(own, holm([found[i].difference.p for i in own]), strict=True):
            found[i] = replace(found[i], difference=found[i].difference.within(p))
    return tuple(found)


def resample_ahead(plan: Plan, store: Store, enough: Callable[[], bool] = lambda: False) -> None:
    """Resample what :func:`comparisons` reads, from the last cell on, up to one that another process has kept.

    For a second process, while the first begins with the first cell and finds what this one has kept. What is wrong
    with a run is left for that one to say.
    """
    evidence = Evidence(store)
    if plan.suite.compare.test == "user-bootstrap":
        cells = {id(cell): cell for pair in _tested(plan, store) for cell in pair}
        with contextlib.suppress(UserError, ValueError):
            for cell in reversed(cells.values()):
                if enough() or (kept := evidence.kept(cell.evaluations)).exists():
                    return
                evidence.resampled(cell.evaluations)
                if not kept.exists():  # nothing can be kept here
                    return


def _tested(plan: Plan, store: Store) -> Iterator[tuple[Cell, Cell]]:
    """The pairs whose cells have all their seeds, two or more."""
    complete = {id(c) for c in plan.cells if len(c.evaluations) > 1 and all(map(store.done, c.evaluations))}
    return ((row, against) for row, against in pairs(plan) if {id(row), id(against)} <= complete)


def pairs(plan: Plan, dataset: str | None = None) -> Iterator[tuple[Cell, Cell]]:
    """Who is tested against whom, on each data set, or on one.

    The paper's own rows against their baselines: in Table II all of them, in Tables III to VI the raw ID-based model
    (of their group, else of the table). In a suite without rows of the paper, or with nothing else, the declared
    reference against every other row.
    """
    of_data: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        of_data.setdefault(cell.data.label, []).append(cell)
    for cells in of_data.values() if dataset is None else [of_data[dataset]]:
        proposed = [c for c in cells if is_proposed(c.method.label, c.method.method)]
        baselines = [c for c in cells if c not in proposed]
        if proposed and baselines:
            for cell in proposed:
                group = family(cell.method.label, cell.method.method)
                grouped = "/" in cell.method.label
                own = [b for b in baselines if family(b.method.label, b.method.method) == group] if grouped else []
                yield from ((cell, other) for other in own or baselines)
        else:
            reference = [c for c in cells if c.method.label == plan.suite.compare.reference]
            yield from ((cell, other) for cell in reference for other in cells if other is not cell)


class Evidence:
    """Stored predictions and what is computed from them, each read and checked once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._predictions: dict[str, Predictions] = {}
        self._resampled: dict[tuple[str, ...], Resampled] = {}
        self._rows: dict[str, str] = {}  # digest of each run's test rows

    def difference(self, first: Stages, second: Stages, metric: Metric, test: str) -> "Difference":
        """``first`` minus ``second`` by a declared test, over runs with the same seeds.

        Raises:
            UserError: as :func:`comparisons`.
        """
        from flipbench import stats

        try:
            if test == "user-bootstrap":
                a, b = self.resampled(first), self.resampled(second)
                self.check((first[0], second[0]))
                return stats.compare_resampled(metric, a, b)
            self.check((*first, *second))
            one, other = ([self.predictions(stage) for stage in stages] for stages in (first, second))
            logits = ([p.logits for p in one], [p.logits for p in other])
            return stats.compare(test, metric, one[0].labels, *logits, one[0].groups)
        except ValueError as error:
            raise UserError(f"{self.store.folder(first[0])} and {self.store.folder(second[0])}: {error}") from None

    def predictions(self, stage: Stage) -> "Predictions":
        """A finished run's predictions, their bytes as they were committed.

        Raises:
            UserError: missing, changed, or nothing that can be scored.
        """
        if stage.key not in self._predictions:
            self.store.check(stage, PREDICTIONS)
            self._predictions[stage.key] = self._read(stage)
        return self._predictions[stage.key]

    def check(self, stages: Stages) -> None:
        """That finished runs have predictions which can be scored, all of them of the same test rows.

        Raises:
            UserError: as :meth:`predictions`; or names a run whose labels or users are not those of most others.
        """
        for stage in stages:
            if stage.key not in self._rows:
                self.store.check(stage, PREDICTIONS)
                self._read(stage)
        digests = [self._rows[stage.key] for stage in stages]
        most = max(digests, key=digests.count, default="")
        if odd := next((stage for stage, rows in zip(stages, digests, strict=True) if rows != most), None):
            other = stages[digests.index(most)]
            raise UserError(f"{self.store.folder(odd)}: its test rows are not those of {self.store.folder(other)}")

    def resampled(self, stages: Stages) -> "Resampled":
        """A cell's metrics under resampled users.

        Kept beside the prepared data under the predictions' own digests, on which alone they depend: a report of
        millions of rows costs no resampling the second time.

        Raises:
            UserError: as :meth:`predictions`, or two runs' test rows differ.
        """
        import numpy as np

        from flipbench.stats.bootstrap import bootstrap_metrics

        name = tuple(stage.key for stage in stages)
        if name not in self._resampled:
            for stage in stages:
                self.store.check(stage, PREDICTIONS)
            kept = self.kept(stages)
            if found := _load(kept):
                self._resampled[name], rows = found
                self._rows |= dict.fromkeys(name, rows)
            else:
                runs = [self._read(stage) for stage in stages]
                self.check(stages)
                logits = np.stack([run.logits for run in runs])
                self._resampled[name] = bootstrap_metrics(runs[0].labels, logits, runs[0].groups)
                _keep(kept, self._resampled[name], self._rows[name[0]])
        return self._resampled[name]

    def kept(self, stages: Stages) -> Path:
        """Where :meth:`resampled` keeps a cell's."""
        from flipbench.data.store import home
        from flipbench.stats.bootstrap import RESAMPLES, VERSION

        own = "\n".join(self.store.digests(stage)[PREDICTIONS] for stage in stages)
        return home() / "bootstrap" / f"{hashlib.sha256(own.encode()).hexdigest()}-{RESAMPLES}-v{VERSION}.npz"

    def _read(self, stage: Stage) -> "Predictions":
        from flipbench.store.predictions import read_predictions

        found = read_predictions(self.store.folder(stage) / PREDICTIONS)
        self._rows[stage.key] = hashlib.sha256(found.labels.tobytes() + found.groups.tobytes()).hexdigest()
        return found


def _load(path: Path) -> tuple["Resampled", str] | None:
    """What :func:`_keep` wrote; None where there is nothing or it is damaged."""
    import numpy as np

    from flipbench.stats import Resampled

    try:
        with np.load(path, allow_pickle=False) as kept:
            auc, logloss, *each = (kept[name] for name in ("auc", "logloss", "auc_of", "logloss_of"))
            return Resampled(auc, logloss, each[0], each[1], int(kept["users"])), str(kept["rows"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _keep(path: Path, resampled: "Resampled", rows: str) -> None:
    """Written whole or not at all; a folder that cannot be written costs time, no result."""
    import numpy as np

    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            np.savez(beside, rows=rows, **vars(resampled))
