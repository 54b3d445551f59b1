"""``flipbench data describe``: from a file to a description of it as a data set."""

import argparse
from pathlib import Path

from flipbench.atomic import replacing
from flipbench.cli.output import print_json, print_table, say
from flipbench.data.own.describe import describe as guessed
from flipbench.data.own.describe_text import written
from flipbench.errors import UserError


def describe(args: argparse.Namespace) -> None:
    """Print what is guessed of a file or folder, and why, and write it down."""
    draft = guessed(Path(args.path), args.label)
    target = Path(args.to or f"{draft.name}.yaml")
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"--to {target}: a description ends in .yaml")
    if target.exists() and not args.force:
        raise UserError(f"{target}: is there already; --force replaces it, --to FILE writes another")
    text = written(draft, target.parent)
    try:
        with replacing(target) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None
    if args.json:
        guesses = [{"what": what, "guess": value, "why": why} for what, value, why in draft.notes]
        print_json({"data set": draft.name, "written": str(target), "guesses": guesses})
        return
    print_table(["", "guess", "why"], [list(note) for note in draft.notes])
    say(f"written to {target}: check it, edit what is not so, then use it in a suite: data: [{target}]")
