"""A home of its own for every test."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_movielens import write_raw

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # its generator of GoodReads files


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def raw(tmp_path: Path) -> Callable[..., Path]:
    """Writes the raw folder ``ml-1m``, with files changed as the keywords say."""
    return lambda **changed: write_raw(tmp_path / "raw" / "ml-1m", **changed)
