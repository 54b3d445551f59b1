"""What the verbs share: the suite that an invocation means, and output for people or machines."""

import argparse
import contextlib
import json
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flipbench.printable import json_line, one_line

if TYPE_CHECKING:
    from flipbench.api import Suite


def suite_of(args: argparse.Namespace) -> "Suite":
    """The suite that the options name, cut and changed as they say."""
    from flipbench.api import load_suite

    options = {name: getattr(args, name) for name in ("seeds", "protocol", "only") if hasattr(args, name)}
    return load_suite(args.suite, results=args.results, **options)


def say(line: str) -> None:
    """Print one line on stdout, whatever text of users it holds."""
    print(one_line(line))


def tell(line: str) -> None:
    """Print one line on stderr; that it cannot be written there (a log on a full disk) stops nothing."""
    with contextlib.suppress(OSError):
        print(one_line(line), file=sys.stderr, flush=True)


def say_unchecked(figures: str) -> None:
    """On stderr, beside what is printed: these figures are not compared with predictions, as those of a report are."""
    tell(f"{figures} as the runs recorded them, not recomputed from predictions")


def print_json(document: Any, indent: int = 2) -> None:
    has_all = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    print(json_line(json.dumps(document, indent=indent, ensure_ascii=not has_all)))


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
        table.add_column(Text(one_line(name)), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # as text: rich reads [red] in a string as its markup
    if console.is_terminal:
        console.print(table)
        return
    console.width = 10_000
    with console.capture() as text:
        console.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))
