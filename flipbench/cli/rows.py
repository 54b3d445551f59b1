"""``flipbench data rows``: which rows a data set's parts have, beside the published ones or another group's."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flipbench.cli.output import print_json, print_table, say
from flipbench.data import row_hashes
from flipbench.data.dataset import RowDigest, get, names
from flipbench.data.row_hashes import Hashes
from flipbench.data.store import open_table
from flipbench.errors import UserError, nearest, shorten

MISMATCH = 3
EQUAL = "equal"
MISSING = {"user": "no field is the user", "item": "no field is the item", "time": "the data have no times"}
"""Why a row's hash is of less than user, item and time."""


def rows(args: argparse.Namespace) -> int:
    """Print the digests of each part, and a comparison; exit code 3 where there is a difference."""
    dataset = get(args.name)
    order = args.order or dataset.orders[0]
    if order not in dataset.orders:
        raise UserError(f"data set '{args.name}' has no order '{shorten(order)}'{nearest(order, dataset.orders)}")
    published = dataset.rows if order == dataset.orders[0] else {}
    theirs: dict[str, Hashes] = {}
    if args.check in names():
        published = _published(args.check)
    elif args.check:
        theirs = row_hashes.read(Path(args.check))
    hashes, hashed = row_hashes.hash_rows(table := open_table(args.name))
    parts = row_hashes.parts_of(table, order, hashes)
    digests = {part: row_hashes.digest(of_part) for part, of_part in parts.items()}
    document: dict[str, Any] = {
        "data set": args.name,
        "order": order,
        "hash of": list(hashed),
        "parts": {part: asdict(digest) | _verdict(digest, published.get(part)) for part, digest in digests.items()},
    }
    if args.to:
        row_hashes.write(Path(args.to), parts)
        document["written"] = args.to
    if theirs:
        document["compared"] = _compared(args.check, parts, theirs)
    if args.json:
        print_json(document)
    else:
        _print(document, args.check)
    unequal = [part for part in document["parts"].values() if part.get("published", EQUAL) != EQUAL]
    unequal += [part for part in document.get("compared", {}).values() if not part["equal"]]
    return MISMATCH if unequal else 0


def _published(name: str) -> dict[str, RowDigest]:
    """The published digests of a registered data set."""
    published = dict(get(name).rows)
    if not published:
        known = [each for each in names() if get(each).rows]
        raise UserError(f"--check {name}: no row hashes of it are published; valid: {', '.join(known)}, or a file")
    return published


def _verdict(ours: RowDigest, published: RowDigest | None) -> dict[str, str]:
    """How the rows are beside the published ones; nothing where none are published."""
    if published is None:
        return {}
    if ours == published:
        return {"published": EQUAL}
    same_rows = (ours.rows, ours.sum) == (published.rows, published.sum)
    return {"published": "another order" if same_rows else "differs"}


def _compared(file: str, ours: dict[str, Hashes], theirs: dict[str, Hashes]) -> dict[str, dict[str, Any]]:
    """The difference in each part that both have."""
    both = [part for part in ours if part in theirs]
    if not both:
        raise UserError(f"{file}: has none of the parts {', '.join(ours)}")
    found = {part: row_hashes.compare(ours[part], theirs[part]) for part in both}
    return {part: asdict(difference) | {"equal": difference.equal} for part, difference in found.items()}


def _print(document: dict[str, Any], file: str | None) -> None:
    of = ", ".join(document["hash of"])
    missing = [f"; {why}" for each, why in MISSING.items() if each not in document["hash of"]]
    say(f"{document['data set']}: hashes of ({of}){''.join(missing)}; order {document['order']}")
    any_published = any("published" in part for part in document["parts"].values())
    columns = ["part", "rows", "hash of the rows", "hash of their order", *["published"] * any_published]
    lines = [
        [name, f"{part['rows']:,}", part["sum"], part["order"], *[part.get("published", "")] * any_published]
        for name, part in document["parts"].items()
    ]
    print_table(columns, lines, ["rows"])
    if not any_published:
        say("none are published to compare them with")
    if "written" in document:
        say(f"a hash a row in {document['written']}")
    if "compared" not in document:
        return
    print()
    lines = [
        [name, *(f"{part[count]:,}" for count in ("shared", "ours", "theirs")), _order(part)]
        for name, part in document["compared"].items()
    ]
    columns = ["part", "shared", "only here", f"only in {file}", "order of the shared"]
    print_table(columns, lines, columns[1:4])
    for part in document["parts"]:
        if part not in document["compared"]:
            say(f"{part}: not in {file}")
    equal = all(part["equal"] for part in document["compared"].values())
    say("equal: the same rows in the same order" if equal else "the rows differ")


def _order(part: dict[str, Any]) -> str:
    return "the same" if part["same_order"] else "another"
