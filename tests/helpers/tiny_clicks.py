"""A small table whose clicks both text and ids can explain, and runs of a method on it without the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from flipbench.data.table import Field, Table
from flipbench.plan import expand as plan
from flipbench.plan import registry
from flipbench.plan.settings import flatten
from flipbench.plan.stage import DataCondition, Stage, evaluation_stage
from flipbench.run import stages
from flipbench.store.runs import Store

FIELDS = (
    Field("user_id", "user id", "user"),
    Field("mood", "mood", "user"),
    Field("item_id", "item id", "item"),
    Field("genre", "genre", "item"),
)
SMALL = {
    "plm": "small",
    "backbone": "deepfm",
    "learning_rate": 3e-3,
    "plm_learning_rate": 3e-3,
    "embedding_l2": 0.0,
    "batch_size": 50,
    "max_epochs": 1,
    "pretrain.epochs": 1,
    "pretrain.batch_size": 64,
    "pretrain.learning_rate": 1e-3,
}


def make_table(folder: Path, rows: int = 2000, users: int = 12, items: int = 10) -> Table:
    """Cheerful users click, and comedies are clicked; the rest is chance. The best possible AUC is .86."""
    draw = np.random.default_rng(7)
    user, item = draw.integers(users, size=rows), draw.integers(items, size=rows)
    cheerful, comedy = user % 2, item % 2
    values = [*(str(100 + u) for u in range(users)), "gloomy", "cheerful"]
    values += [*(str(500 + i) for i in range(items)), "drama", "comedy"]
    offsets = np.cumsum([1, users, 2, items, 2])
    ids = np.stack([user, cheerful, item, comedy], axis=1) + offsets[:-1]
    chance = 1 / (1 + np.exp(-2.2 * (2 * cheerful - 1) - 2.2 * (2 * comedy - 1)))
    labels = (draw.random(rows) < chance).astype(np.uint8)
    parquet.write_table(pa.table({"value": values}), folder / "features.parquet")
    return Table("tiny-clicks", FIELDS, ids.astype(np.int32), labels, offsets, folder, "c" * 64, {})


class Lab:
    """Runs a method's stages on a table, in a folder of their own."""

    def __init__(self, folder: Path, table: Table, patch: pytest.MonkeyPatch) -> None:
        self.table, self.store = table, Store(folder)
        self.store.prepare()
        patch.setattr(stages, "_table", lambda stage: self.table)

    def chain(self, method: str, seed: int = 0, **changes: Any) -> list[Stage]:
        """The stages behind one run, parents first: pretrain where there is one, select, refit, evaluate."""
        declared = registry.get(method)
        known = flatten(declared.settings)
        given = {name: value for name, value in {**SMALL, **changes}.items() if name in known}
        condition = DataCondition("held-out", self.table.name, self.table.fingerprint, "chronological")
        last = evaluation_stage(condition, declared, plan.resolve(declared, given), seed)
        return [*{stage.key: stage for stage in plan._with_parents(last)}.values()]

    def run(self, method: str, seed: int = 0, until: str = "evaluate", **changes: Any) -> dict[str, dict[str, Any]]:
        """Figures by role, those after ``until`` left out."""
        figures: dict[str, dict[str, Any]] = {}
        for stage in self.chain(method, seed, **changes):
            if until not in figures:
                figures[stage.role] = stages.run_stage(stage, self.store, "cpu", 1)
        return figures


def relabelled(table: Table) -> Table:
    """The same rows, every label another toss of a coin: nothing is left to learn."""
    labels = np.random.default_rng(0).integers(2, size=len(table)).astype(np.uint8)
    return replace(table, labels=labels, fingerprint="d" * 64)
