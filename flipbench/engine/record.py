"""A step's loss and gradients as one flat list of tensor operations.

Eager autograd finds anew at every step what a step consists of: it calls the model's modules, builds a graph and walks
it backwards. That is a good part of a small model's step on a CPU. Where a model says that its steps are all alike,
forward and backward are recorded once and the record is run instead: the same kernels on the same numbers, bit for bit,
in up to a tenth less time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.modules.batchnorm import _BatchNorm

from flipbench.engine.loop import backpropagate
from flipbench.nn.id_model import IDModel

aten = torch.ops.aten

WORTH = 500
"""Steps from which a record, which takes about as long as some hundred steps, pays."""

Forward = Callable[[Tensor], Tensor]
Loss = Callable[[Forward, Tensor, Tensor], Tensor]
"""Called with the model, ids [b, F] and labels [b]; the mean loss."""
Gradients = Callable[[Tensor, Tensor], Tensor]
"""Called with ids [b, F] and labels [b]: the mean loss; leaves every parameter's gradient."""

DIRECT: dict[Any, Callable[..., Any]] = {
    aten.mm.default: torch.mm,
    aten.addmm.default: torch.addmm,
    aten.addcmul.default: torch.addcmul,
    aten.mul.Tensor: torch.mul,
    aten.add.Tensor: torch.add,
    aten.t.default: torch.t,
    aten.sum.dim_IntList: torch.sum,
    aten.relu.default: torch.relu,
    aten.cat.default: torch.cat,
    aten.view.default: Tensor.view,
    aten.index_select.default: torch.index_select,
    aten.index_add_.default: Tensor.index_add_,
}
"""The same operations by the names whose arguments Python reads faster."""


def by_autograd(model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer) -> Gradients:
    """Forward and backward as torch does them."""

    def gradients(ids: Tensor, labels: Tensor) -> Tensor:
        return backpropagate(loss(model, ids, labels), optimiser)

    return gradients


def recorded(model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, batch_size: int) -> Gradients:
    """The same for batches of ``batch_size`` rows by a record, made at the first of them; others by autograd."""
    eager = by_autograd(model, loss, optimiser)
    weights = dict(model.named_parameters())
    tensors = [weight.data for weight in weights.values()]
    record: GraphModule | None = None

    @torch.no_grad()
    def gradients(ids: Tensor, labels: Tensor) -> Tensor:
        nonlocal record
        if len(ids) != batch_size:
            with torch.enable_grad():
                return eager(ids, labels)
        if record is None:
            state = torch.get_rng_state()  # to record is to compute, dropout's draws included
            record = _record(model, loss, list(weights), [*tensors, ids, labels])
            torch.set_rng_state(state)
        found, *slopes = record(*tensors, ids, labels)
        for weight, slope in zip(weights.values(), slopes, strict=True):
            weight.grad = slope
        return found  # type: ignore[no-any-return]

    return gradients


def can_be_recorded(model: IDModel, device: torch.device) -> bool:
    """Whether the model's steps are all alike, and on a CPU; batch norm also changes what is no parameter."""
    if not vars(type(model)).get("steps_alike") or device.type != "cpu":  # not inherited: a subclass may branch
        return False
    plain = all(weight.is_contiguous() for weight in model.parameters())
    return plain and not any(isinstance(module, _BatchNorm) for module in model.modules())


def _record(model: nn.Module, loss: Loss, names: Sequence[str], inputs: Sequence[Tensor]) -> GraphModule:
    """What turns weights, ids and labels into the loss and the weights' gradients, each as its weight lies."""

    def step(*tensors: Tensor) -> list[Tensor | None]:
        own = [weight.requires_grad_() for weight in tensors[:-2]]
        torch.set_autocast_cache_enabled(True)  # off within make_fx: a weight used twice would be cast twice
        with torch.enable_grad():
            found = loss(lambda ids: functional_call(model, dict(zip(names, own, strict=True)), (ids,)), *tensors[-2:])
            slopes = torch.autograd.grad(found, own, allow_unused=True)
        return [found.detach(), *(None if slope is None else slope.contiguous() for slope in slopes)]

    record = make_fx(step)(*inputs)
    _simplify(record.graph)
    record.recompile()
    return record


def _simplify(graph: Graph) -> None:
    """Leave out what computes nothing, copies nothing or was cast before, and add into zeros in place."""
    cast: dict[Any, Node] = {}
    for node in list(graph.nodes):
        target, args = node.target, node.args
        if target is aten.detach.default or (
            target is aten.mul.Scalar and args[1] == 1 and not _overwritten(node, args[0])
        ):
            node.replace_all_uses_with(args[0])
        elif target is aten.t.default and _is(args[0], aten.t.default):
            node.replace_all_uses_with(args[0].args[0])
        elif target is aten.index_add.default and _is(args[0], aten.new_zeros.default) and len(args[0].users) == 1:
            node.target = aten.index_add_.default
        elif target is aten._to_copy.default and node.kwargs.keys() <= {"dtype", "layout", "device"}:
            node.target, node.kwargs = Tensor.to, {"dtype": node.kwargs["dtype"], "copy": True}
            if not _overwritten(node, args[0]):
                node.replace_all_uses_with(cast.setdefault((args[0], node.kwargs["dtype"]), node))
    graph.eliminate_dead_code()
    for node in graph.nodes:
        node.target = DIRECT.get(node.target, node.target)


def _is(node: Any, target: object) -> bool:
    return isinstance(node, Node) and node.target is target


def _overwritten(*nodes: Any) -> bool:
    """Whether an operation writes into one of the nodes' tensors."""
    users = (user.target for node in nodes for user in node.users)
    return any(isinstance(target, OpOverload) and target._schema.is_mutable for target in users)
