"""How far a suite is, cell by cell."""

from dataclasses import dataclass
from statistics import fmean

from flipbench.plan.expand import Cell
from flipbench.plan.suite import Suite
from flipbench.report.collect import failure_of
from flipbench.store.planning import plan_of_known, store_of
from flipbench.store.runs import Store


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        dataset, method: labels of the suite.
        trials: done and asked so far, ``3/24``; None without a search.
        done: finished runs, of ``expected``.
        failed: why runs have no result, a line each.
        auc: mean over the runs once all of them are done.
    """

    dataset: str
    method: str
    trials: str | None
    done: int
    expected: int
    failed: tuple[str, ...]
    auc: float | None


@dataclass(frozen=True)
class Status:
    """How far a suite is; ``not_prepared`` names the data sets of which nothing is known here."""

    cells: tuple[CellStatus, ...]
    not_prepared: tuple[str, ...]


def status_of(suite: Suite) -> Status:
    """How far a suite is.

    Raises:
        UserError: no data set is prepared.
    """
    store = store_of(suite)
    cells = plan_of_known(suite, store)[0].cells
    missing = {data.label for data in suite.data} - {cell.data.label for cell in cells}
    return Status(tuple(_cell(cell, suite, store) for cell in cells), tuple(sorted(missing)))


def _cell(cell: Cell, suite: Suite, store: Store) -> CellStatus:
    scores = [store.metrics(stage)["auc"] for stage in cell.evaluations if store.done(stage)]
    return CellStatus(
        dataset=cell.data.label,
        method=cell.method.label,
        trials=f"{sum(map(store.done, cell.trials))}/{len(cell.trials)}" if cell.trials else None,
        done=sum(map(store.done, cell.ends)),
        expected=suite.runs,
        failed=tuple(reason for stage in cell.ends if (reason := failure_of(stage, store))),
        auc=fmean(scores) if len(scores) == suite.runs else None,
    )
