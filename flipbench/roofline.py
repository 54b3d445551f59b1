"""What a step would take on a device that is not at hand: a model, never a measurement.

A step is a list of operations, counted by running it here (:mod:`flipbench.engine.count`). On a device an operation
lasts as long as the slower of its arithmetic and its memory traffic (the roofline model of Williams, Waterman and
Patterson, CACM 2009), and its host takes a while to issue it. A GPU works while its host issues the next operations, so
that a step lasts as long as the slower of the two; a CPU does one after the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, PositiveFloat

from flipbench import __version__
from flipbench.calibration import Rates, update
from flipbench.data.store import home
from flipbench.errors import UserError, nearest
from flipbench.store.runs import read_json


class Op(NamedTuple):
    """An operation that moves or computes something; views and allocations are none.

    Attributes:
        dtype: of its result, as ``float32``. flops: of its matrix products, 0 without.
        traffic: bytes read and written. times: that it occurs with just these figures.
    """

    dtype: str
    flops: int
    traffic: int
    times: int


@dataclass(frozen=True)
class Work:
    """What stages of a kind do, on whatever device.

    Attributes:
        step: of a training step. scoring: of ``scored`` rows; empty for a pretraining.
        setup: seconds of this machine's CPU before the training: reading the table, making tokens and a model.
        rows: of the table that stages of the kind are split from.
        memory_mb: by which training and scoring raised the peak of a process.
    """

    step: tuple[Op, ...]
    scoring: tuple[Op, ...]
    scored: int
    setup: float
    rows: int
    memory_mb: float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Efficiency(_Strict):
    """Shares of a device's peaks, in (0, 1], that large operations reach."""

    product: PositiveFloat
    bandwidth: PositiveFloat


class Device(_Strict):
    """A device's profile; see ``devices.yaml`` for the units and for where the figures are from.

    Attributes:
        asynchronous: whether it works while its host issues the next operations.
    """

    title: str
    product_tflops: Mapping[str, PositiveFloat]
    bandwidth_tb_s: PositiveFloat
    memory_gb: PositiveFloat
    overhead_us: PositiveFloat
    efficiency: Efficiency
    source: Mapping[str, str]
    asynchronous: bool = True

    def seconds(self, ops: Iterable[Op], sharing: int = 1) -> float:
        """What ``ops`` last where ``sharing`` processes, each with a core of the host, do as much on the device."""
        host = device = 0.0
        for op in ops:
            host += op.times * self.overhead_us * 1e-6
            device += op.times * max(self._product(op), self._transfer(op))
        return max(host, sharing * device) if self.asynchronous else host + sharing * device

    def rates(self, work: Work, sharing: int = 1) -> Rates:
        """The modelled cost of a kind of stage."""
        return Rates(
            setup=work.setup,
            step=self.seconds(work.step, sharing),
            row=self.seconds(work.scoring, sharing) / work.scored if work.scored else 0.0,
            rows=work.rows,
            memory_mb=None,
            device_memory_mb=work.memory_mb,
            steps=0,
        )

    def fits(self, memory_mb: float) -> bool:
        """Whether so many MiB are less than its memory."""
        return memory_mb * (1 << 20) <= self.memory_gb * 1e9

    def _product(self, op: Op) -> float:
        # a dtype of which nothing is said is taken for the slowest
        peak = self.product_tflops.get(op.dtype, min(self.product_tflops.values()))
        return op.flops / (peak * 1e12 * self.efficiency.product)

    def _transfer(self, op: Op) -> float:
        return op.traffic / (self.bandwidth_tb_s * 1e12 * self.efficiency.bandwidth)


def devices() -> dict[str, Device]:
    """The profiles that the package has, by name."""
    text = files("flipbench").joinpath("devices.yaml").read_text("utf-8")
    return {name: Device(**profile) for name, profile in yaml.safe_load(text).items()}


def device(name: str) -> Device:
    """The profile of a device.

    Raises:
        UserError: there is none of that name; names the nearest.
    """
    found = devices()
    if name not in found:
        raise UserError(f"--on {name}: no profile of such a device{nearest(name, found)}")
    return found[name]


def load() -> dict[str, Work]:
    """What these versions of flipbench and torch were counted to do, by kind; nothing of an absent or damaged file."""
    try:
        return {kind: _work(**work) for kind, work in read_json(_path())["work"].items()}
    except (UserError, KeyError, TypeError, AttributeError):
        return {}


def save(new: Mapping[str, Work]) -> None:
    """Add to what has been counted.

    Raises:
        UserError: ``$FLIPBENCH_HOME`` cannot be written.
    """

    def document() -> dict[str, Any]:
        return {"work": {kind: asdict(work) for kind, work in {**load(), **new}.items()}}

    update(_path(), document, "the counts")


def _work(step: list[list[Any]], scoring: list[list[Any]], **rest: Any) -> Work:
    return Work(tuple(Op(*op) for op in step), tuple(Op(*op) for op in scoring), **rest)


def _path() -> Path:
    return home() / "calibration" / f"operations-{__version__}-torch-{metadata.version('torch')}.json"
