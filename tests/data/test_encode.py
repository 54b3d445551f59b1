"""Ids lead back to the rows, in memory and in a file, whatever the chunk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flipbench.data import encode as module
from flipbench.data.encode import Column, encode

ROWS = st.lists(st.tuples(st.text(max_size=3), st.integers(0, 30).map(str)), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, chunk=st.integers(1, 50))
def test_ids_lead_back_to_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]], chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    columns = []
    for f in range(2):
        entities = [*dict.fromkeys(row[f] for row in rows), rows[0][f], "7777"]  # one twice, one that occurs in no row
        positions = [len(entities) - 2, *(entities.index(row[f]) for row in rows[1:])]
        columns.append(Column(np.array(positions), entities, integer=f == 1))
    ids, vocabularies = encode(columns)
    strings = [value for vocabulary in vocabularies for value in vocabulary]
    assert [tuple(strings[i - 1] for i in row) for row in ids] == rows
    assert set(ids.ravel().tolist()) == set(range(1, len(strings) + 1))
    assert vocabularies == [sorted(vocabularies[0]), sorted(vocabularies[1], key=int)]

    mapped, same = encode(iter(columns), tmp_path)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(ids, mapped)
    assert vocabularies == same
    assert list(tmp_path.iterdir()) == []  # the file has no name
