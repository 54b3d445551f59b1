"""``flipbench export SUITE`` and ``flipbench cite SUITE``: what others read."""

import argparse

from flipbench import api
from flipbench.cli.output import say, suite_of, tell
from flipbench.errors import UserError, nearest


def export(args: argparse.Namespace) -> None:
    """Write files, runs to an MLflow store, or both; print what was written."""
    if args.to is None and args.mlflow is None:
        raise UserError("export: nothing to write to; give --to DIR, --mlflow URI or both")
    suite = suite_of(args)
    names = dict.fromkeys(data.label.partition("@")[0] for data in suite.data)
    hub = dict(_named(text, names) for text in args.hub)
    if args.to is not None:
        written = api.export(suite, args.to, hub)
        for path in written:
            say(str(path))
        if any(path.suffix == ".yaml" for path in written) and (local := [name for name in names if name not in hub]):
            tell(f"in .eval_results data sets have their names here; for the hub's: --hub {local[0]}=ORG/NAME")
    if args.mlflow is not None:
        new, old = api.log_to_mlflow(suite, args.mlflow)
        say(f"{suite.suite}: {new} runs written to {args.mlflow}, {old} were there")


def _named(text: str, names: dict[str, None]) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not place or not name:
        raise UserError(f"--hub {text}: expected NAME=ID, as movielens-1m=ORG/NAME")
    if name not in names:
        raise UserError(f"--hub {text}: the suite has no data set '{name}'{nearest(name, names)}")
    return name, place


def cite(args: argparse.Namespace) -> None:
    """Print BibTeX; on stderr what no source is known of."""
    cited = api.cite(suite_of(args))
    for line in cited.bibtex.splitlines():
        say(line)
    for what in cited.unknown:
        tell(f"{what}: no source is known here; cite it yourself")
