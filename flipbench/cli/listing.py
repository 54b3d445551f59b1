"""``flipbench data ...`` and ``flipbench list ...``: what there is."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flipbench.cli.output import print_json, print_table
from flipbench.data import dataset
from flipbench.plan import registry

if TYPE_CHECKING:
    from flipbench.data.table import Table


def data(args: argparse.Namespace) -> int:
    """Data sets: list, fetch, import or check."""
    if args.action == "list":
        return _datasets(args.json)
    if args.action == "check":
        return _check(args.name, args.json) if args.name else _table_one(args.json)
    from flipbench.data import fetch

    table = fetch.fetch(args.name) if args.action == "fetch" else fetch.import_from(args.name, Path(args.folder))
    return _prepared(table, args.json)


def list_names(args: argparse.Namespace) -> int:
    """Models, data sets or suites."""
    return {"models": _models, "datasets": _datasets, "suites": _suites}[args.what](args.json)


def _models(as_json: bool) -> int:
    declared = [registry.get(name) for name in registry.names()]
    if as_json:
        print_json([asdict(d) | {"guesses": d.guesses} for d in declared])
    else:
        rows = [[d.name, d.kind, str(d.version), str(len(d.guesses)), d.summary] for d in declared]
        print_table(["model", "kind", "version", "guesses", "what"], rows, right=frozenset({"version", "guesses"}))
    return 0


def _suites(as_json: bool) -> int:
    from flipbench.plan import suite

    suites = [(path, suite.load(str(path))) for path in suite.available()]
    if as_json:
        print_json([{"suite": s.suite, "path": str(path), "title": s.title} for path, s in suites])
    else:
        rows = [[s.suite, str(len(s.data) * len(s.methods)), str(s.seeds), s.title] for _, s in suites]
        print_table(["suite", "cells", "seeds", "what"], rows)
    return 0


def _datasets(as_json: bool) -> int:
    """Data sets, and whether they are prepared here."""
    from flipbench.data.store import META, fingerprint, folder_of

    names = dataset.names()
    prepared = {name: fingerprint(name) if (folder_of(name) / META).exists() else None for name in names}
    sets = [(dataset.get(name), prepared[name]) for name in names]
    if as_json:
        print_json(
            [
                {"name": d.name, "title": d.title, "fingerprint": p, "licence": d.licence, "citation": d.citation}
                for d, p in sets
            ]
        )
        return 0
    rows = [[d.name, d.title, p[:12] if p else "made when needed" if d.generated else "—"] for d, p in sets]
    print_table(["data set", "title", "prepared"], rows)
    return 0


def _prepared(table: "Table", as_json: bool) -> int:
    if as_json:
        print_json(
            {"name": table.name, "folder": str(table.folder), "rows": len(table), "fingerprint": table.fingerprint}
        )
    else:
        print(f"{table.name}: {len(table):,} rows, {len(table.fields)} fields, {table.num_features - 1:,} features")
        print(f"fingerprint {table.fingerprint}\nin {table.folder}")
    return 0


def _check(name: str, as_json: bool) -> int:
    from flipbench.data.check import check

    result = check(name)
    if as_json:
        print_json(result.as_dict())
    else:
        print_table(["", "ours", "expected", "verdict"], [list(row) for row in result.rows()])
    return 0


def _table_one(as_json: bool) -> int:
    """The paper's Table I beside ours, data set by data set."""
    from flipbench.data.check import table_one

    lines = table_one()
    missing = "not prepared here"
    if as_json:
        documents = (
            {"what": line.what, "ours": line.ours, "paper": line.expected, "verdict": line.verdict}
            if line
            else {"verdict": missing}
            for _, line in lines
        )
        print_json([{"data set": title, **rest} for (title, _), rest in zip(lines, documents, strict=True)])
        return 0
    rows = [
        [title, *([line.what, f"{line.ours:,}", f"{line.expected:,}", line.verdict] if line else ["", "", "", missing])]
        for title, line in lines
    ]
    print_table(["data set", "", "ours", "Table I", "verdict"], rows)
    return 0
