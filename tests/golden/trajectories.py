"""The first steps of every method in every training role, and the keys of all stages: the contract of a refactoring.

``python tests/golden/trajectories.py`` writes ``trajectories.json`` anew: only where a version rises, never to make a
test pass.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from flipbench.data import dataset
from flipbench.identity import key_of
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.run.stages import run_stage
from flipbench.store.runs import Store

HERE = Path(__file__).parent
FILE = HERE / "trajectories.json"
STEPS = 4
"""Of every training: losses and gradient norms of as many."""


def record(results: Path) -> dict[str, Any]:
    """What :data:`FILE` holds, run anew into ``results``."""
    return {"suites": suite_keys(results), "stages": trajectories(results)}


def trajectories(results: Path) -> dict[str, dict[str, Any]]:
    """By row, role and protocol: key, first losses and gradient norms, and the figures that the run ends with.

    A stage that several rows or protocols share is recorded with the first.
    """
    store, found, seen = Store(results), {}, set()
    store.prepare()
    declared = suite.load(str(HERE / "suite.yaml"))
    for protocol in ("held-out", "as-released"):
        planned = _plan(declared.model_copy(update={"protocol": protocol}), store)
        for cell in planned.cells:
            for stage in (s for final in cell.evaluations for s in _with_parents(final) if s.key not in seen):
                seen.add(stage.key)
                with recorded() as steps:
                    figures = run_stage(stage, store, "cpu", 1)
                scalars = {k: v for k, v in figures.get("best", figures).items() if isinstance(v, float)}
                found[f"{cell.method.label} {stage.role} {protocol}"] = {"key": stage.key, **steps, "figures": scalars}
    return found


def suite_keys(results: Path) -> dict[str, str]:
    """By shipped suite, the digest of the keys of all its stages, as far as they are known before a search."""
    found = {}
    for path in suite.available():
        planned = _plan(suite.load(str(path)), Store(results / "none"))
        found[path.stem] = key_of(sorted(stage.key for stage in planned.stages()))
    return found


@contextmanager
def recorded() -> Iterator[dict[str, list[float]]]:
    """Losses that are propagated back, and the norm of all gradients as the optimizer first sees them."""
    steps: dict[str, list[float]] = {"losses": [], "norms": []}
    backward = torch.Tensor.backward

    def remembering(self: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        if len(steps["losses"]) < STEPS:
            steps["losses"].append(self.item())
        backward(self, *args, **kwargs)

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if len(steps["norms"]) < len(steps["losses"]):
            grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            steps["norms"].append(math.sqrt(sum(float(g.double().square().sum()) for g in grads)))

    hook = register_optimizer_step_pre_hook(before_step)
    torch.Tensor.backward = remembering  # type: ignore[method-assign]
    try:
        yield steps
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
        hook.remove()


def _plan(found: suite.Suite, store: Store) -> plan.Plan:
    prints = {d.name: dataset.get(d.name).fingerprint or "0" * 64 for d in found.data}
    return plan.expand(found, prints, store.trial_metric)


def _with_parents(stage: Any) -> Iterator[Any]:
    for parent in stage.parents.values():
        yield from _with_parents(parent)
    yield stage


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with TemporaryDirectory() as folder:
        found = record(Path(os.environ.get("GOLDEN_RESULTS", folder)))
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found['stages'])} stages, {len(found['suites'])} suites in {FILE}")
