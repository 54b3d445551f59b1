"""What several verbs share: the plan that an invocation means."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flipbench import plan, suite, tune
from flipbench.data import dataset
from flipbench.data import store as data_store
from flipbench.plan import Plan
from flipbench.store.runs import Store
from flipbench.suite import Suite

if TYPE_CHECKING:
    from flipbench.report.cells import SuiteResults


def suite_of(args: argparse.Namespace) -> Suite:
    """The suite that the options name, cut and changed as they say."""
    found = suite.load(args.suite)
    found = plan.with_options(found, args.seeds, args.protocol, args.results)
    return plan.narrow(found, args.only)


def plan_of(found: Suite, store: Store, to_run: bool = False) -> Plan:
    """The suite's plan as far as the results in ``store`` decide it.

    Args:
        to_run: the data must be prepared here; otherwise a published fingerprint is enough, or finished runs.

    Raises:
        UserError: a data set is not prepared.
    """
    fingerprints = {
        d.name: (None if to_run else _known(d.name, store)) or data_store.fingerprint(d.name) for d in found.data
    }
    return plan.expand(found, fingerprints, tune.figures(store))


def store_of(found: Suite) -> Store:
    return Store(Path(found.outputs.results))


def results_of(found: Suite) -> tuple[Plan, Store, "SuiteResults"]:
    """The suite's plan, store and results; of the seeds run so far, where all cells with runs have equally many."""
    from flipbench.report.collect import collect, seeds_run

    store = store_of(found)
    found = _with_known_data(found, store)
    planned = plan_of(found, store)
    seeds = seeds_run(planned, store)
    if seeds is None or seeds == found.seeds:
        return planned, store, collect(planned, store)
    planned = plan_of(found.model_copy(update={"seeds": seeds}), store)
    results = collect(planned, store)
    note = f"The suite asks for {found.seeds} seeds; {seeds} so far."
    return planned, store, replace(results, notes=(*results.notes, note))


def _known(name: str, store: Store) -> str | None:
    """The fingerprint of data prepared here, else as published, else of the finished runs."""
    return data_store.known_fingerprint(name) or store.fingerprint(name)


def _with_known_data(found: Suite, store: Store) -> Suite:
    """The suite without data sets that are neither prepared here nor published, nor have runs."""
    known = [d for d in found.data if dataset.get(d.name).generated or _known(d.name, store)]
    return found.model_copy(update={"data": known}) if known else found


def has_results(found: Suite) -> bool:
    """Whether any of the suite's data sets has a run folder, so that nothing is generated for an empty report."""
    root = Path(found.outputs.results)
    return any(any((root / d.name).glob("*/*/DONE")) for d in found.data)
