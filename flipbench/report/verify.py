"""Whether stored figures and tables follow from stored predictions."""

import io
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flipbench import metrics as metric_functions
from flipbench.errors import UserError
from flipbench.plan.expand import Plan
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.cells import SuiteResults
from flipbench.report.figures import write_figures
from flipbench.report.html import to_html
from flipbench.report.html.figures import DRAWN_BY, drawn_by, kind_of
from flipbench.report.significance import Evidence
from flipbench.report.write import render
from flipbench.store.runs import Store

TOLERANCE = 1e-9
"""Of a recomputed metric; the last bits may differ between processors."""


@dataclass(frozen=True)
class Mismatch:
    """What does not follow: ``where`` is a run folder or a report's file."""

    where: str
    what: str


def verify_runs(plan: Plan, store: Store) -> tuple[int, list[Mismatch]]:
    """Check every finished run of a plan: the bytes of its files, and its metrics against its predictions.

    Returns:
        How many runs were checked, and what is wrong.
    """
    done = [stage for stage in plan.stages() if store.done(stage)]
    return len(done), [mismatch for stage in done for mismatch in _run(stage, store)]


def _run(stage: Stage, store: Store) -> Iterator[Mismatch]:
    where = str(store.folder(stage))
    try:
        store.check(stage)
        if stage.role != "evaluate":
            return
        rows = Evidence(store).predictions(stage)
        stored = store.metrics(stage)
    except UserError as error:
        yield Mismatch(where, str(error).removeprefix(f"{where}: "))
        return
    for metric in get_args(Metric):
        again = getattr(metric_functions, metric)(rows.labels, rows.logits)
        if not abs(again - float(stored.get(metric, "nan"))) <= TOLERANCE:
            yield Mismatch(where, f"{metric} is {stored.get(metric)} in metrics.json, {again} from its predictions")


def verify_reports(results: SuiteResults, folder: Path) -> list[Mismatch]:
    """Rebuild a suite's report in memory and compare it with the files in ``folder``, byte for byte."""
    missing = [Mismatch(str(folder / name), what) for name, what in _missing_runs(results, folder)]
    files = render(results).items()
    return missing + [m for name, text in files for m in _compared(folder / name, text.encode())]


def verify_page(plan: Plan, store: Store, results: SuiteResults, folder: Path) -> tuple[list[Mismatch], str]:
    """Draw a suite's figures and make its page anew, and compare with the files in ``folder``, byte for byte.

    Pictures that other versions of the libraries drew have other bytes: of those the numbers are compared, and the
    page without its pictures. A page made without them (``report --no-figures``) is compared with such a page.

    Returns:
        What is wrong; and who drew pictures that were not compared, else an empty text.
    """
    page = folder / f"{results.suite}.html"
    stored = page.read_text(encoding="utf-8") if page.is_file() else ""
    by = _DRAWN.search(stored)
    other = by[1] if by and by[1] != drawn_by() else ""
    mismatches: list[Mismatch] = []
    with tempfile.TemporaryDirectory() as temporary:
        pictures: list[Path] = []
        if by or any(kind_of(path, results.suite) for path in folder.glob(f"{results.suite}-*")):
            with redirect_stderr(io.StringIO()):  # what has no figure was said when the report was made
                pictures = write_figures(plan, store, Path(temporary))
        for path in pictures:
            if not other or path.suffix == ".csv":
                mismatches += _compared(folder / path.name, path.read_bytes())
        rebuilt = to_html(plan, store, results, pictures if by else ())
    if other:
        stored, rebuilt = (_PICTURE.sub("", _DRAWN.sub("", text)) for text in (stored, rebuilt))
    return [*mismatches, *_compared(page, rebuilt.encode(), stored.encode())], other


_DRAWN = re.compile(f'<meta name="{DRAWN_BY}" content="([^"]*)">')
_PICTURE = re.compile(r'(?<=src="data:image/png;base64,)[^"]*')


def _compared(path: Path, rebuilt: bytes, stored: bytes | None = None) -> Iterator[Mismatch]:
    """A file, or what was read of it, against what it should be."""
    if not path.is_file():
        yield Mismatch(str(path), "missing")
    elif (stored := path.read_bytes() if stored is None else stored) != rebuilt:
        yield Mismatch(str(path), _first_difference(stored, rebuilt))


def _missing_runs(results: SuiteResults, folder: Path) -> Iterator[tuple[str, str]]:
    """Runs that the stored report was made from and that are no longer there."""
    name = f"{results.suite}.json"
    try:
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        named = {(key, c["method"], c["dataset"]) for c in document["cells"] for key in c["runs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return  # the comparison of bytes says so
    have = {run.key for cell in results.cells for run in cell.runs}
    for key, method, dataset in sorted(named):
        if key not in have:
            yield name, f"names run {key[:12]} ({method} on {dataset}), which is not in the results"


def _first_difference(stored: bytes, rebuilt: bytes) -> str:
    try:
        old, new = (content.decode().splitlines() for content in (stored, rebuilt))
    except UnicodeDecodeError:
        return "the picture is not what the results give"
    for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            start = max(0, at - 12)
            return f"line {number} has '{a[start : at + 12]}', the results give '{b[start : at + 12]}'"
    return f"has {len(old)} lines, the results give {len(new)}"
