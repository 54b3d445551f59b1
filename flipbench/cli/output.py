"""What the verbs share: the suite that an invocation means, and output for people or machines."""

import argparse
import json
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from flipbench.api import Suite


def suite_of(args: argparse.Namespace) -> "Suite":
    """The suite that the options name, cut and changed as they say."""
    from flipbench.api import load_suite

    options = {name: getattr(args, name) for name in ("seeds", "protocol", "only") if hasattr(args, name)}
    return load_suite(args.suite, results=args.results, **options)


def say_unchecked(figures: str) -> None:
    """On stderr, beside what is printed: these figures are not compared with predictions, as those of a report are."""
    print(f"{figures} as the runs recorded them, not recomputed from predictions", file=sys.stderr)


def print_json(document: Any, indent: int = 2) -> None:
    print(json.dumps(document, indent=indent, ensure_ascii=False))


def print_either(
    as_json: bool, document: Any, columns: list[str], rows: list[list[str]], right: Collection[str] = ()
) -> None:
    """A document for machines, or a table for people; ``right`` names the columns that are aligned so."""
    if as_json:
        print_json(document)
    else:
        print_table(columns, rows, right)


def print_table(columns: list[str], rows: list[list[str]], right: Collection[str] = ()) -> None:
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
