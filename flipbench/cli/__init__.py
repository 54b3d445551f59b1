"""The command line: one module a verb, imported when the verb is called.

Exit codes: 0 all good, 1 the user's mistake, 2 some stages failed, 3 a verification found a mismatch, 130 stopped by
the user.
"""

import argparse
import gc
import importlib
import os
import signal
import sys
from types import FrameType, ModuleType
from typing import NoReturn

from flipbench import __version__
from flipbench.errors import UserError
from flipbench.memory import collect_rarely

VERBS = {
    "run": "train and score what a suite asks for; the same command resumes and skips what is done",
    "report": "render a suite's tables from its results; without a suite, of every suite that has results",
    "status": "how far a suite is",
    "ledger": "what each search of settings cost and found, and where its best lies on the border of its grid",
    "plan": "what would run, what is done, and what it will cost",
    "data": "list, fetch, import and check data sets",
    "list": "list models, datasets or suites",
    "show": "one run by its key: settings, figures, log",
    "explain": "the evidence of one cell of a table: runs, settings, tests, verdict",
    "slices": "AUC on items that training shows never, seldom or often, with differences to one row",
    "gap": "from the paper's number to ours, one factor at a time",
    "claims": "what the finished runs say of each claim of the paper, and what its own numbers say",
    "audit-paper": "the paper's own numbers and words against each other",
    "verify": "recompute every figure and table from stored predictions and compare; exit code 3 on a mismatch",
    "bundle": "one archive of a suite's evidence, from which others run verify and report",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line, without importing any verb."""
    top = _Parser(prog="flipbench", description="Do the numbers and the claims of FLIP (arXiv 2310.19453) hold?")
    top.add_argument("--version", action="version", version=f"flipbench {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    verb = {name: verbs.add_parser(name, help=text, description=text.capitalize()) for name, text in VERBS.items()}

    for name in ("run", "report", "status", "ledger", "plan"):
        _add_suite_options(verb[name], optional=name == "report")
    for name in ("run", "plan"):
        verb[name].add_argument(
            "--workers", type=int, metavar="N", help="stages at once (default: one a CPU core, or one on a GPU)"
        )
        verb[name].add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto (default)")
        verb[name].add_argument(
            "--budget", metavar="TIME", help="refuse what is expected to take longer, such as 90m, 8h or 2d"
        )
    verb["plan"].add_argument(
        "--calibrate", action="store_true", help="train a few steps of what has not been measured on this machine"
    )
    verb["run"].add_argument("--backend", choices=["local", "ray"], default="local", help="this machine, or a cluster")
    verb["run"].add_argument(
        "--address", metavar="ADDRESS", help="of the Ray cluster: auto, HOST:PORT, ray://HOST:PORT"
    )
    verb["run"].add_argument(
        "--gpu-share", type=float, default=1.0, metavar="X", help="of a GPU that a stage on a Ray cluster asks for (1)"
    )
    verb["run"].add_argument(
        "--stall", type=float, default=7200, metavar="S", help="end a stage that shows no progress for S seconds (7200)"
    )
    verb["run"].add_argument(
        "--stack",
        default="auto",
        metavar="N|auto|off",
        help="train up to N seeds or grid points of one shape as one program (auto: on a GPU, where it is faster)",
    )
    verb["run"].add_argument("--dry-run", action="store_true", help="show the plan and stop")
    verb["report"].add_argument("--reports", metavar="DIR", help="where the files go (default: the suite's)")
    verb["report"].add_argument("--no-figures", action="store_true", help="tables only: drawing takes longest")

    data = verb["data"].add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    data.add_parser("list", help="data sets and whether they are prepared")
    data.add_parser("fetch", help="download from the official place, check, prepare").add_argument("name")
    local = data.add_parser("import", help="prepare from a folder with the raw files")
    local.add_argument("name")
    local.add_argument("--from", dest="folder", required=True, metavar="DIR")
    check = data.add_parser("check", help="count, compare with the paper's Table I, verify the bytes")
    check.add_argument("name", nargs="?", help="without one: Table I for all that are prepared")
    for action in data.choices.values():
        action.add_argument("--json", action="store_true", help="for machines")

    verb["list"].add_argument("what", choices=["models", "datasets", "suites"])
    verb["show"].add_argument("key", help="the first digits of a run's key")
    verb["show"].add_argument("--results", default="results", metavar="DIR", help="results folder (default: results)")
    for name in ("gap", "slices", "verify", "bundle"):
        _add_suite_options(verb[name], optional=name == "verify")
    verb["slices"].add_argument("--reference", metavar="ROW", help="instead of the suite's compare.reference")
    verb["verify"].add_argument("--reports", metavar="DIR", help="where the reports are (default: the suite's)")
    verb["bundle"].add_argument("--to", metavar="FILE", help="the archive (default: SUITE.tar)")
    for name in ("suite", "row", "dataset"):
        verb["explain"].add_argument(name, help={"row": "a row's label", "dataset": "a data set"}.get(name, "a suite"))
    for name in ("explain", "claims"):
        verb[name].add_argument("--results", metavar="DIR", help="results folder instead of the suite's")
    for name in (
        "report",
        "status",
        "ledger",
        "plan",
        "list",
        "show",
        "explain",
        "gap",
        "slices",
        "claims",
        "audit-paper",
        "verify",
    ):
        verb[name].add_argument("--json", action="store_true", help="for machines")
    return top


def _add_suite_options(verb: argparse.ArgumentParser, optional: bool) -> None:
    verb.add_argument("suite", nargs="?" if optional else None, help="path or name of a suite")
    verb.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="dataset=..., model=..., kind=id; may be repeated",
    )
    verb.add_argument("--seeds", type=int, metavar="N", help="runs a cell instead of the suite's")
    verb.add_argument("--protocol", choices=["held-out", "as-released"], help="instead of the suite's")
    verb.add_argument("--results", metavar="DIR", help="results folder instead of the suite's")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    # One thread in numpy's products: they are small, and sums must not depend on how many cores a machine has.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code: int = _module(args.verb).main(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"flipbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flipbench: stopped; the same command continues where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _module(verb: str) -> ModuleType:
    """Imported without a look for garbage, of which imports make none."""
    gc.disable()
    try:
        return importlib.import_module(f"flipbench.cli.{verb.replace('-', '_')}")
    finally:
        collect_rarely()
        gc.enable()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
