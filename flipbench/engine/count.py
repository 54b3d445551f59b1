"""Counting what a step of a stage does, by the code that trains: operations, arithmetic and memory traffic."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from flipbench.data.split import Rows
from flipbench.engine import fit
from flipbench.engine.calibrate import sample, samples, train_until
from flipbench.roofline import Op, Work
from flipbench.stage import Stage
from flipbench.text import packed

aten = torch.ops.aten

SCORED_SECONDS = 0.25
"""After rows that take so long to score, no more are."""

FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}
"""Floating-point operations by operator. Only products have a formula: all else is bound by its memory traffic."""

FREE = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten._unsafe_view}
"""They make or rename memory and touch none; so do operators whose results share their input's memory."""

GATHERS = {aten.embedding, aten.index_select, aten.index, aten.gather}
"""They read of their first input only what they return."""

SCATTERS = {aten.index_put_, aten._index_put_impl_, aten.index_add_, aten.index_copy_, aten.scatter_add_}
"""They read and write of their first input only as much as their last brings."""


class OpCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it every operation of this thread is counted, forward, backward and the optimiser's alike.

    Attributes:
        found: (dtype, floating-point operations, bytes) of the operations so far, and how often.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[tuple[str, int, int]] = Counter()

    def ops(self) -> tuple[Op, ...]:
        """What was counted, in the order of first occurrence."""
        return tuple(Op(*figures, times) for figures, times in self.found.items())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = func.overloadpacket
        if operator not in FORMULAS:  # in inference mode composite operators arrive whole
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if operator not in FREE and not _is_view(func) and (written := _written(func, args, kwargs, out)):
            formula = FORMULAS.get(operator)
            flops = int(formula(*args, **kwargs, out_val=out)) if formula else 0
            dtype = str(written[0].dtype).removeprefix("torch.")
            self.found[dtype, flops, _traffic(operator, _tensors((args, kwargs)), written)] += 1
        return out


def _is_view(func: Any) -> bool:
    """Whether what it returns is memory that it was given and has not written to."""
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _written(func: Any, args: Any, kwargs: Any, out: Any) -> list[Tensor]:
    """The tensors that an operation wrote: those that it made, else those that it changed."""
    named = {
        argument.name for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write
    }
    given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
    changed = _tensors([value for name, value in given.items() if name in named])
    known = {id(tensor) for tensor in changed}
    return [*(tensor for tensor in _tensors(out) if id(tensor) not in known), *changed]


def _traffic(operator: Any, read: list[Tensor], written: list[Tensor]) -> int:
    """Bytes read and written, each input and result once."""
    if operator in SCATTERS:
        return sum(map(_bytes, read[1:])) + 2 * _bytes(read[-1])
    if operator in GATHERS:
        return sum(map(_bytes, read[1:])) + 2 * sum(map(_bytes, written))
    return sum(map(_bytes, read)) + sum(map(_bytes, written))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    # an expanded tensor has more elements than memory
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def count(stage: Stage, gpu: bool = True) -> Work:
    """What a stage that trains does: its second step, which like all later ones finds the optimiser's state made.

    Args:
        gpu: count the way that the code takes on a GPU, where it takes one of its own on the CPU.

    Raises:
        UserError: as :func:`flipbench.engine.calibrate.sample`.
        RuntimeError: the training came to no second step.
    """
    began, peak = time.process_time(), _peak_mb()  # of the processor: what else this machine does is not the stage's
    step, ends = OpCounter(), 0

    def step_ended() -> bool:
        nonlocal ends
        ends += 1
        if ends == 1:
            step.found.clear()
        return ends == 2

    with _way_of_a_gpu() if gpu else nullcontext(), sample(stage, "cpu") as work:
        setup = time.process_time() - began
        with step:
            train_until(step_ended, work.train)
        if ends < 2:
            raise RuntimeError("no training steps to count")
        scoring, scored = _scoring(work.predict, work.rows) if work.predict else ((), 0)
    return Work(step.ops(), scoring, scored, setup, work.table_rows, max(_peak_mb() - peak, 0.0))


def _scoring(predict: Callable[[Rows], object], rows: Rows) -> tuple[tuple[Op, ...], int]:
    """What scoring takes, and of how many rows: as many as a short while allows."""
    counter, scored = OpCounter(), 0
    for part in samples(rows):
        counter, scored, began = OpCounter(), len(part), time.perf_counter()
        with counter:
            predict(part)
        if time.perf_counter() - began >= SCORED_SECONDS:
            break
    return counter.ops(), scored


@contextmanager
def _way_of_a_gpu() -> Iterator[None]:
    """Keeps this process off the ways that only the CPU goes: tokens without padding, Adam by rows, recorded steps."""
    ways: list[tuple[Any, str, Any]] = [
        (packed, "can_pack", _no),
        (fit, "LARGE", sys.maxsize),
        (fit, "can_be_recorded", _no),
    ]
    own = [(module, name, getattr(module, name)) for module, name, _ in ways]
    try:
        for module, name, value in ways:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in own:
            setattr(module, name, value)


def _no(*_: object) -> bool:
    return False


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
