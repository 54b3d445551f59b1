"""What the command line accepts; nothing of a verb is imported for it."""

import argparse
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

from flipbench import __version__


class Verb(NamedTuple):
    """A verb's function and help; whether it takes a suite (``must``, ``may``, not at all), and ``--json``."""

    function: str
    help: str
    suite: str = ""
    json: bool = True


VERBS = {
    "run": Verb(
        "run:run",
        "train and score what a suite asks for; the same command resumes and skips what is done",
        "must",
        json=False,
    ),
    "report": Verb(
        "report:report",
        "render a suite's tables from its results; without a suite, of every suite that has results",
        "may",
    ),
    "status": Verb("results:status", "how far a suite is", "must"),
    "ledger": Verb(
        "results:ledger",
        "what each search of settings cost and found, and where its best lies on the border of its grid",
        "must",
    ),
    "plan": Verb("run:plan", "what would run, what is done, and what it will cost", "must"),
    "data": Verb("listing:data", "list, fetch, import and check data sets", json=False),
    "list": Verb("listing:list_names", "list models, datasets or suites"),
    "show": Verb("results:show", "one run by its key: settings, figures, log"),
    "explain": Verb("results:explain", "the evidence of one cell of a table: runs, settings, tests, verdict"),
    "slices": Verb(
        "evidence:slices",
        "AUC on items that training shows never, seldom or often, with differences to one row",
        "must",
    ),
    "gap": Verb("evidence:gap", "from the paper's number to ours, one factor at a time", "must"),
    "claims": Verb(
        "evidence:claims", "what the finished runs say of each claim of the paper, and what its own numbers say"
    ),
    "audit-paper": Verb("evidence:audit_paper", "the paper's own numbers and words against each other"),
    "verify": Verb(
        "report:verify",
        "recompute every figure and table from stored predictions and compare; exit code 3 on a mismatch",
        "may",
    ),
    "bundle": Verb(
        "report:bundle",
        "one archive of a suite's evidence, from which others run verify and report",
        "must",
        json=False,
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message} (see {self.prog} --help)\n")


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
    top.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=["bash", "zsh", "tcsh", "fish"],
        help="completion for a shell; in bash, once a session: source <(flipbench --print-completion bash)",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    options: dict[str, argparse.ArgumentParser] = {}
    for name, verb in VERBS.items():
        options[name] = verbs.add_parser(name, help=verb.help, description=verb.help.capitalize())
        if verb.suite:
            _add_suite(options[name], suites, nargs="?" if verb.suite == "may" else None)
        if verb.json:
            options[name].add_argument("--json", action="store_true", help="for machines")
    _add_running(options["run"], options["plan"])
    for name in ("report", "verify"):
        options[name].add_argument("--reports", metavar="DIR", help="folder of the reports (default: the suite's)")
    options["report"].add_argument("--no-figures", action="store_true", help="tables only: drawing takes longest")
    options["bundle"].add_argument("--to", metavar="FILE", help="the archive (default: SUITE.tar)")
    options["slices"].add_argument("--reference", metavar="ROW", help="instead of the suite's compare.reference")
    options["explain"].add_argument("suite", help="path or name of a suite", choices=suites)
    options["explain"].add_argument("row", help="a row's label")
    options["explain"].add_argument("dataset", help="a data set")
    for name in ("explain", "claims"):
        options[name].add_argument("--results", metavar="DIR", help="results folder instead of the suite's")
    options["show"].add_argument("key", help="the first digits of a run's key")
    options["show"].add_argument("--results", default="results", metavar="DIR", help="results folder (results)")
    options["list"].add_argument("what", choices=["models", "datasets", "suites"])
    _add_data(options["data"])
    return top


def _add_suite(verb: argparse.ArgumentParser, suites: Iterable[Any] | None, nargs: str | None) -> None:
    verb.add_argument("suite", nargs=nargs, help="path or name of a suite", choices=suites)
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


def _add_running(run: argparse.ArgumentParser, plan: argparse.ArgumentParser) -> None:
    for verb in (run, plan):
        verb.add_argument(
            "--workers", type=int, metavar="N", help="stages at once (default: one a CPU core, or one on a GPU)"
        )
        verb.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto (default)")
        verb.add_argument(
            "--budget", metavar="TIME", help="refuse what is expected to take longer, such as 90m, 8h or 2d"
        )
    plan.add_argument(
        "--calibrate", action="store_true", help="train a few steps of what has not been measured on this machine"
    )
    run.add_argument("--backend", choices=["local", "ray"], default="local", help="this machine, or a cluster")
    run.add_argument("--address", metavar="ADDRESS", help="of the Ray cluster: auto, HOST:PORT, ray://HOST:PORT")
    run.add_argument(
        "--gpu-share", type=float, default=1.0, metavar="X", help="of a GPU that a stage on a Ray cluster asks for (1)"
    )
    run.add_argument(
        "--stall", type=float, default=7200, metavar="S", help="end a stage that shows no progress for S seconds (7200)"
    )
    run.add_argument(
        "--stack",
        default="auto",
        metavar="N|auto|off",
        help="train up to N seeds or grid points of one shape as one program (auto: on a GPU, where it is faster)",
    )
    run.add_argument("--dry-run", action="store_true", help="show the plan and stop")


def _add_data(verb: argparse.ArgumentParser) -> None:
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    actions.add_parser("list", help="data sets and whether they are prepared")
    actions.add_parser("fetch", help="download from the official place, check, prepare").add_argument("name")
    local = actions.add_parser("import", help="prepare from a folder with the raw files")
    local.add_argument("name")
    local.add_argument("--from", dest="folder", required=True, metavar="DIR")
    check = actions.add_parser("check", help="count, compare with the paper's Table I, verify the bytes")
    check.add_argument("name", nargs="?", help="without one: Table I for all that are prepared")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="for machines")
