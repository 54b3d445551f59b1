"""What the command line accepts; nothing of a verb is imported for it."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from flipbench import __version__
from flipbench.printable import one_line

VERBS = {
    "run": ("run.run", "train and score what a suite asks for; the same command resumes and skips what is done"),
    "report": ("report.report", "render a suite's tables from its results; without a suite, of all that have results"),
    "status": ("results.status", "how far a suite is"),
    "ledger": ("results.ledger", "what each search cost and found, and where its best lies on the border of its grid"),
    "plan": ("run.plan", "what would run, what is done, and what it will cost"),
    "data": ("listing.data", "list, fetch, import and check data sets"),
    "list": ("listing.list_names", "list models, datasets or suites"),
    "new": ("model.new", "write the package of a model of your own"),
    "check": ("model.check", "try a model against the contract: that it learns, repeats, resumes, and so on"),
    "show": ("results.show", "one run by its key: settings, figures, log"),
    "explain": ("results.explain", "the evidence of one cell of a table: runs, settings, tests, verdict"),
    "slices": ("evidence.slices", "AUC on items that training shows never, seldom or often, less that of one row"),
    "power": (
        "evidence.power",
        "the smallest difference that each test resolves, and the seeds or users for a given one",
    ),
    "gap": ("evidence.gap", "from the paper's number to ours, one factor at a time"),
    "claims": ("evidence.claims", "what finished runs say of each claim of the paper, and what its own numbers say"),
    "audit-paper": ("evidence.audit_paper", "the paper's own numbers and words against each other"),
    "verify": ("report.verify", "recompute every figure and table from stored predictions; exit code 3 on a mismatch"),
    "bundle": ("report.bundle", "one archive of a suite's evidence, from which others run verify and report"),
    "export": ("sharing.export", "results as CSV and Parquet, for the Hugging Face hub, and for MLflow"),
    "cite": ("sharing.cite", "BibTeX of everything that a suite's tables use"),
}
"""By verb: its function, as MODULE.NAME in this package, and its help."""

WITHOUT_SUITE = ("data", "list", "new", "check", "show", "claims", "audit-paper")
WITHOUT_JSON = ("run", "data", "bundle", "export", "cite", "new")


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _folder(text: str) -> str:
    """A folder to write to, which may have to be made."""
    try:
        if Path(_path(text)).is_dir() or not Path(text).exists():
            return text
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    raise argparse.ArgumentTypeError(f"{text}: not a folder")


def _existing_folder(text: str) -> str:
    """A folder to read: of a misspelt one a report would be empty, and would replace the full one."""
    if not Path(_folder(text)).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, one_line(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")


class _PrintCompletion(argparse.Action):
    """Print a shell's completion of every verb, option and suite, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, values: Any, option: str | None = None) -> None:
        import shtab

        from flipbench.plan import suite

        names = [path.stem for path in suite.available()]
        print(shtab.complete(parser_of([*names, shtab.Choice("file")]), values))
        parser.exit()


def parser_of(suites: Iterable[Any] | None = None) -> argparse.ArgumentParser:
    """The whole command line.

    Args:
        suites: what a suite's argument may be; anything if None.
    """
    top = _Parser(prog="flipbench", description="Do the numbers and the claims of FLIP (arXiv 2310.19453) hold?")
    top.add_argument("--version", action="version", version=f"flipbench {__version__}")
    shells, completion = ["bash", "zsh", "tcsh", "fish"], "for TAB in bash: source <(flipbench --print-completion bash)"
    top.add_argument("--print-completion", choices=shells, action=_PrintCompletion, help=completion)
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    verb = {name: verbs.add_parser(name, help=text, description=text.capitalize()) for name, (_, text) in VERBS.items()}
    for name in (name for name in VERBS if name not in WITHOUT_SUITE):
        nargs = "?" if name in ("report", "verify") else None
        verb[name].add_argument("suite", nargs=nargs, choices=suites, help="path or name of a suite")
        if name != "explain":
            _add_changes(verb[name])
        else_of_suite = "results folder instead of the suite's"
        folder = _folder if name in ("run", "plan") else _existing_folder
        verb[name].add_argument("--results", type=folder, metavar="DIR", help=else_of_suite)
    verb["claims"].add_argument("--results", type=_existing_folder, metavar="DIR", help=else_of_suite)
    _add_running(verb["run"], verb["plan"])
    for name in ("report", "verify"):
        verb[name].add_argument(
            "--reports", type=_folder, metavar="DIR", help="folder of the reports (default: the suite's)"
        )
    verb["report"].add_argument("--no-figures", action="store_true", help="tables only: drawing takes longest")
    verb["bundle"].add_argument("--to", type=_path, metavar="FILE", help="the archive (default: SUITE.tar)")
    verb["export"].add_argument("--to", type=_path, metavar="DIR", help="folder of the files")
    verb["export"].add_argument("--mlflow", type=_path, metavar="URI", help="MLflow store, as sqlite:///runs.db")
    hub = "the hub's id of a data set's benchmark, as movielens-1m=ORG/NAME; may be repeated"
    verb["export"].add_argument("--hub", action="append", default=[], metavar="NAME=ID", help=hub)
    verb["slices"].add_argument("--reference", metavar="ROW", help="instead of the suite's compare.reference")
    verb["power"].add_argument("--metric", choices=["auc", "logloss"], default="auc", help="of the differences (auc)")
    margin = "a true difference in question (default: the suite's margin)"
    verb["power"].add_argument("--difference", type=float, metavar="X", help=margin)
    verb["explain"].add_argument("row", help="a row's label")
    verb["explain"].add_argument("dataset", help="a data set")
    verb["show"].add_argument("key", help="the first digits of a run's key")
    results = "results folder (default: results)"
    verb["show"].add_argument("--results", type=_existing_folder, metavar="DIR", help=results)
    verb["list"].add_argument("what", choices=["models", "datasets", "suites"])
    for name, help_text in (
        ("new", "of the model: lower-case letters, digits and underscores"),
        ("check", "of a model"),
    ):
        verb[name].add_argument("what", choices=["model"])
        verb[name].add_argument("name", help=help_text)
    verb["new"].add_argument("--to", type=_path, metavar="DIR", help="the package's folder (default: its name)")
    with_json = [verb[name] for name in VERBS if name not in WITHOUT_JSON] + _add_data(verb["data"])
    for options in with_json:
        options.add_argument("--json", action="store_true", help="for machines")
    return top


