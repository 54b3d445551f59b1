"""Whether stored figures and tables follow from stored predictions."""

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from flipbench.data.store import is_prepared
from flipbench.errors import DamagedError
from flipbench.plan.stage import Stage
from flipbench.plan.suite import Suite
from flipbench.report.cells import SuiteResults
from flipbench.report.figures import figure_files
from flipbench.report.html.figures import DRAWN_BY, drawn_by, kind_of
from flipbench.report.significance import Evidence
from flipbench.report.so_far import results_so_far
from flipbench.report.verify_runs import Mismatch, mismatch_of, wrong_runs
from flipbench.report.write import report_files
from flipbench.store.code import ChangedCode, RunCode
from flipbench.store.planning import plan_of_known, store_of

_DRAWN = re.compile(f'<meta name="{DRAWN_BY}" content="([^"]*)">'.encode())
_PICTURE = re.compile(rb'(?<=src="data:image/png;base64,)[^"]*')


@dataclass(frozen=True)
class Verification:
    """Whether a suite's figures and tables follow from its predictions.

    Attributes:
        runs: how many were checked.
        mismatches: what does not follow.
        unprepared: data sets that are not prepared here, so that labels and users were compared between runs alone.
        drawn_by: the libraries that drew pictures which could not be compared byte for byte here; else empty.
        changed_code: methods whose code is not that of the runs, under the same version.
    """

    suite: str
    runs: int
    mismatches: tuple[Mismatch, ...] = ()
    unprepared: tuple[str, ...] = ()
    drawn_by: str = ""
    changed_code: tuple[ChangedCode, ...] = ()


def verification_of(suite: Suite, folder: Path) -> Verification:
    """Check every finished run of a suite, and its report's files in ``folder`` against those made anew.

    Runs are checked as by :func:`flipbench.report.verify_runs.wrong_runs`. Where they are right the report is made anew
    and compared byte for byte. Pictures that other versions of the libraries drew have other bytes: of those the
    numbers are compared, their sizes, and the page without its pictures. A page made without them
    (``report --no-figures``) is compared with such a page. Which rows a report marks, because their runs are of other
    code than that of its day, follows from the digests that it names; the code here is a matter apart.
    """
    store, done = store_of(suite), list[Stage]()
    try:
        done += filter(store.done, plan_of_known(suite, store)[0].stages())
        unprepared = tuple(
            sorted({stage.dataset for stage in done if not is_prepared(stage.dataset, stage.spec["data"])})
        )
        evidence = Evidence(store, afresh=True)
        if wrong := tuple(wrong_runs(done, evidence)):  # the tables cannot be right, and the runs say why
            return Verification(suite.suite, len(done), wrong, unprepared)
        wrong, other = _wrong_reports(suite, folder, bool(done))
        changed = tuple(RunCode(store).changed(done))
        return Verification(suite.suite, len(done), wrong, unprepared, other, changed)
    except DamagedError as error:
        return Verification(suite.suite, len(done), (mismatch_of(error),))


def _wrong_reports(suite: Suite, folder: Path, any_done: bool) -> tuple[tuple[Mismatch, ...], str]:
    """A report's files that are not what the runs give, and which other libraries drew pictures with other bytes."""
    plan, store, results = results_so_far(suite, _code_of_its_day(folder / f"{suite.suite}.json"))
    if not results.cells and not (suite.inspect and any_done):
        return (), ""
    page = folder / f"{suite.suite}.html"
    by = _DRAWN.search(_content(page) or b"")
    claimed = by[1].decode(errors="replace") if by else drawn_by()
    with redirect_stderr(io.StringIO()):  # what has no figure was said when the report was made
        files = report_files(plan, store, results, figures=bool(by))
        if not by and any(kind_of(path.name, suite.suite) for path in folder.glob(f"{suite.suite}-*")):
            files |= figure_files(plan, store)
    pictures = {name: rebuilt for name, rebuilt in files.items() if name.endswith((".pdf", ".png"))}
    elsewhere = claimed != drawn_by() and any(_content(folder / name) != pictures[name] for name in pictures)
    wrong = [*_missing_runs(results, folder)]
    for name, rebuilt in files.items():
        if elsewhere and name in pictures:
            wrong += _unlike_a_picture(folder / name, rebuilt)
        else:
            wrong += _differing(folder / name, rebuilt, claimed != drawn_by())
    shown = [b64encode(_content(folder / name) or b"") for name in pictures if name.endswith(".png")]
    if elsewhere and _PICTURE.findall(_content(page) or b"") != shown:
        wrong.append(Mismatch(str(page), "shows other pictures than those beside it"))
    return tuple(wrong), claimed if elsewhere else ""


def _code_of_its_day(path: Path) -> dict[str, str]:
    """The digests of code that a stored report's marks speak of; none where it has no marks."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        today = json.loads(path.read_text(encoding="utf-8"))["code"]["today"]
        return {str(name): str(digest) for name, digest in today.items()} if isinstance(today, dict) else {}
    return {}


def _content(path: Path) -> bytes | None:
    """None where there is no such file."""
    return path.read_bytes() if path.is_file() else None


def _unlike_a_picture(path: Path, rebuilt: bytes) -> Iterator[Mismatch]:
    """A picture with other bytes against one of the same numbers: its kind, and the size of a PNG."""
    if (stored := _content(path)) is None:
        yield Mismatch(str(path), "missing")
    elif path.suffix == ".png":
        try:
            sizes = {Image.open(io.BytesIO(content)).size for content in (stored, rebuilt)}
        except (OSError, ValueError, Image.DecompressionBombError):
            yield Mismatch(str(path), "no picture")
            return
        if len(sizes) > 1:
            yield Mismatch(str(path), "the picture has another size than the results give")
    elif not stored.startswith(b"%PDF-"):
        yield Mismatch(str(path), "no picture")


def _differing(path: Path, rebuilt: bytes, drawn_elsewhere: bool) -> Iterator[Mismatch]:
    """A report's file against what it should be."""
    if (stored := _content(path)) is None:
        yield Mismatch(str(path), "missing")
        return
    if drawn_elsewhere and path.suffix == ".html":
        stored, rebuilt = (_PICTURE.sub(b"", _DRAWN.sub(b"", text)) for text in (stored, rebuilt))
    if stored != rebuilt:
        yield Mismatch(str(path), _first_difference(stored, rebuilt))


def _missing_runs(results: SuiteResults, folder: Path) -> Iterator[Mismatch]:
    """Runs that the stored report was made from and that are no longer there."""
    path = folder / f"{results.suite}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        named = {(str(key), str(c["method"]), str(c["dataset"])) for c in document["cells"] for key in c["runs"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
