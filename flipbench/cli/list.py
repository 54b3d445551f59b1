"""``flipbench list models|datasets|suites``."""

import argparse
from dataclasses import asdict

from flipbench.cli.output import print_json, print_table
from flipbench.plan import registry


def main(args: argparse.Namespace) -> int:
    return {"models": _models, "datasets": _datasets, "suites": _suites}[args.what](args.json)


def _models(as_json: bool) -> int:
    found = [registry.get(name) for name in registry.names()]
    if as_json:
        print_json([asdict(d) | {"guesses": d.guesses} for d in found])
    else:
        rows = [[d.name, d.kind, str(d.version), str(len(d.guesses)), d.summary] for d in found]
        print_table(["model", "kind", "version", "guesses", "what"], rows, right=frozenset({"version", "guesses"}))
    return 0


def _datasets(as_json: bool) -> int:
    from flipbench.cli.data import overview

    return overview(as_json)


def _suites(as_json: bool) -> int:
    from flipbench.plan import suite

    found = [(path, suite.load(str(path))) for path in suite.available()]
    if as_json:
        print_json([{"suite": s.suite, "path": str(p), "title": s.title} for p, s in found])
    else:
        print_table(
            ["suite", "cells", "seeds", "what"],
            [[s.suite, str(len(s.data) * len(s.methods)), str(s.seeds), s.title] for _, s in found],
        )
    return 0
