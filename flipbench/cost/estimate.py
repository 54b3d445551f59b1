"""What a plan will cost: from finished runs of the same kind, else from a calibration, else from runs alike."""

import heapq
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Any, Literal

from flipbench.cost import calibration
from flipbench.data.split import fitting_size, training_size
from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan import registry
from flipbench.plan.expand import Cell, Plan, condition_of, resolve
from flipbench.plan.stage import Stage, evaluation_stage, selection_stage
from flipbench.store.runs import Store

Source = Literal["measured", "calibrated", "alike"]
"""``measured``: finished runs that differ in seeds and the values of fractions alone. ``calibrated``: a few steps of
the kind on this machine. ``alike``: finished runs of the same data set and role, with whatever settings."""


@dataclass(frozen=True)
class Estimate:
    """What a stage is expected to cost.

    Attributes:
        seconds: of one slot.
        memory_mb: peak resident memory of its process; None where it is not known.
        device_memory_mb: peak memory on the GPU; None on the CPU.
        at_most: whether ``seconds`` is for ``max_epochs``, which early stopping may undercut.
    """

    seconds: float
    memory_mb: float | None
    device_memory_mb: float | None
    source: Source
    at_most: bool = False


class Costs:
    """Estimates for ``cpu`` or ``cuda``, from the store's finished runs there and from this machine's calibrations."""

    def __init__(self, store: Store, device: str) -> None:
        self.store = store
        self.rates = calibration.load(device)
        self._runs: dict[str | tuple[Any, ...], list[_FinishedRun]] = defaultdict(list)
        self._epochs: dict[tuple[Any, ...], list[tuple[int, int]]] = defaultdict(list)
        for run in _finished(store):
            spec, place, role = run.spec, _place(run.spec), run.spec["role"]
            if run.epochs:
                self._epochs[place, spec["method"], _lengths(spec)].append(run.epochs)
            if run.on_cpu == (device == "cpu"):
                for like in (_likeness(spec), (place, role, spec["method"]), (place, role)):
                    self._runs[like].append(run)

    def of(self, stage: Stage) -> Estimate | None:
        """None where nothing like it has run and nothing is calibrated: an estimate out of nothing helps nobody."""
        same = self._runs.get(_likeness(stage.spec), [])
        if here := [run for run in same if run.here]:
            return _estimate(here, "measured")
        if self.rates and (rates := self.rates.get(calibration.kind_of(stage))):
            steps, rows, at_most = self._work(stage, rates.rows)
            seconds = rates.setup + steps * rates.step + rows * rates.row
            return Estimate(seconds, rates.memory_mb, rates.device_memory_mb, "calibrated", at_most)
        if same:
            return _estimate(same, "measured")
        place, role = _place(stage.spec), stage.role
        like = self._runs.get((place, role, stage.method)) or self._runs.get((place, role))
        return _estimate(like, "alike") if like else None

    def _work(self, stage: Stage, rows: int) -> tuple[int, int, bool]:
        """Training steps, rows to score, and whether early stopping may leave fewer of both, of a table of ``rows``."""
        training = training_size(rows)
        if stage.role == "evaluate":
            return 0, rows - training, False
        if stage.inspects:
            return 0, 0, False  # they look at a sample, once what was pretrained is loaded
        settings = stage.spec["settings"]
        if stage.role == "pretrain":
            return settings["epochs"] * math.ceil(training / settings["batch_size"]), 0, False
        epochs, at_most = self._epochs_of(stage)
        fitted = fitting_size(training) if stage.role == "select" else training
        scored = {"select": training - fitted, "fit": rows - training, "refit": 0}[stage.role]
        batch_size = settings.get("batch_size", fitted)  # a floor takes all rows at once
        return epochs * math.ceil(fitted / batch_size), epochs * scored, at_most

    def _epochs_of(self, stage: Stage) -> tuple[int, bool]:
        """Epochs that a training will last, and whether that is only an upper bound.

        A refit lasts as long as its selection says; before, and for trainings that stop early, the usual number of
        finished selections of the same method counts.
        """
        selection = stage.parents.get("select")
        if selection and self.store.done(selection):
            return self.store.best(selection)["epoch"] + 1, False
        if "max_epochs" not in stage.spec["settings"]:
            return 1, False
        usual = self._epochs.get((_place(stage.spec), stage.method, _lengths(stage.spec)))
        if not usual:
            return int(stage.spec["settings"]["max_epochs"]), True
        return round(median(best if stage.role == "refit" else trained for trained, best in usual)), False


