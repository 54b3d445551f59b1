"""Times as rows are sorted by: numbers of any unit, or ISO 8601 dates and times, as whole numbers or fractions."""

from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Kind = Literal["a number", "a date or time"]


def read(column: pa.Array) -> tuple[Kind, NDArray[Any]] | None:
    """The values [n] of a column, text or a Parquet file's own; None where one is no time, or not of the others' kind.

    Dates are microseconds since 1970, without a zone in UTC.
    """
    kind = column.type
    if column.null_count:
        return None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "a date or time", column.cast(
            pa.timestamp("us", kind.tz if pa.types.is_timestamp(kind) else None), False
        ).cast(pa.int64()).to_numpy()
    if pa.types.is_integer(kind):
        return "a number", column.cast(pa.int64()).to_numpy()
    if pa.types.is_floating(kind):
        numbers = column.to_numpy()
        return ("a number", numbers) if np.isfinite(numbers).all() else None
    text = _text(column)
    for wanted in (pa.int64(), pa.float64()):
        if (found := _cast(text, wanted)) is not None:
            numbers = found.to_numpy()
            return ("a number", numbers) if np.isfinite(numbers).all() else None
    for wanted in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        if (found := _cast(text, wanted)) is not None:
            return "a date or time", found.cast(pa.int64()).to_numpy()
    return None


def first_bad(column: pa.Array, kind: Kind | None) -> int:
    """The first value that is no time, or not of the kind; of the first value's if None."""
    for row in range(len(column)):
        found = read(column.slice(row, 1))
        if found is None or (kind or found[0]) != found[0]:
            return row
        kind = found[0]
    return 0


def shown(kind: Kind, value: Any) -> str:
    """A value of :func:`read` for people."""
    if kind == "a number":
        return str(value)
    return datetime.fromtimestamp(int(value) / 1e6, UTC).isoformat(sep=" ").removesuffix("+00:00")


def one(value: float | str) -> tuple[Kind, Any] | None:
    """A single value of a description as :func:`read` gives it."""
    found = read(pa.array([str(value).encode()]))
    return None if found is None else (found[0], found[1][0])


def _text(column: pa.Array) -> pa.Array | None:
    return _cast(column, pa.string())


def _cast(column: pa.Array | None, kind: pa.DataType) -> pa.Array | None:
    try:
        return None if column is None else column.cast(kind)
    except pa.ArrowInvalid:
        return None
