"""Which operation first makes a NaN of numbers, and from which line it was called."""

import contextlib
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
    """Ends at the first NaN, or gradient without bounds, that an operation called by the source makes of numbers.

    Attributes:
        infinity: the first that is no gradient: a mask may want it, and a logarithm of nothing not.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = source
        self.found, self.infinity = NOWHERE, NOWHERE

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (args, kwargs or {})
        was_nan, was_infinite = _has(torch.isnan, given), _has(torch.isinf, given)
        out = func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.").partition(".")[0].strip("_")
        is_nan, is_infinite = (_has(test, out) and not was_nan for test in (torch.isnan, torch.isinf))
        if "empty" in name or was_infinite or not (is_nan or is_infinite):  # what is empty holds anything
            return out
        what = "NaN" if is_nan else "infinite"
        node: Any = torch._C._current_autograd_node()
        if node is not None and (place := self.source.of_text("".join(node.metadata.get("traceback_", ())))):
            self.found = f"the gradient of {node.name().partition('Backward')[0].lower()} is {what}", place
            raise _FoundError
        if node is None and (place := self.source.of_caller()):
            if is_nan:
                self.found = f"{name} gives NaN", place
                raise _FoundError
            self.infinity = self.infinity if self.infinity[1] else (f"{name} is infinite", place)
        return out


def first_nan(act: Callable[[], object], source: Source) -> Found:
    """Does it again, slowly, up to the first NaN.

    Where a gradient is the first, the line is that of its operation's forward pass. Where a NaN has no line of the
    source, as in an optimizer's step, it is the first infinity's before it.
    """
    watch = _Watch(source)
    with warnings.catch_warnings(), contextlib.suppress(Exception), watch:  # what a NaN leads to is known
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly(check_nan=False):  # for the places of gradients
            act()
    return watch.found if watch.found[1] else watch.infinity


def _has(test: Callable[[Tensor], Tensor], values: Any) -> bool:
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    return any(bool(test(tensor.detach()).any()) for tensor in tensors)
