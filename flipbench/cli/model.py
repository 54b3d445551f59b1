"""``flipbench new model NAME`` and ``flipbench check model NAME``."""

import argparse

from flipbench import api
from flipbench.cli.output import print_json, say, tell


def new(args: argparse.Namespace) -> None:
    """Write a package and say what to do with it."""
    files = api.new_model(args.name, args.to)
    for path in files:
        say(str(path))
    folder = files[0].parent
    tell(f"next: cd {folder}; pip install --editable .; flipbench run {args.name}.yaml")


def check(args: argparse.Namespace) -> int:
    """Print a line a part of the contract; 1 where one is not held."""
    checked = api.check_model(args.name)
    if args.json:
        print_json(checked.as_dict())
        return int(not checked.holds)
    for finding in checked.findings:
        line = f"{finding.state:9}  {finding.check:13}  {finding.said}"
        if finding.state == "wrong":
            line += f" ({', '.join(filter(None, (finding.place, f'traceback: {checked.tracebacks}')))})"
        say(line)
    return int(not checked.holds)
