"""What a run's test predictions give: the figures that every report compares with those that the run recorded.

Kept beside the prepared data under the digest of the predictions, on which alone they depend: a report of thousands of
runs ranks no rows the second time.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from flipbench import metrics
from flipbench.atomic import replacing
from flipbench.data.store import home
from flipbench.errors import DamagedError
from flipbench.plan.stage import Stage
from flipbench.store.manifest import PREDICTIONS
from flipbench.store.predictions import Predictions, read_predictions
from flipbench.store.runs import Store, is_number

TOLERANCE = 1e-9
"""Of a recomputed figure; the last bits may differ between processors."""

_VERSION = 1
"""Part of the name under which scores are kept: raise it when they are computed otherwise."""


@dataclass(frozen=True)
class Scores:
    """Figures of one run's test rows, by the names under which the run records them.

    Attributes:
        auc, logloss: of the predictions. rows, positives: how many there are, and how many are clicks.
        test_rows: digest of labels and users; equal for runs of the same test rows.
    """

    auc: float
    logloss: float
    rows: int
    positives: int
    test_rows: str


def scores_of(stage: Stage, store: Store) -> Scores:
    """A finished run's scores, its predictions as they were committed.

    Raises:
        DamagedError: predictions are missing, changed, or nothing that can be scored.
    """
    store.check(stage, PREDICTIONS)
    digest = store.digests(stage)[PREDICTIONS]
    path = home() / "scores" / f"{digest}-{stage.is_floor:d}-v{_VERSION}.json"
    if kept := _load(path):
        return kept
    scores = scores_from(read_predictions(store.folder(stage) / PREDICTIONS, may_be_equal=stage.is_floor))
    with contextlib.suppress(OSError):  # a folder that cannot be written costs time, no result
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(asdict(scores)), encoding="utf-8")
    return scores


def scores_from(of: Predictions) -> Scores:
    """Computed anew."""
    digest = hashlib.sha256(of.labels.tobytes() + of.groups.tobytes()).hexdigest()
    auc, logloss = metrics.auc(of.labels, of.logits), metrics.logloss(of.labels, of.logits)
    return Scores(auc, logloss, len(of.labels), int(of.labels.sum()), digest)


def check_scores(stage: Stage, store: Store, scores: Scores) -> None:
    """Compare what a run recorded with what its predictions give.

    Raises:
        DamagedError: it names the run, the figure and both values.
    """
    recorded = store.metrics(stage)
    for name in ("auc", "logloss", "rows", "positives"):
        said, computed = recorded.get(name), getattr(scores, name)
        if not is_number(said) or abs(said - computed) > TOLERANCE * max(1.0, abs(computed)):
            where = store.folder(stage) / "metrics.json"
            raise DamagedError(f"{where}: {name} is {said!r} in metrics.json, {computed} from its predictions")


def _load(path: Path) -> Scores | None:
    """What was kept; None where there is nothing or it is damaged."""
    try:
        return Scores(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