def expected(stages: Iterable[Stage], store: Store, device: str) -> dict[str, Estimate]:
    """Estimates by key, of the stages that something is known about; the arguments are those of :class:`Costs`."""
    costs = Costs(store, device)
    return {stage.key: estimate for stage in stages if (estimate := costs.of(stage))}


def in_full(plan: Plan) -> Plan:
    """The plan with what will follow once its searches have chosen, taken to be at the declared settings."""
    return replace(plan, cells=tuple(_in_full(plan, cell) if cell.settings is None else cell for cell in plan.cells))


def _in_full(plan: Plan, cell: Cell) -> Cell:
    how, search = plan.suite.tune, cell.search
    if how is None or search is None or not search.trials:
        return cell
    declared = registry.get(cell.method.method)
    settings = resolve(declared, search.points[0])
    fingerprint = search.trials[0].spec["data"]
    condition = condition_of(plan.suite, cell.data, fingerprint)
    unasked = how.budget - len(search.points) if how.search == "tpe" else 0
    more = tuple(
        selection_stage(evaluation_stage(condition, declared, settings, -seed)) for seed in range(1, unasked + 1)
    )  # no run has these
    evaluations = tuple(evaluation_stage(condition, declared, settings, seed) for seed in range(plan.suite.seeds))
    return replace(cell, trials=(*cell.trials, *more), evaluations=evaluations)


def finish(stages: Iterable[Stage], seconds: Mapping[str, float], slots: int) -> float:
    """Seconds until the last stage ends, taken by ``slots`` in order as soon as their parents are done."""
    waiting = list(stages)
    running: list[tuple[float, str]] = []
    unfinished, now = {stage.key for stage in waiting}, 0.0
    while unfinished:
        ready = (s for s in waiting if unfinished.isdisjoint(parent.key for parent in s.parents.values()))
        for stage in list(islice(ready, slots - len(running))):
            waiting.remove(stage)
            heapq.heappush(running, (now + seconds[stage.key], stage.key))
        now, ended = heapq.heappop(running)
        unfinished.remove(ended)
    return now


def budget_of(text: str) -> float:
    """Seconds of ``90m``, ``8h``, ``1.5d``; raises UserError where it is no such time."""
    time = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not time or not (seconds := float(time[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[time[2]]):
        raise UserError(f"--budget {text}: expected a time such as 90m, 8h or 2d")
    return seconds


def duration(seconds: float) -> str:
    """``42 s``, ``7 min``, ``3 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class _FinishedRun:
    """A finished run.

    Attributes:
        on_cpu: whether it was on no GPU. here: whether its machine looks like this one.
        epochs: trained, and the best one's number from 1, of a training that stops early; None for others.
    """

    spec: Mapping[str, Any]
    seconds: float
    memory_mb: float | None
    device_memory_mb: float | None
    on_cpu: bool
    here: bool
    epochs: tuple[int, int] | None


def _finished(store: Store) -> Iterator[_FinishedRun]:
    """The finished runs of a store; a damaged one says nothing of costs."""
    for folder in store.finished_folders():
        try:
            spec, env, epochs = store.document(folder / "spec.json"), store.document(folder / "env.json"), None
            if spec["role"] in ("select", "fit"):
                metrics = store.document(folder / "metrics.json")
                epochs = len(metrics["history"]), int(metrics["best"]["epoch"]) + 1
            memory, on_device = env.get("peak_memory_mb"), env.get("peak_device_memory_mb")
            on_cpu, here = env["device"] == "cpu", env.get("cores") == os.cpu_count()
            yield _FinishedRun(spec, float(env["seconds"]), memory, on_device, on_cpu, here, epochs)
        except (UserError, ValueError, KeyError, TypeError, AttributeError):
            continue


def _estimate(runs: Sequence[_FinishedRun], source: Source) -> Estimate:
    """The median time of runs, and the largest memory."""
    memory = max((run.memory_mb for run in runs if run.memory_mb is not None), default=None)
    on_device = max((run.device_memory_mb for run in runs if run.device_memory_mb is not None), default=None)
    return Estimate(median(run.seconds for run in runs), memory, on_device, source)


def _likeness(spec: Mapping[str, Any]) -> str:
    """Equal for runs that differ in seeds, parents and the values of fractions alone."""
    rest = {name: value for name, value in spec.items() if name not in ("seed", "parents")}
    return key_of({**rest, "settings": calibration.step_settings(spec)})


def _place(spec: Mapping[str, Any]) -> tuple[str, float]:
    return spec["dataset"], spec.get("users", 1.0)


def _lengths(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    return spec.get("protocol"), *(spec["settings"].get(name) for name in ("max_epochs", "patience"))
