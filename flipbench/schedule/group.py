"""Which stages can be trained together, as a stack (:mod:`flipbench.run.stack`); no torch here."""

from collections.abc import Iterable, Iterator

from flipbench.errors import UserError
from flipbench.identity import canonical
from flipbench.plan import registry
from flipbench.plan.stage import Stage

ON_GPU = 10
"""Members of a stack on a GPU unless said otherwise; on a CPU a stack is no faster than its members one by one
(``benchmarks/stacked_seeds.py``)."""

_OWN = ("learning_rate", "embedding_l2", "max_epochs", "patience")
"""Settings that may differ within a stack."""


def size(option: str, device: str) -> int:
    """How many stages a worker trains together at most, of ``--stack N|auto|off``.

    Raises:
        UserError: none of these.
    """
    if option == "auto":
        return 1 if device == "cpu" else ON_GPU
    if option == "off":
        return 1
    try:
        if (found := int(option)) < 1:
            raise ValueError
    except ValueError:
        raise UserError(f"--stack {option}: expected a number above 0, auto or off") from None
    return found


def shape(stage: Stage) -> str | None:
    """What the stages of a stack have in common; None where a stage trains alone.

    Together train ID-based models in float32, on the same rows in batches of one size. Not so with dropout, which would
    have to be drawn for all members at once and not from the stream of each; nor with batch norm, whose running mean
    follows a bias that only rounding moves, so that a stack's other rounding shows in its scores.
    """
    settings = stage.spec.get("settings", {})
    alone = stage.role not in ("select", "refit", "fit") or registry.get(stage.method).kind != "id"
    unlike = settings.get("dropout") or settings.get("batch_norm") or settings.get("precision", "float32") != "float32"
    if alone or unlike:
        return None
    common = {name: value for name, value in stage.spec.items() if name not in ("seed", "parents", "settings")}
    return canonical({**common, "settings": {n: v for n, v in settings.items() if n not in _OWN}})


def alike(stages: Iterable[Stage], most: int) -> list[Stage]:
    """The first of the stages and, up to ``most`` in all, those that can be trained with it; empty of none."""
    found: Iterator[Stage] = iter(stages)
    first = next(found, None)
    if first is None:
        return []
    together = [first]
    if most > 1 and (common := shape(first)) is not None:
        for stage in found:
            if len(together) == most:
                break
            if shape(stage) == common:
                together.append(stage)
    return together
