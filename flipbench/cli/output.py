"""Output for people or machines."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table


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
