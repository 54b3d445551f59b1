"""Mixed precision: where it may be used, and where it may not."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from flipbench.errors import UserError
from flipbench.protocol import Precision


def check_precision(precision: Precision, device: torch.device) -> None:
    """Whether the device computes so natively.

    Raises:
        UserError: it does not.
    """
    if precision == "bfloat16" and device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return
        name = torch.cuda.get_device_name(device)
        raise UserError(f"precision: bfloat16 is not supported by {name}; did you mean 'float32'?")
    if precision == "bfloat16" and device.type != "cpu":
        raise UserError(f"precision: bfloat16 is not supported on {device.type}; did you mean 'float32'?")


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The region in which matrix products are computed in ``precision``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32; in float64 where it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """A region within it without, on the tensor's device; nothing on one that has no autocast, as ``meta`` has none."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def apply_head(head: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """What a head of logits makes of the states, in float32 whatever autocast says.

    bfloat16 has 128 values an octave: hundreds of rows would share a dozen logits, and AUC would be full of ties.
    """
    with full_precision(states):
        return head(widened(states))
