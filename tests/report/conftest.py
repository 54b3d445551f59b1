"""Two fixed suites that between them hold every kind of cell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from flipbench.plan import suite
from flipbench.plan.entries import Compare
from flipbench.report.cells import CellRuns, ScoredRun, SuiteResults
from flipbench.report.latex import PACKAGES
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

VERSIONS = {
    "flipbench": "0.1.0",
    "torch": "2.13.0",
    "data/movielens-1m": "3fa9c1d2" + "0" * 56,
    "data/planted-tiny": "77e0aa10" + "0" * 56,
}


def cell(method: str, dataset: str, *scores: tuple[float, float], failed: int = 0, expected: int = 3) -> CellRuns:
    runs = tuple(ScoredRun(f"{method}-{dataset}-{seed}", seed, *score) for seed, score in enumerate(scores))
    return CellRuns(method, dataset, runs, failed, expected)


@pytest.fixture(autouse=True)
def no_terminal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tester's shell or CI says about colour and width must not change the text."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stored(suite_file, stored_runs):
    """``stored(strength, **changes)``: a suite with made-up runs of the rows in ``strength``. Returns plan, store."""

    def make(strength, **changes):
        options = {"data": "[movielens-1m]", "settings": "", **changes}
        options.setdefault("methods", f"[{', '.join(strength)}]")
        found = suite.load(str(suite_file(**options)))
        store = Store(Path(found.outputs.results))
        plan = plan_of(found, store)
        stored_runs(plan, store, strength)
        return plan, store

    return make


@pytest.fixture
def latex_log(tmp_path):
    """Compiles tables, a page each, and returns what pdflatex said; skips where it is not installed."""

    def compile_(*tables: str) -> str:
        if shutil.which("pdflatex") is None:
            pytest.skip("pdflatex is not installed")
        packages = "".join(rf"\usepackage{{{name}}}" for name in PACKAGES)
        head = rf"\documentclass[10pt,a4paper]{{article}}\usepackage[margin=2cm]{{geometry}}{packages}"
        body = "\n\\clearpage\n".join(tables)
        (tmp_path / "all.tex").write_text(rf"{head}\begin{{document}}{body}\end{{document}}", "utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        log = done.stdout.decode("latin-1")
        assert done.returncode == 0, log[-2000:]
        assert (tmp_path / "all.pdf").stat().st_size > 1000
        return log

    return compile_


@pytest.fixture
def several() -> SuiteResults:
    """Three seeds, two data sets (one not the paper's), ties, failed, partial and missing cells, a floor."""
    ml, planted = "movielens-1m", "planted-tiny"
    return SuiteResults(
        suite="several",
        title="Overall performance",
        paper="table2",
        protocol="held-out",
        order="chronological",
        seeds=3,
        compare=Compare(reference="dcnv2"),
        cells=(
            cell("dcnv2", ml, (0.8540, 0.390), (0.8550, 0.391), (0.8560, 0.392)),
            cell("deepfm", ml, (0.8550, 0.389), (0.8550, 0.389), (0.8550, 0.389)),
            cell("pnn", ml, (0.8530, 0.394), (0.8532, 0.395), (0.85311, 0.396)),
            cell("afn", ml, (0.9900, 0.100), (0.9900, 0.100), failed=1),
            cell("dcn", ml, (0.9900, 0.100)),
            cell("my_model", ml, (0.8400, 0.391), (0.8410, 0.391), (0.8420, 0.391)),
            cell("dcnv2", planted, (0.7000, 0.600), (0.7100, 0.610), (0.7200, 0.620)),
            cell("deepfm", planted, (0.7000, 0.590), (0.7000, 0.590), (0.7000, 0.590)),
            cell("pnn", planted, failed=3),
        ),
        datasets=(ml, planted),
        methods=("pnn", "dcn", "deepfm", "afn", "dcnv2", "my_model"),
        versions=VERSIONS,
        notes=("Planted-tiny has a Bayes-optimal AUC of 0.8123.",),
        floors=frozenset({"my_model"}),
    )


@pytest.fixture
def special() -> SuiteResults:
    """One seed, no paper, no reference, selection on test, random order, and characters that need escapes."""
    rows = {
        r"50%_off & #1 {a} $b$ ^~\c": (0.8, 0.4),
        "[bold]*x* | <y>": (0.7, 0.5),
        "dcnv2": (0.6, 0.6),
    }
    return SuiteResults(
        suite="special",
        title="Titles & 100% of _them_",
        paper=None,
        protocol="as-released",
        order="random",
        seeds=1,
        compare=Compare(),
        cells=tuple(cell(method, "planted-tiny", score, expected=1) for method, score in rows.items()),
        datasets=("planted-tiny",),
        methods=tuple(rows),
        versions=VERSIONS,
        notes=("Notes may hold a [link], 5 → 6, 2 × 3 and\na line break.",),
    )
