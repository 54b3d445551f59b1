"""What several verbs share: the plan that an invocation means."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flipbench.data import store as data_store
from flipbench.errors import NotPreparedError, UserError
from flipbench.plan import expand as plan
from flipbench.plan import search as tune
from flipbench.plan import suite
from flipbench.plan.expand import Plan
from flipbench.plan.suite import Suite
from flipbench.store.runs import Store

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
    planned, missing = plan_of_known(found, store, to_run)
    if missing:
        others = ",".join(dict.fromkeys(cell.data.name for cell in planned.cells))
        raise UserError(f"{missing[0]}; without it: --only dataset={others}")
    return planned


def plan_to_read(found: Suite, store: Store) -> Plan:
    """The suite's plan without data sets of which nothing is known here, so that the others' results can be read."""
    return plan_of_known(found, store)[0]


def plan_of_known(found: Suite, store: Store, to_run: bool = False) -> tuple[Plan, list[str]]:
    """The suite's plan without the data sets that are not prepared, and a line for each of those: how to prepare it.

    Args:
        to_run: as for :func:`plan_of`.

    Raises:
        UserError: none is prepared.
    """
    fingerprints: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(d.name for d in found.data):
        try:
            fingerprints[name] = (None if to_run else _known(name, store)) or data_store.fingerprint(name)
        except NotPreparedError as error:
            missing[name] = str(error)
    if not fingerprints:
        raise UserError(next(iter(missing.values())))
    known = [d for d in found.data if d.name in fingerprints]
    planned = plan.expand(found.model_copy(update={"data": known}), fingerprints, tune.trial_metrics(store))
    return planned, list(missing.values())


def store_of(found: Suite) -> Store:
    return Store(Path(found.outputs.results))


def results_of(found: Suite) -> tuple[Plan, Store, "SuiteResults"]:
    """The suite's plan, store and results; of the seeds that all cells with runs have so far."""
    planned, store = plan_so_far(found)
    return planned, store, results_so_far(found, planned, store)


def plan_so_far(found: Suite) -> tuple[Plan, Store]:
    """The plan of the seeds that all cells with runs have so far, and the store."""
    from flipbench.report.collect import seeds_run

    store = store_of(found)
    planned = plan_to_read(found, store)
    seeds = seeds_run(planned, store)
    if seeds is None or seeds == found.seeds:
        return planned, store
    return plan_to_read(found.model_copy(update={"seeds": seeds}), store), store


def results_so_far(found: Suite, planned: Plan, store: Store) -> "SuiteResults":
    """The results of such a plan, with a note where seeds are missing."""
    from flipbench.report.collect import collect

    results, seeds = collect(planned, store), planned.suite.seeds
    if seeds == found.seeds:
        return results
    note = f"The suite asks for {found.seeds} seeds; {seeds} so far."
    return replace(results, notes=(*results.notes, note))


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
