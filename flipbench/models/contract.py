"""What every ID-based model owes, tried on one that is built; each check raises where something is broken.

The contract as a whole, with what takes a training, is :mod:`flipbench.run.contract`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from flipbench.errors import described
from flipbench.models.id_model import IDModel

TOLERANCE = 1e-5
"""By which a logit may differ with the rows beside it, relative and absolute: batched products round otherwise."""


class ContractError(Exception):
    """What a model does not hold of the contract.

    Attributes:
        names: of what in its class is meant, the best first; empty where only the class as a whole is.
        place: ``FILE:LINE``, where it is known better than by name.
    """

    def __init__(self, message: str, *names: str, place: str = "") -> None:
        super().__init__(message)
        self.names, self.place = names, place


def check_constructor(cls: type[IDModel], settings: Mapping[str, Any]) -> None:
    """The constructor takes ``features``, ``fields`` and the declared settings, and has no default of its own.

    Args:
        settings: the declared settings that are the model's own, not its training's.
    """
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        missing: list[str] = []
    else:
        missing = [name for name in settings if name not in {p.name for p in parameters}]
    if [p.name for p in parameters[:2]] != ["features", "fields"]:
        raise ContractError("the constructor's first two parameters are not 'features' and 'fields'", "__init__")
    for p in parameters[2:]:
        default = "" if p.default is p.empty else f" with the default {p.default!r}"
        if p.name not in settings:
            raise ContractError(
                f"the constructor takes '{p.name}'{default}, which is no setting: runs at other values would share one "
                "key; declare it in 'settings'",
                "__init__",
            )
        if default and p.default != settings[p.name].unkeyed:
            raise ContractError(f"the constructor takes '{p.name}'{default}: the default is the setting's", "__init__")
    if missing:
        raise ContractError(f"the setting '{missing[0]}' is no parameter of the constructor", missing[0], "settings")


def check_forward(model: IDModel, ids: Tensor) -> None:
    """v [N, representation_dim] float32, logits [N] in floating point, the score of v, and finite.

    Args:
        ids: [N, F]; leaves the model in evaluation mode.
    """
    model.eval()
    v, n = model.represent(ids), len(ids)
    if not isinstance(v, Tensor) or v.shape != (n, model.representation_dim) or v.dtype != torch.float32:
        wanted = f"[{n}, {model.representation_dim}] torch.float32 ('representation_dim' is {model.representation_dim})"
        raise ContractError(f"'represent' gives {_shown(v)} for {n} rows, not {wanted}", "represent")
    for what, logits in (("score", model.score(ids, v)), ("forward", model(ids))):
        if not isinstance(logits, Tensor) or logits.shape != (n,) or not logits.is_floating_point():
            raise ContractError(f"'{what}' gives {_shown(logits)} for {n} rows, not [{n}] in floating point", what)
        if not logits.isfinite().all():
            raise FloatingPointError(f"'{what}' gives logits that are no finite numbers")
    if not torch.equal(model.score(ids, v), model(ids)):
        raise ContractError("the logit of 'forward' is not the 'score' of 'represent'", "forward", "score")


def check_ids(model: IDModel, ids: Tensor) -> None:
    """int32 and int64 ids give the same gradients."""
    gradients = []
    for kind in (torch.int32, torch.int64):
        model.zero_grad()
        with torch.random.fork_rng(devices=[]):
            model(ids.to(kind)).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    int32, int64 = gradients

    def same(name: str) -> bool:
        return torch.allclose(int32[name], int64[name], rtol=0.0, atol=0.0, equal_nan=True)

    if int32.keys() != int64.keys() or not all(map(same, int32)):
        raise ContractError("int32 and int64 ids give other gradients", "represent")


def check_gradients(model: IDModel, ids: Tensor, labels: Tensor, steps: int = 1) -> None:
    """A gradient that is not all zero reaches every parameter in one of the first ``steps`` steps of Adam."""
    trained = {name: p for name, p in model.train().named_parameters() if p.requires_grad}
    optimizer, left = torch.optim.Adam(trained.values(), lr=1e-2), list(trained)
    for _ in range(steps):
        optimizer.zero_grad()
        bce(model(ids), labels).backward()  # type: ignore[no-untyped-call]
        left = [name for name in left if (gradient := trained[name].grad) is None or not gradient.any()]
        if not left:
            return
        optimizer.step()
    hint = "; 'first_order=False' leaves out the first-order term" if "linear.weight" in left else ""
    raise ContractError(f"no gradient reaches {', '.join(left)}{hint}", *(part for n in left for part in n.split(".")))


def check_rows(model: IDModel, ids: Tensor) -> None:
    """In evaluation a row's logit does not depend on the rows beside it, nor on calls before; leaves it in that mode.

    Args:
        model: with weights that tell rows apart, and batch norms that have seen rows.
    """
    model.eval()
    with torch.no_grad():
        together = model(ids)
        alone = torch.cat([model(row).reshape(1) for row in torch.split(ids, 1)])
        again = model(ids)
    if not torch.equal(together, again):
        raise ContractError("in evaluation mode the same rows get other logits when they come again", "represent")
    if not torch.allclose(alone, together, rtol=TOLERANCE, atol=TOLERANCE):
        off = float((alone - together).abs().max())
        told = f"by up to {off:.2g}" if off == off else "and is NaN"
        raise ContractError(f"a row's logit depends on the rows beside it: alone it differs {told}", "represent")


def check_meta(build: Callable[[], IDModel], ids: Tensor) -> None:
    """Built and called on torch's device ``meta``, which has shapes and no values: how FLIP looks at a backbone."""
    with torch.device("meta"):
        logits = build()(ids.to("meta"))
    if logits.device.type != "meta" or logits.shape != (len(ids),):
        raise ContractError(f"on the device 'meta' the logits are {_shown(logits)} on {logits.device}", "represent")


