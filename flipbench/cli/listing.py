"""``flipbench data ...`` and ``flipbench list ...``: what there is."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flipbench.cli.output import print_either, print_json, say, tell
from flipbench.data import dataset
from flipbench.errors import UserError
from flipbench.plan import registry


def list_names(args: argparse.Namespace) -> None:
    """Models, data sets or suites."""
    {"models": _models, "datasets": _datasets, "suites": _suites}[args.what](args.json)


def data(args: argparse.Namespace) -> None:
    """Data sets: list, fetch, import or check."""
    if args.action == "list":
        _datasets(args.json)
    elif args.action == "check":
        (_check if args.name else _table_one)(args)
    else:
        _prepare(args)


def _models(as_json: bool) -> None:
    declared = []
    for line in registry.unreadable():
        tell(f"flipbench: {line}")
    for name in registry.names():
        try:
            declared.append(registry.get(name))
        except UserError as error:  # of somebody's package, which costs no other its line
            tell(f"flipbench: {error}")
    rows = [[d.name, d.kind, str(d.version), str(len(d.guesses)), d.summary] for d in declared]
    columns = ["model", "kind", "version", "guesses", "what"]
    print_either(as_json, [asdict(d) | {"guesses": d.guesses} for d in declared], columns, rows, columns[2:4])


def _suites(as_json: bool) -> None:
    from flipbench.plan import suite

    suites = [(path, suite.load(str(path))) for path in suite.available()]
    documents = [{"suite": s.suite, "path": str(path), "title": s.title} for path, s in suites]
    rows = [[s.suite, str(len(s.data) * len(s.methods)), str(s.seeds), s.title] for _, s in suites]
    print_either(as_json, documents, ["suite", "cells", "seeds", "what"], rows)


def _datasets(as_json: bool) -> None:
    """Data sets, and whether they are prepared here."""
    from flipbench.data.store import described_tables, fingerprint, is_prepared

    documents, rows = [], []
    for name in dataset.names():
        d, prepared = dataset.get(name), fingerprint(name) if is_prepared(name) else None
        described = {"name": d.name, "title": d.title, "fingerprint": prepared}
        documents.append({**described, "licence": d.licence, "citation": d.citation})
        rows.append([d.name, d.title, prepared[:12] if prepared else "made when needed" if d.generated else "—"])
    for name, prepared, said in described_tables():
        documents.append({"name": name, "fingerprint": prepared} | said)
        rows.append([name, f"{said['title']} ({said['file']})", prepared[:12]])
    print_either(as_json, documents, ["data set", "title", "prepared"], rows)


def _prepare(args: argparse.Namespace) -> None:
    from flipbench.data import fetch

    if args.action == "fetch":
        table = fetch.fetch(args.name)
    else:
        table = fetch.import_from(args.name, None if args.folder is None else Path(args.folder))
    declared = dataset.get(args.name)
    if args.json:
        described = {"name": table.name, "folder": str(table.folder)}
        published = None if declared.fingerprint is None else table.fingerprint == declared.fingerprint
        print_json({**described, "rows": len(table), "fingerprint": table.fingerprint, "published": published})
    else:
        say(f"{table.name}: {len(table):,} rows, {len(table.fields)} fields, {table.num_features - 1:,} features")
        for line in f"fingerprint {table.fingerprint}{_published(table.fingerprint, declared)}".splitlines():
            say(line)
        for line in table.meta if declared.described else ():
            say(f"{line.replace('_', ' ')}: {table.meta[line]}")
        say(f"in {table.folder}")


def _published(fingerprint: str, declared: dataset.Dataset) -> str:
    """What to say of a table's fingerprint beside the data set's published one."""
    known = declared.fingerprint
    if known is None:
        return "" if declared.generated or declared.described else "; none is published to compare it with"
    if fingerprint == known:
        return ", the published one"
    return f"\nwhich is not the published one, {known}: the raw files are not the published ones"


def _check(args: argparse.Namespace) -> None:
    from flipbench.data.check import check

    result = check(args.name)
    print_either(args.json, result.as_dict(), ["", "ours", "expected", "verdict"], [[*row] for row in result.rows()])


def _table_one(args: argparse.Namespace) -> None:
    """The paper's Table I beside ours, data set by data set."""
    from flipbench.data.check import table_one

    documents: list[dict[str, Any]] = []
    rows = []
    for title, line in table_one():
        if line is None:
            documents.append({"data set": title, "verdict": "not prepared here"})
            rows.append([title, "", "", "", "not prepared here"])
        else:
            quantity = {"what": line.what, "ours": line.ours, "paper": line.expected, "verdict": line.verdict}
            documents.append({"data set": title, **quantity})
            rows.append([title, line.what, f"{line.ours:,}", f"{line.expected:,}", line.verdict])
    print_either(args.json, documents, ["data set", "", "ours", "Table I", "verdict"], rows)
