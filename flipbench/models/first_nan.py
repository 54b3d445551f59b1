"""Which operation first makes a NaN of numbers, and from which line it was called."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flipbench.places import Source

Found = tuple[str, str]
"""What an operation gives, and the place that it was called from; :data:`NOWHERE` where none is found."""

NOWHERE: Found = ("", "")


class _FoundError(Exception):
    """Ends what is looked at."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises at the first NaN that an operation makes of numbers; notes the first infinity, which masks may want."""

    def __init__(self, source: Source) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = source
        self.nan, self.infinity = NOWHERE, NOWHERE

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (args, kwargs or {})
        was_nan, was_infinite = _has(torch.isnan, given), _has(torch.isinf, given)
        out = func(*args, **(kwargs or {}))
        if "empty" in _name(func):  # whatever the memory holds
            return out
        if not self.infinity[1] and not was_infinite and _has(torch.isinf, out):
            self.infinity = f"{_name(func)} gives an infinity", self.source.of_caller()
        if not was_nan and _has(torch.isnan, out):
            self.nan = f"{_name(func)} gives NaN", self.source.of_caller()
            raise _FoundError
        return out


def first_nan(act: Callable[[], object], source: Source) -> Found:
    """Does it again, slowly, up to the first NaN.

    Where a gradient is the first, the line is that of its operation's forward pass. Where a NaN has no line of the
    source, as in an optimizer's step, it is the first infinity's before it.
    """
    watch = _Watch(source)
    backward = NOWHERE
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            with watch, torch.autograd.detect_anomaly():
                act()
        except _FoundError:
            pass
        except Exception as error:  # anomaly mode's own, or what the NaN leads to
            backward = _of_backward(error, [str(each.message) for each in heard], source)
    return next((found for found in (watch.nan, backward, watch.infinity) if found[1]), NOWHERE)


def _of_backward(error: Exception, told: list[str], source: Source) -> Found:
    if "returned nan values" not in str(error):
        return NOWHERE
    place = next((found for text in reversed(told) if (found := source.of_text(text))), "")
    operation = str(error).partition("'")[2].partition("'")[0].removesuffix("Backward0").lower()
    return f"the gradient of {operation} is NaN", place


def _has(test: Callable[[Tensor], Tensor], values: Any) -> bool:
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    return any(bool(test(tensor.detach()).any()) for tensor in tensors)


def _name(func: Any) -> str:
    return str(func).removeprefix("aten.").partition(".")[0].strip("_")
