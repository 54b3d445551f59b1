"""Dropout that costs little on the CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as torch_dropout

_LEVELS = 1 << 16


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """x [...] with each element zeroed with probability p and the others divided by 1 - p.

    On the CPU ``torch.nn.functional.dropout`` draws one number an element, which takes longer than all else that a
    small encoder does element by element. Here one draw of 64 bits decides four elements, with p rounded to a
    multiple of 2^-16. Draws come from torch's default generator. On other devices it is torch's own.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or p == 1.0:
        return torch_dropout(x, p)
    dropped: Tensor = _Dropout.apply(x, p)  # type: ignore[no-untyped-call]
    return dropped


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


def cheapen(model: nn.Module) -> None:
    """Put :class:`Dropout` in the place of every ``nn.Dropout`` in a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        dropped = round(p * _LEVELS)
        ctx.scale = _LEVELS / (_LEVELS - dropped)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        drawn = bits.view(torch.int16)[: x.numel()].view(x.shape)
        kept = torch.ge(drawn, dropped - _LEVELS // 2, out=torch.empty_like(x))  # 0 or 1: bool would be slower
        ctx.save_for_backward(kept)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradient * kept).mul_(ctx.scale), None
