"""``flipbench data list | fetch | import | check``."""

import argparse
from pathlib import Path

from flipbench.cli.output import print_json, print_table
from flipbench.data import dataset
from flipbench.data.table import Table


def main(args: argparse.Namespace) -> int:
    if args.action == "list":
        return overview(args.json)
    if args.action == "check":
        return _check(args.name, args.json) if args.name else _table_one(args.json)
    from flipbench.data import fetch

    table = fetch.fetch(args.name) if args.action == "fetch" else fetch.import_from(args.name, Path(args.folder))
    return _prepared(table, args.json)


def overview(as_json: bool) -> int:
    """Data sets, and whether they are prepared here."""
    from flipbench.data.store import META, fingerprint, folder_of

    found = [(dataset.get(n), fingerprint(n) if (folder_of(n) / META).exists() else None) for n in dataset.names()]
    if as_json:
        print_json(
            [
                {"name": d.name, "title": d.title, "fingerprint": p, "licence": d.licence, "citation": d.citation}
                for d, p in found
            ]
        )
        return 0
    rows = [[d.name, d.title, p[:12] if p else "made when needed" if d.generated else "—"] for d, p in found]
    print_table(["data set", "title", "prepared"], rows)
    return 0


def _prepared(table: Table, as_json: bool) -> int:
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

    found = table_one()
    if as_json:
        print_json(
            [
                {
                    "data set": title,
                    "what": line.what,
                    "ours": line.ours,
                    "paper": line.expected,
                    "verdict": line.verdict,
                }
                if line
                else {"data set": title, "verdict": "not prepared here"}
                for title, line in found
            ]
        )
        return 0
    rows = [
        [title, line.what, f"{line.ours:,}", f"{line.expected:,}", line.verdict]
        if line
        else [title, "", "", "", "not prepared here"]
        for title, line in found
    ]
    print_table(["data set", "", "ours", "Table I", "verdict"], rows)
    return 0
