"""Which rows of a suite are tested against which, and the tests, from stored predictions."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from zipfile import BadZipFile

from flipbench.errors import UserError
from flipbench.paper.names import family, is_proposed
from flipbench.plan import Cell, Plan
from flipbench.protocol import Metric
from flipbench.report.cells import Comparison
from flipbench.stage import Stage
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.engine.predictions import Predictions
    from flipbench.stats import Difference, Resampled

Stages = tuple[Stage, ...]
PREDICTIONS = "predictions.parquet"


def comparisons(plan: Plan, store: Store) -> tuple[Comparison, ...]:
    """The suite's declared test of every pair of :func:`pairs` whose cells have all their seeds, two or more.

    Holm's adjustment is over all of a metric's tests, every data set and baseline: the best baseline is known only
    after the runs, so choosing it must not make the test easier. One seed is no evidence of a method, so none is
    tested.

    Raises:
        UserError: a run's predictions are missing, changed or cannot be scored, or two runs' test rows differ.
    """
    from flipbench.stats.multiplicity import holm

    compare, evidence = plan.suite.compare, Evidence(store)
    found: list[Comparison] = []
    for row, against in pairs(plan):
        if not all(len(c.finals) > 1 and all(map(store.done, c.finals)) for c in (row, against)):
            continue
        for metric in get_args(Metric):
            difference = evidence.difference(row.finals, against.finals, metric, compare.test)
            found.append(Comparison(row.data.label, metric, row.method.label, against.method.label, difference))
    for metric in get_args(Metric):
        own = [i for i, c in enumerate(found) if c.metric == metric]
        for i, p in zip(own, holm([found[i].difference.p for i in own]), strict=True):
            found[i] = replace(found[i], difference=found[i].difference.within(p))
    return tuple(found)


def pairs(plan: Plan) -> Iterator[tuple[Cell, Cell]]:
    """Who is tested against whom, on each data set.

    The paper's own rows against their baselines: in Table II all of them, in Tables III to VI the raw ID-based model
    (of their group, else of the table). In a suite without rows of the paper, or with nothing else, the declared
    reference against every other row.
    """
    for data in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.data.label == data]
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
        self._resampled: dict[str, tuple[Resampled, str]] = {}

    def difference(self, first: Stages, second: Stages, metric: Metric, test: str) -> "Difference":
        """``first`` minus ``second`` by a declared test, over runs with the same seeds.

        Raises:
            UserError: as :func:`comparisons`.
        """
        from flipbench import stats

        try:
            if test == "user-bootstrap":
                found = [self.resampled(stage) for stage in (*first, *second)]
                self._same_rows([rows for _, rows in found], (*first, *second))
                half = len(first)
                pairs = [(a, b) for (a, _), (b, _) in zip(found[:half], found[half:], strict=True)]
                return stats.compare_resampled(metric, pairs)
            one, other = ([self.predictions(stage) for stage in stages] for stages in (first, second))
            self._same_rows([_digest(p) for p in (*one, *other)], (*first, *second))
            logits = ([p.logits for p in one], [p.logits for p in other])
            return stats.compare(test, metric, one[0].labels, *logits, one[0].groups)
        except ValueError as error:
            raise UserError(f"{self.store.folder(first[0])} and {self.store.folder(second[0])}: {error}") from None

    def predictions(self, stage: Stage) -> "Predictions":
        """A finished run's predictions, their bytes as they were committed.

        Raises:
            UserError: missing, changed, or nothing that can be scored.
        """
        from flipbench.engine.predictions import read_predictions

        if stage.key not in self._predictions:
            self.store.check(stage, PREDICTIONS)
            self._predictions[stage.key] = read_predictions(self.store.folder(stage) / PREDICTIONS)
        return self._predictions[stage.key]

    def resampled(self, stage: Stage) -> tuple["Resampled", str]:
        """A run's metrics under resampled users, and the digest of its test rows' labels and users.

        Kept beside the prepared data under the predictions' own digest, on which alone they depend: a report costs
        no resampling the second time.

        Raises:
            UserError: as :meth:`predictions`.
        """
        from flipbench.data.store import home
        from flipbench.stats.bootstrap import RESAMPLES, VERSION, bootstrap_metrics

        if stage.key not in self._resampled:
            self.store.check(stage, PREDICTIONS)
            kept = home() / "bootstrap" / f"{self.store.digests(stage)[PREDICTIONS]}-{RESAMPLES}-v{VERSION}.npz"
            found = _load(kept)
            if found is None:
                rows = self.predictions(stage)
                found = bootstrap_metrics(rows.labels, rows.logits, rows.groups), _digest(rows)
                _keep(kept, *found)
            self._resampled[stage.key] = found
        return self._resampled[stage.key]

    def _same_rows(self, digests: list[str], stages: Stages) -> None:
        for digest, stage in zip(digests, stages, strict=True):
            if digest != digests[0]:
                raise UserError(f"{self.store.folder(stage)}: its test rows are not those of {stages[0]}")


def _digest(rows: "Predictions") -> str:
    return hashlib.sha256(rows.labels.tobytes() + rows.groups.tobytes()).hexdigest()


def _load(path: Path) -> tuple["Resampled", str] | None:
    """What :func:`_keep` wrote; None where there is nothing or it is damaged."""
    import numpy as np

    from flipbench.stats import Resampled

    try:
        with np.load(path, allow_pickle=False) as kept:
            return Resampled(kept["auc"], kept["logloss"], int(kept["users"])), str(kept["rows"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _keep(path: Path, resampled: "Resampled", rows: str) -> None:
    """Written whole or not at all; a folder that cannot be written costs time, no result."""
    import numpy as np

    partial = path.with_name(f".{os.getpid()}-{path.name}")
    with contextlib.suppress(OSError):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(partial, auc=resampled.auc, logloss=resampled.logloss, users=resampled.users, rows=rows)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
