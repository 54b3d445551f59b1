"""How far a suite is, cell by cell."""

from dataclasses import dataclass
from statistics import fmean

from flipbench.plan.expand import Cell
from flipbench.plan.suite import Suite
from flipbench.report.collect import failure_of
from flipbench.store.runs import Store


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        dataset, method: labels of the suite.
        trials: done and asked so far, ``3/24``; None without a search.
        done: finished runs, of ``expected``. failed: why others have no result, a line each.
        auc: mean over the runs once all of them are done.
    """

    dataset: str
    method: str
    trials: str | None
    done: int
    expected: int
    failed: tuple[str, ...]
    auc: float | None


def status_of(cell: Cell, suite: Suite, store: Store) -> CellStatus:
    """How far a cell of the suite is."""
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
