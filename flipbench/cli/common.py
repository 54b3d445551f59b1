"""What several verbs share: the plan an invocation means, and output for people or machines."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

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


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(columns: list[str], rows: list[list[str]], right: frozenset[str] = frozenset()) -> None:
    """A plain table on stdout; as wide as it needs where stdout is not a terminal."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table)
        return
    console.width = 10_000
    with console.capture() as text:
        console.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))
