"""How well each row of a suite judges items that training shows never, seldom or often."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.errors import UserError
from flipbench.metrics import MetricError, auc
from flipbench.plan.expand import Cell, Plan
from flipbench.report.significance import Evidence
from flipbench.stats.compare import compare
from flipbench.stats.difference import Difference
from flipbench.store.predictions import Predictions
from flipbench.store.runs import Store

SELDOM = 5
"""Training rows up to which an item is rare."""


@dataclass(frozen=True)
class Slice:
    """A row's AUC on the test rows of some items.

    Attributes:
        dataset, method: labels of the suite.
        items: ``all``, ``never``, ``1 to 5`` or ``more``: how often training shows the item.
        rows: test rows of such items.
        auc: mean over seeds; None where these rows are all of one class.
        seeds: runs.
        difference: this row less the reference on the same rows and seeds, by bootstrap over users; None for the
            reference itself, or where there is no AUC.
    """

    dataset: str
    method: str
    items: str
    rows: int
    auc: float | None
    seeds: int
    difference: Difference | None


def slices(plan: Plan, store: Store, reference: str) -> list[Slice]:
    """Every row that has runs, on every data set; needs the prepared data, which knows the items.

    Raises:
        UserError: the reference is no row with runs, the data are not prepared, or predictions cannot be read.
    """
    of_rows: list[Slice] = []
    evidence = Evidence(store)  # reads and checks each run once
    for label in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [c for c in plan.cells if c.data.label == label and any(map(store.done, c.evaluations))]
        base = next((cell for cell in cells if cell.method.label == reference), None)
        if base is None:
            raise UserError(f"slices: '{reference}' has no finished run on {label}")
        chosen = _slices(base)
        for cell in cells:
            of_rows += [_slice(cell, base, evidence, items, rows) for items, rows in chosen.items()]
    return of_rows


def _slice(cell: Cell, base: Cell, evidence: Evidence, items: str, rows: NDArray[np.bool_]) -> Slice:
    mine, theirs = _predictions(cell, evidence), _predictions(base, evidence)
    truth = next(iter(mine.values()))
    labels, groups = truth.labels, truth.groups
    if len(labels) != len(rows):
        raise UserError(f"{cell.method.label}: {len(labels)} predictions, but {len(rows)} test rows here")
    kept = labels[rows]
    area = difference = None
    if kept.any() and not kept.all():
        area = float(np.mean([auc(kept, run.logits[rows]) for run in mine.values()]))
        seeds = sorted(mine.keys() & theirs.keys())
        if cell is not base and seeds:
            a, b = ([runs[seed].logits[rows] for seed in seeds] for runs in (mine, theirs))
            with suppress(MetricError):  # one user only
                difference = compare("user-bootstrap", "auc", kept, a, b, groups[rows])
    return Slice(cell.data.label, cell.method.label, items, int(rows.sum()), area, len(mine), difference)


def _predictions(cell: Cell, evidence: Evidence) -> dict[int, Predictions]:
    """By seed, of the runs that are done."""
    return {stage.seed: evidence.predictions(stage) for stage in cell.evaluations if evidence.store.done(stage)}


def _slices(cell: Cell) -> dict[str, NDArray[np.bool_]]:
    """[N] whether a test row is of such an item, by how many training rows show its item."""
    data, (stage, *_) = cell.data, cell.evaluations
    table = split.of_users(open_table(stage.dataset, fingerprint=stage.spec["data"]), data.users)
    column = table.item_column
    shown = np.bincount(split.training_rows(table, data.order).ids[:, column], minlength=table.num_features)
    times = shown[split.test_ids(table, data.order)[:, column]]
    return {
        "all": times >= 0,
        "never": times == 0,
        f"1 to {SELDOM}": (times > 0) & (times <= SELDOM),
        "more": times > SELDOM,
    }
