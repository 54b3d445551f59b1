"""``flipbench bundle SUITE``."""

import argparse
import sys
from pathlib import Path

from flipbench.cli.common import plan_to_read, results_of, store_of, suite_of
from flipbench.plan import suite
from flipbench.report.bundle import write_bundle


def main(args: argparse.Namespace) -> int:
    """Write the archive and print its path."""
    found = suite_of(args)
    store = store_of(found)
    path = Path(args.to or f"{found.suite}.tar")
    runs = write_bundle(suite.find(args.suite), plan_to_read(found, store), store, results_of(found)[2], path)
    print(f"{runs} runs, {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    print(path)
    return 0
