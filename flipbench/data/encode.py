"""From columns of strings to global feature ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Column:
    """One field of every row, before it has ids.

    Attributes:
        rows: [N] integer; row n has the value ``values[rows[n]]``.
        values: one string an entity (a user's zip code, a movie's title); equal strings are one feature.
        integer: the strings are distinct decimal integers, sorted as numbers.
    """

    rows: NDArray[np.integer[Any]]
    values: Sequence[str]
    integer: bool = False


@dataclass(frozen=True)
class Prepared:
    """A table in memory, ready to be stored.

    Attributes:
        ids: [N, F] int32, global feature ids from 1.
        labels: [N] uint8.
        values: F lists of feature strings; the concatenation has the string of id i at i - 1.
        meta: what a reader of the report should know (JSON).
        truth: [N] float32, the true probability of a positive label where a generator knows it.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.uint8]
    values: list[list[str]]
    meta: dict[str, Any] = field(default_factory=dict)
    truth: NDArray[np.float32] | None = None


def encode(columns: Sequence[Column]) -> tuple[NDArray[np.int32], list[list[str]]]:
    """Number the features: id 0 is the mask's, then field by field, sorted within a field.

    Only values that occur in a row get an id.

    Returns:
        ids [N, F] int32 and the F lists of feature strings in id order.
    """
    ids = np.empty((len(columns[0].rows), len(columns)), np.int32)
    vocabularies: list[list[str]] = []
    offset = 1
    for f, column in enumerate(columns):
        occurs = np.bincount(column.rows, minlength=len(column.values)).tolist()
        used = {value for value, count in zip(column.values, occurs, strict=True) if count}
        vocabulary = sorted(used, key=int) if column.integer else sorted(used)
        number = {value: offset + i for i, value in enumerate(vocabulary)}
        ids[:, f] = np.array([number.get(value, 0) for value in column.values], np.int32)[column.rows]
        vocabularies.append(vocabulary)
        offset += len(vocabulary)
    return ids, vocabularies
