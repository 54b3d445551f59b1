"""One archive of a suite's evidence, from which another person verifies and reports without the data."""

import io
import os
import posixpath
import tarfile
from collections.abc import Mapping
from pathlib import Path

import flipbench
from flipbench.atomic import replacing
from flipbench.data.dataset import is_file
from flipbench.errors import UserError
from flipbench.plan.expand import Plan
from flipbench.store.manifest import DONE
from flipbench.store.runs import Store

README = """\
# {title}

The evidence behind the suite `{suite}`: {runs} runs, and the tables made from them. With flipbench {version}, here:

    flipbench verify suites/{suite}.yaml --results results --reports reports
    flipbench report suites/{suite}.yaml --results results --reports again

Weights are not part of it: they are rebuilt by `flipbench run`.
"""


def write_bundle(suite_file: Path, plan: Plan, store: Store, reports: Mapping[str, bytes], path: Path) -> int:
    """Write a tar archive; the same evidence gives the same bytes, on every machine and day.

    It holds the suite's file, those that describe data sets of one's own (not their data), every finished run of its
    plan without weights, records of failures, the reports with figures and page, and a README. Nothing is compressed:
    predictions are already, and a compressor's bytes change with its version.

    Args:
        reports: content of the report's files by name.

    Returns:
        How many runs it holds.

    Raises:
        UserError: no finished run, a run's files are missing or were changed, the suite names a data set by a path
            that means nothing elsewhere, or the archive cannot be written.
    """
    runs = [stage for stage in plan.stages() if store.done(stage)]
    if not runs:
        raise UserError(f"{plan.suite.suite}: no finished run in {store.root} to bundle")
    files: dict[str, bytes] = {f"suites/{plan.suite.suite}.yaml": suite_file.read_bytes()}
    files |= _descriptions(suite_file, plan)
    for stage in runs:
        store.check(stage)
        folder = store.folder(stage)
        for name in (*store.digests(stage), DONE):
            files[f"results/{(folder / name).relative_to(store.root).as_posix()}"] = (folder / name).read_bytes()
    for record in (store.failure_file(stage) for stage in plan.stages() if store.failure(stage)):
        files[f"results/{record.relative_to(store.root).as_posix()}"] = record.read_bytes()
    files |= {f"reports/{name}": content for name, content in reports.items()}
    words = {"suite": plan.suite.suite, "title": plan.suite.title, "runs": len(runs)}
    files["README.md"] = README.format(**words, version=flipbench.__version__).encode()
    try:
        with replacing(path) as beside, tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(f"{plan.suite.suite}/{name}")
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return len(runs)


def _descriptions(suite_file: Path, plan: Plan) -> dict[str, bytes]:
    """The files that describe data sets of one's own, where the suite's file will look for them."""
    folder, text = suite_file.parent.absolute(), suite_file.read_text("utf-8")
    found: dict[str, bytes] = {}
    for name in (data.name for data in plan.suite.data if is_file(data.name)):
        place = posixpath.normpath(f"suites/{Path(os.path.relpath(name, folder)).as_posix()}")
        if place.startswith("../") or name in text:
            where = "a path relative to the suite's file, one folder up at most"
            raise UserError(f"{suite_file}: data: {name}: a bundle needs {where}")
        found[place] = Path(name).read_bytes()
    return found
