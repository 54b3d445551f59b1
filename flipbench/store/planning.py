"""The plan of a suite as far as its results decide it."""

from pathlib import Path

from flipbench.data import store as data_store
from flipbench.errors import NotPreparedError, UserError
from flipbench.plan.expand import Plan, expand
from flipbench.plan.suite import Suite
from flipbench.store.runs import Store


def store_of(suite: Suite) -> Store:
    """The run folders where the suite keeps its results."""
    return Store(Path(suite.outputs.results))


def plan_of(suite: Suite, store: Store, to_run: bool = False) -> Plan:
    """The suite's plan; raises UserError where a data set is not prepared.

    Args:
        to_run: the data must be prepared here; otherwise a published fingerprint is enough, or finished runs.
    """
    plan, missing = plan_of_known(suite, store, to_run)
    if missing:
        others = ",".join(dict.fromkeys(cell.data.dataset.name for cell in plan.cells))
        raise UserError(f"{missing[0]}; without it: --only dataset={others}")
    return plan


def plan_of_known(suite: Suite, store: Store, to_run: bool = False) -> tuple[Plan, list[str]]:
    """The suite's plan without the data sets that are not prepared, and a line for each of those: how to prepare it.

    ``to_run`` is as for :func:`plan_of`. Raises UserError where none is prepared.
    """
    fingerprints: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, of_runs in {data.name: data.dataset.name for data in suite.data}.items():
        known = None if to_run else data_store.known_fingerprint(name) or store.fingerprint(of_runs)
        try:
            fingerprints[name] = known or data_store.fingerprint(name)
        except NotPreparedError as error:
            missing[name] = str(error)
    if not fingerprints:
        raise UserError(next(iter(missing.values())))
    if missing:
        suite = suite.model_copy(update={"data": [data for data in suite.data if data.name in fingerprints]})
    return expand(suite, fingerprints, store.trial_metric), list(missing.values())


def has_results(suite: Suite) -> bool:
    """Whether any of the suite's data sets has a finished run, so that nothing is generated for an empty report."""
    store = store_of(suite)
    return any(any(store.finished_folders(data.dataset.name)) for data in suite.data)
