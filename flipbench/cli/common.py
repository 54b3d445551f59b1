"""What several verbs share: the plan that an invocation means."""

import argparse
from pathlib import Path

from flipbench import plan, suite, tune
from flipbench.data import store as data_store
from flipbench.plan import Plan
from flipbench.store.runs import Store
from flipbench.suite import Suite


def suite_of(args: argparse.Namespace) -> Suite:
    """The suite that the options name, cut and changed as they say."""
    found = suite.load(args.suite)
    found = plan.with_options(found, args.seeds, args.protocol, args.results)
    return plan.narrow(found, args.only)


def plan_of(found: Suite, store: Store, to_run: bool = False) -> Plan:
    """The suite's plan as far as the results in ``store`` decide it.

    Args:
        to_run: the data must be prepared here; otherwise a published fingerprint is enough.

    Raises:
        UserError: a data set is not prepared.
    """
    fingerprints = {
        d.name: (None if to_run else data_store.known_fingerprint(d.name)) or data_store.fingerprint(d.name)
        for d in found.data
    }
    return plan.expand(found, fingerprints, tune.winner(store))


def store_of(found: Suite) -> Store:
    return Store(Path(found.outputs.results))
