"""Which stages can be trained together, as a stack (:mod:`flipbench.run.stack`); no torch here."""

from collections.abc import Iterable
from itertools import islice

from flipbench.errors import UserError
from flipbench.identity import canonical
from flipbench.plan import registry
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage

GPU_STACK_SIZE = 10
"""Stages that train together on a GPU unless said otherwise; on a CPU a stack is no faster than its members one by one
(``benchmarks/stacked_seeds.py``)."""

_MAY_DIFFER = ("learning_rate", "embedding_l2", "max_epochs", "patience")
"""Settings that may differ within a stack."""


def stack_size(option: str, device: str) -> int:
    """How many stages a worker trains together at most, of ``--stack N|auto|off``; raises UserError of others."""
    if option in ("auto", "off"):
        return GPU_STACK_SIZE if option == "auto" and device != "cpu" else 1
    if not option.isdecimal() or int(option) < 1:
        raise UserError(f"--stack {option}: expected a number above 0, auto or off")
    return int(option)


def stack_signature(stage: Stage) -> str | None:
    """What the stages of a stack have in common; None where a stage trains alone.

    Together train ID-based models in float32, on the same rows in batches of one size. Not so with dropout, of units
    or of ids, which would have to be drawn for all members at once and not from the stream of each; nor with batch
    norm, whose running mean follows a bias that only rounding moves, so that a stack's other rounding shows in its
    scores.
    """
    settings = flatten(stage.spec.get("settings", {}))
    alone = stage.role not in ("select", "refit", "fit") or registry.get(stage.method).kind != "id"
    drawn = any(settings.get(name) for name in ("dropout", "attention_dropout", "batch_norm"))
    unlike = drawn or settings.get("oov", "random") != "random" or settings.get("precision", "float32") != "float32"
    if alone or unlike:
        return None
    common = {name: value for name, value in stage.spec.items() if name not in ("seed", "parents", "settings")}
    return canonical({**common, "settings": {n: v for n, v in settings.items() if n not in _MAY_DIFFER}})


def alike(first: Stage, others: Iterable[Stage], most: int) -> list[Stage]:
    """A stage and, up to ``most`` in all, others that can be trained with it."""
    if most == 1 or (signature := stack_signature(first)) is None:
        return [first]
    return [first, *islice((stage for stage in others if stack_signature(stage) == signature), most - 1)]
