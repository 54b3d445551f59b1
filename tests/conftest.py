"""Shared fixtures: no test touches the user's data, results or environment."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder of prepared tables for the whole session: generated data is made once."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIPBENCH_HOME", str(home))
        patch.setenv("NO_COLOR", "1")
        yield home


@pytest.fixture(autouse=True, scope="module")
def own_processor_state() -> Iterator[None]:
    """Training flushes denormals to zero, for the whole process; the next module's tests may draw them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def suite_file(tmp_path: Path):
    """Writes a suite file named ``mini`` with the given text changes; returns its path."""

    def write(text: str = "", **changes: str) -> Path:
        lines = {
            "suite": "mini",
            "title": "A small suite",
            "data": "[planted-tiny]",
            "methods": "[dcnv2]",
            "settings": "{max_epochs: 1, batch_size: 256}",
            "outputs": f"{{results: {tmp_path / 'results'}, reports: {tmp_path / 'reports'}}}",
            **changes,
        }
        path = tmp_path / "mini.yaml"
        path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items() if v) + text, encoding="utf-8")
        return path

    return write
