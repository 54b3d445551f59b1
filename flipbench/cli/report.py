"""``flipbench report [SUITE]``, ``flipbench verify [SUITE]`` and ``flipbench bundle SUITE``."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flipbench import api
from flipbench.cli.output import print_json, say, suite_of, tell
from flipbench.errors import UserError
from flipbench.store.code import line_of

if TYPE_CHECKING:
    from flipbench.report.verify import Verification

MISMATCH = 3
"""Exit code where something does not follow from the predictions."""


def report(args: argparse.Namespace) -> None:
    """Render one suite, or every suite that comes with flipbench and has results."""
    documents = [document for suite in _suites(args) if (document := _report(suite, args)) is not None]
    if not documents:
        raise UserError("no suite has results yet; run one with 'flipbench run SUITE'")
    if args.json:
        print_json(documents[0] if args.suite else documents, indent=1)


def _report(suite: api.Suite, args: argparse.Namespace) -> dict[str, Any] | None:
    """Write one report and print its table; what ``--json`` prints, None without results."""
    from flipbench.report import terminal

    written = api.report(suite, args.reports, not args.no_figures, even_empty=bool(args.suite))
    if written.table and not args.json:
        terminal.print_table(written.table)
    for path in written.paths:
        tell(f"wrote {path}")
    if written.table:
        return written.table.as_dict()
    return {"suite": suite.suite, "figures": [path.name for path in written.figures]} if written.paths else None


def verify(args: argparse.Namespace) -> int:
    """Verify one suite, or every suite that comes with flipbench and has results; 3 where something does not follow."""
    checked = [api.verify(suite, args.reports) for suite in _suites(args)]
    if not checked:
        raise UserError("no suite has results to verify")
    if args.json:
        print_json([_verified(one) for one in checked])
    for one in checked:
        if one.drawn_by:
            from flipbench.report.html.figures import drawn_by

            drawn = f"{one.drawn_by} drew them, here are {drawn_by()}"
            tell(f"{one.suite}: of the figures the numbers are compared, not the pictures: {drawn}")
        if not args.json:
            follows = "all but its pictures follows" if one.drawn_by else "all follows"
            result = f"{len(one.mismatches)} mismatches" if one.mismatches else follows
            unlike = f" (labels only against each other: no {', '.join(one.unprepared)} here)" if one.unprepared else ""
            say(f"{one.suite}: {one.runs} runs checked{unlike}, {result}")
        if one.changed_code:
            tell(f"{one.suite}: {line_of(one.changed_code)}")
        for mismatch in one.mismatches:
            tell(f"flipbench: {mismatch.where}: {mismatch.what}")
    return MISMATCH if any(one.mismatches for one in checked) else 0


def _verified(one: "Verification") -> dict[str, Any]:
    changed = [{"method": c.method, "file": str(c.file), "runs": c.runs} for c in one.changed_code]
    return {**vars(one), "mismatches": [*map(vars, one.mismatches)], "changed_code": changed}


def bundle(args: argparse.Namespace) -> None:
    """Write the archive and print its path."""
    path, runs = api.bundle(suite_of(args), args.to)
    tell(f"{runs} runs, {path.stat().st_size / 1e6:.1f} MB")
    say(str(path))


def _suites(args: argparse.Namespace) -> Iterator[api.Suite]:
    """The suite that is named, else all that have results."""
    if args.suite:
        yield suite_of(args)
    else:
        options = {name: getattr(args, name) for name in ("seeds", "protocol", "results", "only")}
        yield from api.suites_with_results(**options)
