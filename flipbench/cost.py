"""What a stage will cost, from what like stages took."""

import json
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from flipbench.stage import Stage
from flipbench.store.runs import DONE, Store


def expected_seconds(stages: Iterable[Stage], store: Store) -> dict[str, float]:
    """Seconds by key, for the stages that a finished run says something about.

    The median of runs of the same (data set, role, method), else of the same (data set, role).
    Stages like none that has finished are absent: an estimate out of nothing helps nobody.
    """
    near: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for path in store.root.glob("*/*/*/env.json"):
        if not (path.parent / DONE).is_file():
            continue
        try:
            seconds = float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        except (ValueError, KeyError):
            continue
        dataset, method, folder = path.parts[-4:-1]
        role = folder.split("-")[0]
        near[dataset, role, method].append(seconds)
        near[dataset, role].append(seconds)
    found = {}
    for stage in stages:
        like = near.get((stage.dataset, stage.role, stage.method)) or near.get((stage.dataset, stage.role))
        if like:
            found[stage.key] = median(like)
    return found