def check_captured(model: IDModel, ids: Tensor, labels: Tensor) -> None:
    """One training step, forward and backward, is one graph of tensor operations that also holds for other rows.

    It is recorded by ``make_fx`` with tensors that have no values: whatever waits for one on the host (``item``, an
    ``if``), or has a shape that depends on them, is found. No GPU is needed, and no CUDA graph is made.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    model.train()
    names = [name for name, p in model.named_parameters() if p.requires_grad]

    def step(state: dict[str, Tensor], ids: Tensor, labels: Tensor) -> Sequence[Tensor | None]:
        logits = functional_call(model, state, (ids,))
        return logits, *torch.autograd.grad(bce(logits, labels), [state[name] for name in names], allow_unused=True)

    def state() -> dict[str, Tensor]:
        """Of its own, since batch norms write to theirs."""
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {name: t.detach().clone().requires_grad_(name in names) for name, t in tensors.items()}

    def drawn(function: Callable[..., Any], *rows: Tensor) -> list[Tensor | None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return [*function(state(), *rows)]

    with torch.random.fork_rng(devices=[]):
        graph = make_fx(step, tracing_mode="fake")(state(), ids, labels)
    others = ids.flip(0), labels.flip(0)
    for recorded, run in zip(drawn(graph, *others), drawn(step, *others), strict=True):
        if recorded is None or run is None:
            continue
        if not torch.allclose(recorded, run, rtol=1e-4, atol=1e-6):
            raise ContractError("the recorded graph gives other figures on other rows: it holds a value", "represent")


def trains_on_one_row(model: IDModel, ids: Tensor, labels: Tensor) -> Exception | None:
    """What a training step on a batch of one row raises; None where it raises nothing."""
    try:
        bce(model.train()(ids[:1]), labels[:1]).backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        return error
    return None


def _shown(value: object) -> str:
    try:
        return f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    except Exception as error:  # of a user's class of tensors
        return described(error)
