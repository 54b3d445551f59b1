"""What a step costs on this machine: measured once a kind of stage, kept under ``$FLIPBENCH_HOME/calibration/``."""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from flipbench.data.store import home
from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage
from flipbench.store.runs import read_json, write_json

LENGTHS = ("max_epochs", "patience", "epochs")
"""Settings that say how many steps there are, not what a step does."""


@dataclass(frozen=True)
class Rates:
    """What a kind of stage costs on one CPU slot or one GPU.

    Attributes:
        setup: seconds before the first step: table, tokens, model.
        step: seconds a training step, the median of those measured.
        row: seconds to score a row; 0 for a pretraining, which scores none.
        rows: of the table that stages of the kind are split from.
        memory_mb: peak resident memory of a process that did nothing else; None where it is not known.
        device_memory_mb: peak memory on the GPU; None on the CPU.
        steps: that were measured.
    """

    setup: float
    step: float
    row: float
    rows: int
    memory_mb: float | None
    device_memory_mb: float | None
    steps: int


def kind_of(stage: Stage) -> str:
    """Equal for stages whose steps do the same work on the same data.

    Seeds and lengths are not in it, and of fractions (rates, penalties, dropout) only whether they are zero.
    An evaluation is of its fit's kind, an inspection of its pretraining's.
    """
    trained = stage.parents["pretrain"] if stage.inspects else stage
    names = ("engine", "dataset", "data", "users", "method", "version", "backbone", "plm")
    spec = {name: trained.spec[name] for name in names if name in trained.spec}
    settings = {name: value for name, value in step_settings(trained.spec).items() if name not in LENGTHS}
    return key_of({**spec, "settings": settings, "pretrain": trained.role == "pretrain"})


def step_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification's settings as far as they determine what a step does: of a fraction, whether it is zero."""
    settings = flatten(spec["settings"])
    return {name: value > 0 if isinstance(value, float) else value for name, value in settings.items()}


def load(device: str) -> dict[str, Rates]:
    """The calibrations of this machine by kind, on ``cpu`` or ``cuda``; none where the file is absent or damaged."""
    try:
        return {kind: Rates(**rates) for kind, rates in read_json(_path())["rates"][device].items()}
    except (UserError, KeyError, TypeError, AttributeError):
        return {}


def save(device: str, new: Mapping[str, Rates]) -> None:
    """Add calibrations to those of this machine; raises UserError where ``$FLIPBENCH_HOME`` cannot be written."""
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            rates = {name: {kind: asdict(r) for kind, r in load(name).items()} for name in ("cpu", "cuda")}
            rates[device] |= {kind: asdict(r) for kind, r in new.items()}
            write_json(path, {"machine": machine(), "rates": rates})
    except OSError as error:
        raise UserError(f"{path}: the calibration cannot be written ({error.strerror or error})") from None


def representatives(stages: Iterable[Stage]) -> dict[str, Stage]:
    """A stage to measure for every kind among ``stages``: one that trains."""
    of_kind: dict[str, Stage] = {}
    for stage in stages:
        trained = stage if stage.trains else stage.parents["pretrain" if stage.inspects else "fit"]
        of_kind.setdefault(kind_of(trained), trained)
    return of_kind


def machine() -> dict[str, Any]:
    """What the speed of a stage depends on, found without torch."""
    return {
        "cpu": _line(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": sorted(_line(path, "Model:") for path in Path("/proc/driver/nvidia/gpus").glob("*/information")),
        "torch": metadata.version("torch"),
    }


def _line(path: Path, beginning: str) -> str:
    """What follows the colon in a file's first line that begins so; empty without one."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(beginning)), "")


def _path() -> Path:
    return home() / "calibration" / f"{key_of(machine())[:12]}.json"
