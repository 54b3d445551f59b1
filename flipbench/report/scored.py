"""What a run's test predictions give, computed once for each file of predictions."""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipbench import metrics
from flipbench.atomic import write_files
from flipbench.data.store import home
from flipbench.errors import UserError
from flipbench.store.predictions import read_predictions

VERSION = 1
"""Part of the name of what is kept: raise it when predictions are scored otherwise."""


@dataclass(frozen=True)
class Scores:
    """What a run's test predictions give, by the names under which the run records it.

    Attributes:
        auc, logloss: of the predictions. rows, positives: how many there are, and how many are clicks.
        test_rows, logits: digests, of labels and users, and of what was predicted.
    """

    auc: float
    logloss: float
    rows: int
    positives: int
    test_rows: str
    logits: str


def kept_scores(path: Path, digest: str, may_be_equal: bool) -> Scores:
    """:func:`scores_of`, or what it gave before.

    Kept beside the prepared data under the predictions' own digest, on which alone they depend: sorting millions of
    predictions takes seconds, and a notebook asks for results again and again.
    """
    folder, name = home() / "scores", f"{digest}-v{VERSION}{'-floor' if may_be_equal else ''}.json"
    if kept := _load(folder / name):
        return kept
    scores = scores_of(path, digest, may_be_equal)
    with contextlib.suppress(UserError):  # a folder that cannot be written costs time, no result
        write_files(folder, {name: json.dumps(asdict(scores)).encode()}, "scores")
    return scores


@cache
def scores_of(path: Path, digest: str, may_be_equal: bool) -> Scores:
    """Computed once a process: a report, its figures and other suites read the same runs.

    Raises:
        DamagedError: as :func:`flipbench.store.predictions.read_predictions`.
    """
    run = read_predictions(path, may_be_equal)
    return Scores(
        auc=metrics.auc(run.labels, run.logits),
        logloss=metrics.logloss(run.labels, run.logits),
        rows=len(run.labels),
        positives=int(run.labels.sum()),
        test_rows=digest_of_rows(run.labels, run.groups),
        logits=hashlib.sha256(run.logits.tobytes()).hexdigest(),
    )


def digest_of_rows(labels: NDArray[Any], groups: NDArray[np.int32]) -> str:
    """Of test rows by their labels, 0 or 1 in a byte each, and by whose they are."""
    return hashlib.sha256(labels.tobytes() + groups.tobytes()).hexdigest()


def _load(path: Path) -> Scores | None:
    """What :func:`kept_scores` wrote; None where there is nothing or it is damaged."""
    try:
        kept = Scores(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    types = {name: type(value) for name, value in asdict(kept).items()}
    return kept if types == Scores.__annotations__ else None
