"""``flipbench report [SUITE]``."""

import argparse
import atexit
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from flipbench.cli.common import has_results, plan_so_far, results_so_far, slots_of
from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.plan.expand import Plan
from flipbench.report import terminal
from flipbench.report.figures import Figures
from flipbench.report.significance import resample_ahead
from flipbench.report.table import overall_table
from flipbench.report.write import to_json, write_html, write_report
from flipbench.store.runs import Store


def main(args: argparse.Namespace) -> int:
    """Render one suite, or every suite that comes with flipbench and has results."""
    with ExitStack() as processes:
        documents = _report(args, processes)
    if not documents:
        raise UserError("no suite has results yet; run one with 'flipbench run SUITE'")
    if args.json:
        print(json.dumps(documents[0] if args.suite else documents, indent=1, ensure_ascii=False))
    return 0


def _report(args: argparse.Namespace, processes: ExitStack) -> list[Any]:
    """Write the files; returns what ``--json`` prints, of each suite."""
    names = [args.suite] if args.suite else [str(path) for path in suite.available()]
    documents: list[Any] = []
    pool: Executor | None = None
    for name in names:
        found = plan.with_options(suite.load(name), args.seeds, args.protocol, args.results)
        if not args.suite and not has_results(found):
            continue
        found = plan.narrow(found, args.only)
        if pool is None and (len(found.data) > 1 or _start_method() == "fork"):
            pool = processes.enter_context(_second_process(not args.no_figures, found.seeds > 1))
        planned, store = plan_so_far(found)
        if pool:
            pool.submit(_resample, planned, store)
        figures = None if args.no_figures else Figures(planned, store, pool)
        results = results_so_far(found, planned, store)
        inspected = any(store.done(stage) for cell in planned.cells for stage in cell.inspections)
        if not args.suite and not (results.cells or inspected):
            continue
        folder = Path(args.reports or found.outputs.reports)
        written = []
        if not found.inspect:
            table = overall_table(results)
            documents.append(json.loads(to_json(table)) if args.json else {})
            if not args.json:
                terminal.print_table(table)
            written += write_report(results, folder)
        if found.inspect or results.cells:
            pictures: list[Path] = []
            page = write_html(planned, store, results, _drawn(figures, folder, pictures), folder)
            written += [*pictures, *page]
            if found.inspect and (pictures or (args.no_figures and inspected)):  # nothing is scored: no table
                documents.append({"suite": found.suite, "figures": [path.name for path in pictures]})
        for path in written:
            print(f"wrote {path}", file=sys.stderr)
    return documents


@contextmanager
def _second_process(draws: bool = True, tests: bool = True) -> Iterator[Executor | None]:
    """One to resample and draw while this one reads the results, where there is a core for it.

    What both need for drawing and for tests is imported first, once.
    """
    if slots_of("cpu", None)[1] < 2:
        yield None
        return
    if draws:
        from flipbench.report.figures import calibration, font, scores  # noqa: F401

        font.register()
    if tests:
        import scipy.special  # noqa: F401
    gc.freeze()  # what both processes share is never garbage, and stays shared
    context = get_context(_start_method())
    enough = context.Event()
    pool = ProcessPoolExecutor(1, context, _ready, (enough,))
    pool.submit(str)  # starts it
    try:
        yield pool
    finally:
        enough.set()
        pool.shutdown(cancel_futures=True)


def _start_method() -> str:
    """``fork``, which keeps all that is imported, where there is no other thread whose locks it would keep too."""
    threads = Path("/proc/self/task")  # Linux's: those of libraries are among them
    return "fork" if threads.is_dir() and len(list(threads.iterdir())) == 1 else "spawn"


def _ready(enough: Event) -> None:
    """The second process's first act."""
    _END.append(enough)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the first process's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    atexit.register(os._exit, 0)  # the last to be called; Python would go on to tidy up for a third of a second


_END: list[Event] = []
"""In the second process: set when the first has what it needs, or was stopped."""


def _resample(planned: Plan, store: Store) -> None:
    """The second process's first task."""
    resample_ahead(planned, store, enough=_END[0].is_set)


def _drawn(figures: Figures | None, folder: Path, written: list[Path]) -> Iterator[Path]:
    """Write the figures when the first is asked for."""
    if figures:
        written += figures.write(folder)
    yield from written
