"""One archive of a suite's evidence, from which another person verifies and reports without the data."""

import io
import tarfile
import tempfile
from pathlib import Path

from flipbench.atomic import replacing
from flipbench.errors import UserError
from flipbench.plan.expand import Plan
from flipbench.report.cells import SuiteResults
from flipbench.report.figures import write_figures
from flipbench.report.write import write_html, write_report
from flipbench.store.runs import DONE, Store

README = """\
# {title}

The evidence behind the suite `{suite}`: {runs} runs, and the tables made from them. With flipbench {version}, here:

    flipbench verify suites/{suite}.yaml --results results --reports reports
    flipbench report suites/{suite}.yaml --results results --reports again

Weights are not part of it: they are rebuilt by `flipbench run`.
"""


def write_bundle(suite_file: Path, plan: Plan, store: Store, results: SuiteResults, path: Path) -> int:
    """Write a tar archive; the same evidence gives the same bytes, on every machine and day.

    It holds the suite's file, every finished run of its plan without weights, records of failures, the reports with
    figures and page, and a README. Nothing is compressed: predictions are already, and a compressor's bytes change with
    its version.

    Returns:
        How many runs it holds.

    Raises:
        UserError: no finished run, a run's files are missing or were changed, or the archive cannot be written.
    """
    runs = [stage for stage in plan.stages() if store.done(stage)]
    if not runs:
        raise UserError(f"{plan.suite.suite}: no finished run in {store.root} to bundle")
    files: dict[str, bytes] = {f"suites/{plan.suite.suite}.yaml": suite_file.read_bytes()}
    for stage in runs:
        store.check(stage)
        folder = store.folder(stage)
        for name in (*store.digests(stage), DONE):
            files[f"results/{(folder / name).relative_to(store.root).as_posix()}"] = (folder / name).read_bytes()
    for stage in plan.stages():
        if store.failure(stage):
            record = store.failure_file(stage)
            files[f"results/{record.relative_to(store.root).as_posix()}"] = record.read_bytes()
    files |= {f"reports/{name}": content for name, content in _reports(plan, store, results).items()}
    words = {"suite": plan.suite.suite, "title": plan.suite.title, "runs": len(runs)}
    files["README.md"] = README.format(**words, version=results.versions["flipbench"]).encode()
    try:
        with replacing(path) as beside, tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(f"{plan.suite.suite}/{name}")
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return len(runs)


def _reports(plan: Plan, store: Store, results: SuiteResults) -> dict[str, bytes]:
    """The files of a suite's report by name, as ``flipbench report`` writes them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = [] if plan.suite.inspect else write_report(results, folder)
        paths += (pictures := write_figures(plan, store, folder))
        paths += write_html(plan, store, results, pictures, folder)
        return {path.name: path.read_bytes() for path in paths}
