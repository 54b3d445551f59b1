"""One block of a raw GoodReads file: from JSON lines to columns, and which of their values are valid."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flipbench.data.json_lines import LINE, Convert, Faults, Parse

Integers = NDArray[np.int64]
Record = dict[str, Any]

TEXTS = (
    *("title", "average_rating", "text_reviews_count", "num_pages", "is_ebook", "format", "publisher"),
    *("publication_year", "work_id"),
)
"""Of a book, what is taken as it is written."""

_DATE = r"^[A-Z][a-z]{2} [A-Z][a-z]{2} \d{2} ([01]\d|2[0-3]):[0-5]\d:[0-5]\d [+-][01]\d[0-5]\d (19[7-9]|20\d)\d$"
_NUMBER = "^[0-9]{1,9}$"


def texts(*names: str, **derived: Callable[[Record], str | None]) -> Parse:
    """A parser of JSON objects to columns of strings; absent keys and null are null, other types a fault.

    Args:
        names: keys that are taken.
        derived: further columns, each a function of the object.
    """

    def parse(block: bytes) -> pa.Table:
        records = list(map(orjson.loads, block.split(b"\n")[:-1]))
        try:
            columns = {name: [record.get(name) for record in records] for name in names}
            columns |= {name: [value(record) for record in records] for name, value in derived.items()}
            return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
        except (AttributeError, KeyError, TypeError):
            raise ValueError(f"not an object with {', '.join([*names, *derived])}") from None

    return parse


def first_author(book: Record) -> str | None:
    """The number of the first author that a book names."""
    authors = book.get("authors")
    return authors[0]["author_id"] if authors else None


def by_votes(book: Record) -> str:
    """``{"fiction": 219, "history, biography": 500}`` as ``history, biography; fiction``."""
    votes: dict[str, int] = book["genres"]
    return "; ".join(sorted(votes, key=lambda name: (-votes[name], name)))


def rating(interaction: Record) -> str:
    """The rating, a digit from 0 (none) to 5; ValueError for another value."""
    rating = interaction.get("rating")
    if type(rating) is not int or not 0 <= rating <= 5:
        raise ValueError(f"rating {rating!r:.60}: not one of 0 to 5")
    return str(rating)


def rated(table: pa.Table) -> tuple[pa.Table, Faults]:
    """The rated ones: user [16 bytes], book int32, rating int8, time int64 in seconds since 1970, line."""
    faults: Faults = []
    table = table.filter(pc.not_equal(table["rating"], "0"))
    for name, pattern, fault in (
        ("user_id", "^[0-9a-f]{32}$", "not 32 digits"),
        ("book_id", _NUMBER, "not a number"),
        ("date_updated", _DATE, "not a time"),
    ):
        table, more = _valid(table, pc.match_substring_regex(table[name], pattern), name, fault)
        faults += more
    time, exists = _seconds(table["date_updated"].combine_chunks())
    table = table.append_column("time", pa.array(time))
    table, more = _valid(table, pa.array(exists), "date_updated", "not a time")
    user = bytes.fromhex("".join(table["user_id"].to_pylist()))
    kept = {
        "user": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(table), [None, pa.py_buffer(user)]),
        "book": table["book_id"].cast(pa.int32()),
        "rating": table["rating"].cast(pa.int8()),
        "time": table["time"],
        LINE: table[LINE],
    }
    return pa.table(kept), faults + more


def numbered(table: pa.Table) -> tuple[pa.Table, Faults]:
    """The books that have a number."""
    return _valid(table, pc.match_substring_regex(table["book_id"], _NUMBER), "book_id", "not a number")


def keyed_by(key: str) -> Convert:
    """The rows that have the key."""
    return lambda table: _valid(table, pc.not_equal(table[key], ""), key, "missing")


def _valid(table: pa.Table, valid: pa.ChunkedArray, name: str, fault: str) -> tuple[pa.Table, Faults]:
    """The valid rows; the others by line. A null is not valid."""
    valid = pc.fill_null(valid, False)
    if pc.all(valid, min_count=0).as_py():
        return table, []
    bad = table.filter(pc.invert(valid))
    values = zip(bad[LINE].to_pylist(), bad[name].to_pylist(), strict=True)
    return table.filter(valid), [(line, f"{name} {value!r:.60}: {fault}") for line, value in values]


def _seconds(dates: pa.Array) -> tuple[Integers, NDArray[np.bool_]]:
    """Seconds since 1970 of ``Mon Oct 09 08:55:59 -0700 2017``, and whether the calendar has such a day."""
    hour, minute, second = (
        pc.utf8_slice_codeunits(dates, at, at + 2).cast(pa.int64()).to_numpy() for at in (11, 14, 17)
    )
    days = pc.binary_join_element_wise(*(pc.utf8_slice_codeunits(dates, *part) for part in ((4, 10), (20, 30))), " ")
    encoded = days.dictionary_encode()  # pandas reads a date in microseconds: few differ
    midnight = pd.to_datetime(encoded.dictionary.to_pandas(), format="%b %d %z %Y", utc=True, errors="coerce")
    start = midnight.to_numpy("datetime64[s]")[encoded.indices.to_numpy()]
    return start.astype(np.int64) + hour * 3600 + minute * 60 + second, ~np.isnat(start)