def _add_changes(verb: argparse.ArgumentParser) -> None:
    """What of a suite an invocation may change."""
    only = "dataset=..., model=..., kind=id; may be repeated"
    verb.add_argument("--only", action="append", default=[], metavar="KEY=VALUE", help=only)
    verb.add_argument("--seeds", type=int, metavar="N", help="runs a cell instead of the suite's")
    verb.add_argument("--protocol", choices=["held-out", "as-released"], help="instead of the suite's")


def _add_running(run: argparse.ArgumentParser, plan: argparse.ArgumentParser) -> None:
    for verb in (run, plan):
        workers = "stages at once (default: one a CPU core, or one on a GPU)"
        verb.add_argument("--workers", type=int, metavar="N", help=workers)
        verb.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto (default)")
        verb.add_argument("--budget", metavar="TIME", help="refuse what is expected to take longer: 90m, 8h, 2d")
    plan.add_argument("--calibrate", action="store_true", help="train a few steps of what is not measured here yet")
    run.add_argument("--backend", choices=["local", "ray"], default="local", help="this machine, or a cluster")
    run.add_argument("--address", metavar="ADDRESS", help="of the Ray cluster: auto, HOST:PORT, ray://HOST:PORT")
    share = "of a GPU that a stage on a Ray cluster asks for (1)"
    run.add_argument("--gpu-share", type=float, default=1.0, metavar="X", help=share)
    stall = "end a stage that shows no progress for S seconds (7200)"
    run.add_argument("--stall", type=float, default=7200, metavar="S", help=stall)
    stack = "train up to N seeds or grid points of one shape as one program (auto: on a GPU, where it is faster)"
    run.add_argument("--stack", default="auto", metavar="N|auto|off", help=stack)
    accept = "take methods whose code has changed since their runs for the same, and record it in RESULTS/code.jsonl"
    run.add_argument("--accept-code", action="store_true", help=accept)
    run.add_argument("--dry-run", action="store_true", help="show the plan and stop")


def _add_data(verb: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Add what can be done with data sets, and return it."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    show = actions.add_parser("list", help="data sets and whether they are prepared")
    fetch = actions.add_parser("fetch", help="download from the official place, check, prepare")
    local = actions.add_parser("import", help="prepare from a folder with the raw files")
    check = actions.add_parser("check", help="count, compare with the paper's Table I, verify the bytes")
    fetch.add_argument("name")
    local.add_argument("name", help="a data set, or the YAML file that describes one")
    of_registered = "folder of its raw files; a YAML file names its own"
    local.add_argument("--from", dest="folder", type=_path, metavar="DIR", help=of_registered)
    check.add_argument("name", nargs="?", help="as for import; without one: Table I for all that are prepared")
    return [show, fetch, local, check, _add_rows(actions), _add_describe(actions)]


def _add_describe(actions: Any) -> argparse.ArgumentParser:
    what = "guess what a file of yours holds, and write a YAML file that describes it, for you to edit"
    describe: argparse.ArgumentParser = actions.add_parser("describe", help=what, description=what)
    kinds = "a CSV, TSV or Parquet file, a folder of RecBole's atomic files, or one with train.csv and test.csv"
    describe.add_argument("path", type=_path, help=kinds)
    describe.add_argument("--to", type=_path, metavar="FILE", help="the YAML file (default: NAME.yaml)")
    describe.add_argument("--label", metavar="COLUMN", help="instead of the column that looks like it")
    describe.add_argument("--force", action="store_true", help="replace the YAML file where it is there")
    return describe


def _add_rows(actions: Any) -> argparse.ArgumentParser:
    what = "64-bit hashes of (user, item, time) for each part: whether two groups have the same rows"
    rows: argparse.ArgumentParser = actions.add_parser("rows", help=what, description=what)
    rows.add_argument("name", help="a data set, or the YAML file that describes one")
    rows.add_argument("--order", metavar="ORDER", help="of the rows before the split (default: the data set's first)")
    rows.add_argument("--to", type=_path, metavar="FILE", help="write a hash a row: .csv or .csv.gz")
    theirs = "compare with another group's file of hashes, or a data set's published ones; exit code 3 on a difference"
    rows.add_argument("--check", type=_path, metavar="FILE|NAME", help=theirs)
    return rows
