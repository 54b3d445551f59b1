"""Ids in memory and in a file: the same, whatever the chunk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flipbench.data import encode as module
from flipbench.data.encode import Column, encode


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=40), chunk=st.integers(1, 50)
)
def test_a_mapped_file_has_what_memory_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[int, int]], chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    first, second = np.array(rows, np.int32).T
    columns = [Column(first, [str(n) for n in range(10)], integer=True), Column(second, ["a", "b", "a", "c", "b"])]
    ids, values = encode(columns)
    mapped, values_too = encode(iter(columns), tmp_path)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(ids, mapped)
    assert values == values_too
    strings = [value for vocabulary in values for value in vocabulary]
    assert [(strings[i - 1], strings[j - 1]) for i, j in ids] == [(str(a), "abacb"[b]) for a, b in rows]
    assert list(tmp_path.iterdir()) == []  # the file has no name
