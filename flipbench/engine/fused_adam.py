"""Adam without the bookkeeping that ``torch.optim`` repeats at every step."""

from typing import Any

import torch
from torch import Tensor


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam(fused=True)``, bit for bit: its kernel, called with lists that are made once.

    To find its parameters' states, group them by device and count their steps one by one takes a twentieth of a small
    model's step. A step in which a parameter has no gradient is torch's own.
    """

    def __init__(self, groups: list[dict[str, Any]], learning_rate: float) -> None:
        self._lists: list[tuple[dict[str, Any], list[list[Tensor]]]] | None = None
        self._counts = torch.empty(0)
        super().__init__(groups, lr=learning_rate, fused=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lists = None  # a loaded state is in other tensors

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients; ``set_to_none`` is not asked."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        gradients = [[p.grad for p in group["params"]] for group in self.param_groups]
        if any(gradient is None for of_group in gradients for gradient in of_group):
            super().step(closure)
            return
        if self._lists is None:
            super().step(closure)
            self._lists = self._make_lists()
            return
        self._counts.add_(1)
        for (group, (means, squares, steps)), of_group in zip(self._lists, gradients, strict=True):
            beta1, beta2 = group["betas"]
            torch._fused_adam_(
                group["params"],
                of_group,
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _make_lists(self) -> list[tuple[dict[str, Any], list[list[Tensor]]]]:
        """Each group with its parameters' means, squares and counts of steps; the counts are views of one tensor."""
        states = [self.state[p] for group in self.param_groups for p in group["params"]]
        self._counts = torch.stack([state["step"] for state in states])
        for state, count in zip(states, self._counts.unbind(), strict=True):
            state["step"] = count
        names = ("exp_avg", "exp_avg_sq", "step")
        return [
            (group, [[self.state[p][name] for p in group["params"]] for name in names]) for group in self.param_groups
        ]
