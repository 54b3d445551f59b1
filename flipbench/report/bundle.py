"""One archive of a suite's evidence, from which another person verifies and reports without the data."""

import io
import os
import posixpath
import tarfile
from collections.abc import Mapping
from pathlib import Path

import flipbench
from flipbench.atomic import replacing
from flipbench.data import elsewhere
from flipbench.errors import UserError
from flipbench.plan.entries import DataEntry
from flipbench.plan.expand import Plan
from flipbench.store.code import ACCEPTED
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

    It holds the suite's file, those that describe its data sets (not their raw files) and what it asks of data sets of
    other packages, every finished run of its plan without weights, records of failures, what is accepted as the same
    code, the reports with figures and page, and a README. Nothing is compressed: predictions are already, and a
    compressor's bytes change with its version.

    Args:
        reports: content of the report's files by name.

    Returns:
        How many runs it holds.

    Raises:
        UserError: no finished run, a run's files are missing or were changed, a file that describes a data set lies too
            far from the suite's or is named by an absolute path, or the archive cannot be written.
    """
    runs = [stage for stage in plan.stages() if store.done(stage)]
    if not runs:
        raise UserError(f"{plan.suite.suite}: no finished run in {store.root} to bundle")
    files: dict[str, bytes] = {f"suites/{plan.suite.suite}.yaml": suite_file.read_bytes()}
    files |= dict(_described(data, suite_file) for data in plan.suite.data if data.dataset.described)
    for stage in runs:
        store.check(stage)
        folder = store.folder(stage)
        for name in (*store.digests(stage), DONE):
            files[f"results/{(folder / name).relative_to(store.root).as_posix()}"] = (folder / name).read_bytes()
    for record in (store.failure_file(stage) for stage in plan.stages() if store.failure(stage)):
        files[f"results/{record.relative_to(store.root).as_posix()}"] = record.read_bytes()
    if (accepted := store.root / ACCEPTED).is_file():
        files[f"results/{ACCEPTED}"] = accepted.read_bytes()
    if described := elsewhere.described({stage.dataset: stage.spec["data"] for stage in runs}):
        files[f"suites/{plan.suite.suite}{elsewhere.SUFFIX}"] = described
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


def _described(data: DataEntry, suite_file: Path) -> tuple[str, bytes]:
    """The file that describes a data set, under the name that the suite's file finds it by."""
    path = Path(data.name)
    beside = Path(os.path.relpath(path, suite_file.absolute().parent)).as_posix()
    name = posixpath.normpath(f"suites/{beside}")
    if name.startswith("../"):
        raise UserError(f"{path}: lies outside the folder above the suite's, which is what a bundle can hold")
    if data.name in suite_file.read_text("utf-8"):  # a path of this machine alone
        raise UserError(f"{suite_file}: data: {path}: a bundle needs a path relative to the suite's file: {beside}")
    try:
        return name, path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
