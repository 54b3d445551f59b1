"""What a run tells its listener while it runs; slots count from 0."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flipbench.plan.stage import Stage


@dataclass(frozen=True)
class Planned:
    """Stages are about to run, parents first, so many ``slots`` at once; again after each round of a search.

    ``title`` is the suite's name and protocol, ``seconds`` what each is expected to take, by key, where it is known.
    """

    title: str
    stages: tuple[Stage, ...]
    seconds: Mapping[str, float]
    slots: int


@dataclass(frozen=True)
class Started:
    """A slot has begun with a stage or, of several that it trains together, goes on with this one."""

    slot: int
    stage: Stage


@dataclass(frozen=True)
class Progress:
    """Where a training stands: ``share`` of epoch number ``epoch`` (from 0) of ``epochs``; ``auc`` is the last one."""

    slot: int
    stage: Stage
    epoch: int
    epochs: int
    share: float
    auc: float | None


@dataclass(frozen=True)
class Finished:
    """A stage is done: the content of its ``metrics.json``, and its time."""

    slot: int
    stage: Stage
    metrics: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A stage has failed; others go on."""

    slot: int
    stage: Stage
    reason: str


@dataclass(frozen=True)
class Note:
    """A line that belongs to no slot."""

    line: str


Event = Planned | Started | Progress | Finished | Failed | Note
Listener = Callable[[Event], None]
