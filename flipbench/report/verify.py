"""Whether stored figures and tables follow from stored predictions."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flipbench import metrics as metric_functions
from flipbench.errors import DamagedError, UserError
from flipbench.plan.stage import Stage
from flipbench.plan.suite import Suite
from flipbench.protocol import Metric
from flipbench.report.cells import SuiteResults
from flipbench.report.figures import figure_files
from flipbench.report.html.figures import DRAWN_BY, drawn_by, kind_of
from flipbench.report.significance import Evidence
from flipbench.report.so_far import results_so_far
from flipbench.report.write import report_files
from flipbench.store.planning import plan_of_known, store_of
from flipbench.store.runs import Store

TOLERANCE = 1e-9
"""Of a recomputed metric; the last bits may differ between processors."""

_DRAWN = re.compile(f'<meta name="{DRAWN_BY}" content="([^"]*)">'.encode())
_PICTURE = re.compile(rb'(?<=src="data:image/png;base64,)[^"]*')


@dataclass(frozen=True)
class Mismatch:
    """What does not follow: ``where`` is a run folder or a report's file."""

    where: str
    what: str


@dataclass(frozen=True)
class Verification:
    """Whether a suite's figures and tables follow from its predictions.

    Attributes:
        runs: how many were checked.
        mismatches: what does not follow.
        drawn_by: the libraries that drew pictures which could not be compared byte for byte here; else empty.
    """

    suite: str
    runs: int
    mismatches: tuple[Mismatch, ...]
    drawn_by: str = ""


def verification_of(suite: Suite, folder: Path) -> Verification:
    """As :func:`_verification_of`; results that cannot even be read are a mismatch as well, which names the file."""
    try:
        return _verification_of(suite, folder)
    except DamagedError as error:
        where, _, what = str(error).partition(": ")
        return Verification(suite.suite, 0, (Mismatch(where, what),))


def _verification_of(suite: Suite, folder: Path) -> Verification:
    """Check every finished run of a suite: the bytes of its files, and its metrics against its predictions.

    Where these are right, its reports are made anew and compared with the files in ``folder``, byte for byte. Pictures
    that other versions of the libraries drew have other bytes: of those the numbers are compared, and the page without
    its pictures. A page made without them (``report --no-figures``) is compared with such a page.
    """
    store = store_of(suite)
    done = [stage for stage in plan_of_known(suite, store)[0].stages() if store.done(stage)]
    if wrong := [mismatch for stage in done for mismatch in _wrong_in_run(stage, store)]:
        return Verification(suite.suite, len(done), tuple(wrong))  # the tables cannot be right, and the runs say why
    plan, store, results = results_so_far(suite)
    if not results.cells and not (suite.inspect and done):
        return Verification(suite.suite, len(done), ())
    page = folder / f"{suite.suite}.html"
    by = _DRAWN.search(page.read_bytes()) if page.is_file() else None
    other = by[1].decode(errors="replace") if by and by[1].decode(errors="replace") != drawn_by() else ""
    with redirect_stderr(io.StringIO()):  # what has no figure was said when the report was made
        files = report_files(plan, store, results, figures=bool(by))
        if not by and any(kind_of(path.name, suite.suite) for path in folder.glob(f"{suite.suite}-*")):
            files |= figure_files(plan, store)
    differing = (m for name, rebuilt in files.items() for m in _differing(folder / name, rebuilt, bool(other)))
    return Verification(suite.suite, len(done), (*_missing_runs(results, folder), *differing), other)


def _differing(path: Path, rebuilt: bytes, drawn_elsewhere: bool) -> Iterator[Mismatch]:
    """A report's file against what it should be."""
    if drawn_elsewhere and path.suffix in (".pdf", ".png"):
        return
    if not path.is_file():
        yield Mismatch(str(path), "missing")
        return
    stored = path.read_bytes()
    if drawn_elsewhere and path.suffix == ".html":
        stored, rebuilt = (_PICTURE.sub(b"", _DRAWN.sub(b"", text)) for text in (stored, rebuilt))
    if stored != rebuilt:
        yield Mismatch(str(path), _first_difference(stored, rebuilt))


def _wrong_in_run(stage: Stage, store: Store) -> Iterator[Mismatch]:
    where = str(store.folder(stage))
    try:
        store.check(stage)
        if stage.role != "evaluate":
            return
        rows = Evidence(store).predictions(stage)
        stored = store.metrics(stage)
        fitted = store.metrics(fit) if store.done(fit := stage.parents["fit"]) else None
    except UserError as error:
        yield Mismatch(where, str(error).removeprefix(f"{where}: "))
        return
    if fitted and stored["epochs"] != (epochs := fitted["best"]["epoch"] + 1):
        yield Mismatch(where, f"is of {stored['epochs']} epochs, and its {fit.role} has {epochs}")
    for metric in get_args(Metric):
        again = getattr(metric_functions, metric)(rows.labels, rows.logits)
        if not abs(again - float(stored.get(metric, "nan"))) <= TOLERANCE:
            yield Mismatch(where, f"{metric} is {stored.get(metric)} in metrics.json, {again} from its predictions")


def _missing_runs(results: SuiteResults, folder: Path) -> Iterator[Mismatch]:
    """Runs that the stored report was made from and that are no longer there."""
    path = folder / f"{results.suite}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        named = {(key, c["method"], c["dataset"]) for c in document["cells"] for key in c["runs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return  # the comparison of bytes says so
    have = {run.key for cell in results.cells for run in cell.runs}
    for key, method, dataset in sorted(named):
        if key not in have:
            yield Mismatch(str(path), f"names run {key[:12]} ({method} on {dataset}), which is not in the results")


def _first_difference(stored: bytes, rebuilt: bytes) -> str:
    try:
        old, new = (content.decode().splitlines() for content in (stored, rebuilt))
    except UnicodeDecodeError:
        return f"the {'picture' if stored[:4] in (b'%PDF', rebuilt[:4]) else 'file'} is not what the results give"
    for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            start = max(0, at - 12)
            return f"line {number} has '{a[start : at + 12]}', the results give '{b[start : at + 12]}'"
    return f"has {len(old)} lines, the results give {len(new)}"
