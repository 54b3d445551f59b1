"""What several verbs share: the plan that an invocation means."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flipbench import plan, suite, tune
from flipbench.data import dataset
from flipbench.data import store as data_store
from flipbench.errors import UserError
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
    fingerprints = {}
    for name in {d.name: None for d in found.data}:
        try:
            fingerprints[name] = (None if to_run else _known(name, store)) or data_store.fingerprint(name)
        except UserError as error:
            others = [d.name for d in found.data if d.name != name and _known(d.name, store)]
            hint = f"; without it: --only dataset={','.join(dict.fromkeys(others))}" if others else ""
            raise UserError(f"{error}{hint}") from None
    return plan.expand(found, fingerprints, tune.figures(store))


def plan_to_read(found: Suite, store: Store) -> Plan:
    """The suite's plan without data sets of which nothing is known here, so that the others' results can be read."""
    known = [d for d in found.data if dataset.get(d.name).generated or _known(d.name, store)]
    return plan_of(found.model_copy(update={"data": known}) if known else found, store)


def store_of(found: Suite) -> Store:
    return Store(Path(found.outputs.results))


def results_of(found: Suite) -> tuple[Plan, Store, "SuiteResults"]:
    """The suite's plan, store and results; of the seeds run so far, where all cells with runs have equally many."""
    from flipbench.report.collect import collect, seeds_run

    store = store_of(found)
    planned = plan_to_read(found, store)
    seeds = seeds_run(planned, store)
    if seeds is None or seeds == found.seeds:
        return planned, store, collect(planned, store)
    planned = plan_to_read(found.model_copy(update={"seeds": seeds}), store)
    results = collect(planned, store)
    note = f"The suite asks for {found.seeds} seeds; {seeds} so far."
    return planned, store, replace(results, notes=(*results.notes, note))


def _known(name: str, store: Store) -> str | None:
    """The fingerprint of data prepared here, else as published, else of the finished runs."""
    return data_store.known_fingerprint(name) or store.fingerprint(name)


def has_results(found: Suite) -> bool:
    """Whether any of the suite's data sets has a run folder, so that nothing is generated for an empty report."""
    root = Path(found.outputs.results)
    return any(any((root / d.name).glob("*/*/DONE")) for d in found.data)


def slots_of(device: str, workers: int | None) -> tuple[str, int]:
    """The kind of device (``cpu`` or ``cuda``) and the number of stages at once, found without torch.

    Raises:
        UserError: a number of workers below one.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")
    if device == "auto":
        device = "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind = "cpu" if device == "cpu" else "cuda"
    return kind, workers or (cores if kind == "cpu" else 1)


def usable(device: str) -> str:
    """The torch device that an option means.

    Raises:
        UserError: no such device here.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not usable here ({str(error).splitlines()[0]})") from None
    return device
