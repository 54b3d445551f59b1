"""From columns of strings to global feature ids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipbench.data.table import Field, Layout

CHUNK = 1 << 20
"""Rows that are gathered at a time."""


@dataclass(frozen=True)
class Column:
    """One field of every row, before it has ids.

    Attributes:
        rows: [N] integer; row n has the value ``values[rows[n]]``.
        values: one string an entity (a user's zip code, a movie's title); equal strings are one feature.
        integer: the strings are decimal integers, sorted as numbers; no two that are equal as numbers differ.
    """

    rows: NDArray[np.integer[Any]]
    values: Sequence[str]
    integer: bool = False


@dataclass(frozen=True)
class Prepared:
    """A table ready to be stored.

    Attributes:
        ids: [N, F] int32, global feature ids from 1; in memory, or a map of a temporary file.
        labels: [N] uint8.
        values: F lists of feature strings; the concatenation has the string of id i at i - 1.
        meta: what a reader of the report should know (JSON).
        truth: [N] float32, the true probability of a positive label where a generator knows it.
        scratch: folder that only an unfinished preparation needs; removed once the table is stored.
        fields, layout: of a described data set, known once its files were read.
        users: [N] int32, whose rows these are, where that is no field.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.uint8]
    values: list[list[str]]
    meta: dict[str, Any] = field(default_factory=dict)
    truth: NDArray[np.float32] | None = None
    scratch: Path | None = None
    fields: tuple[Field, ...] | None = None
    layout: Layout | None = None
    users: NDArray[np.int32] | None = None


def period(times: NDArray[np.int64]) -> dict[str, str]:
    """For a table's notes: the UTC days of its first and last row, whose times are in seconds since 1970."""
    first, last = (datetime.fromtimestamp(int(time), UTC).date().isoformat() for time in times[[0, -1]])
    return {"first_day": first, "last_day": last}


def encode(columns: Iterable[Column], scratch: Path | None = None) -> tuple[NDArray[np.int32], list[list[str]]]:
    """Number the features: id 0 is the mask's, then field by field, sorted within a field.

    Only values that occur in a row get an id.

    Args:
        columns: the fields in order; one from a generator is let go before the next is made.
        scratch: folder for a temporary file to map the ids from, so that their memory can be reclaimed; without it
            they are in memory. The file has no name and ends with the array.

    Returns:
        ids [N, F] int32 and the F lists of feature strings in id order.
    """
    sources: list[tuple[NDArray[np.integer[Any]], NDArray[np.int32]]] = []
    vocabularies: list[list[str]] = []
    offset = 1
    for column in columns:
        occurs = np.zeros(len(column.values), bool)
        occurs[column.rows] = True
        used = set(compress(column.values, occurs.tolist()))
        vocabulary = sorted(used, key=int) if column.integer else sorted(used)
        number = {value: offset + i for i, value in enumerate(vocabulary)}
        numbers = (number.get(value, 0) for value in column.values)
        sources.append((column.rows, np.fromiter(numbers, np.int32, len(column.values))))
        vocabularies.append(vocabulary)
        offset += len(vocabulary)
    shape = (len(sources[0][0]), len(sources))
    if scratch is None:
        ids = np.empty(shape, np.int32)
    else:
        with TemporaryFile(dir=scratch) as file:
            ids = np.memmap(file, np.int32, "w+", shape=shape)
    for start in range(0, shape[0], CHUNK):
        part = slice(start, start + CHUNK)
        for f, (rows, numbers_of) in enumerate(sources):
            ids[part, f] = numbers_of[rows[part]]
    return ids, vocabularies
