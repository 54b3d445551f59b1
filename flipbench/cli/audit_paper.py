"""``flipbench audit-paper``."""

import argparse
from dataclasses import asdict

from flipbench.cli.output import print_json, print_table
from flipbench.paper.audit import audit


def main(args: argparse.Namespace) -> int:
    """Print what does not agree in the paper, and how much was checked."""
    findings = audit()
    if args.json:
        print_json([asdict(f) for f in findings])
        return 0
    off = [f for f in findings if not f.agrees]
    print_table(["check", "where", "printed", "found"], [[f.check, f.where, f.printed, f.found] for f in off])
    for check in dict.fromkeys(f.check for f in findings):
        own = [f for f in findings if f.check == check]
        print(f"{check}: {sum(f.agrees for f in own)} of {len(own)} agree")
    return 0
