"""Reader of GoodReads' raw layout (UCSD Book Graph): five files of gzipped JSON lines, streamed.

Rows are in order of time, users and books of one second by their numbers. An interaction's time is ``date_updated``:
the first moment at which its rating certainly stood (``date_added`` is when the book was shelved, often unread).
A book's author is the first it names. Missing values are ``unknown``, as is what a book refers to in vain.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flipbench.data import goodreads_records as records
from flipbench.data import json_lines
from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, INTERACTIONS, WORKS, Sampling
from flipbench.data.goodreads_records import TEXTS, Integers
from flipbench.data.json_lines import LINE, Convert, Parse
from flipbench.data.rejected import Rejected
from flipbench.errors import UserError

VERSION = 1
"""Of what is kept of the raw files between runs; raised when that changes."""
UNKNOWN = "unknown"

PUBLISHED = {INTERACTIONS: 228_648_342, BOOKS: 2_360_655}
"""Lines of the public files, as their page states them; a copy with fewer is partial."""

Positions = NDArray[np.int32]


def read(raw: Path, allow_partial: bool = False, *, sampling: Sampling) -> Prepared:
    """The table of a raw folder; a partial copy is accepted and noted.

    What has been read lies in ``home()/scratch`` until the table is stored, so that a killed run goes on.
    Lines that cannot be read are left out, counted and named in ``meta``.

    Raises:
        UserError: a file is missing, damaged or has too many malformed lines, or nothing is left to sample.
    """
    files = [raw / name for name in (INTERACTIONS, BOOKS, AUTHORS, GENRES, WORKS)]
    scratch, rejected, lines = json_lines.scratch("goodreads", VERSION, files), Rejected(), dict[str, int]()

    def table(file: str, parse: Parse, convert: Convert, key: str | None) -> pa.Table:
        found, lines[file] = json_lines.read(raw / file, parse, convert, scratch, rejected)
        return found if key is None else _unique(found, key, raw / file, rejected)

    interactions = table(INTERACTIONS, records.interactions(), records.rated, None)
    about = records.texts("book_id", *TEXTS, author_id=records.first_author)
    books = table(BOOKS, about, records.numbered, "book_id")
    authors = table(AUTHORS, records.texts("author_id", "name"), records.keyed_by("author_id"), "author_id")
    voted = records.texts("book_id", genres=records.by_votes)
    genres = table(GENRES, voted, records.keyed_by("book_id"), "book_id")
    works = table(WORKS, records.texts("work_id", "media_type"), records.keyed_by("work_id"), "work_id")

    rows = _rows(interactions, books, sampling, raw / INTERACTIONS, rejected)
    books = books.take(pa.array(rows.books))
    joined = {name: books[name] for name in (*TEXTS, "author_id")} | {
        "genres": _looked_up(books["book_id"], genres, "book_id", "genres"),
        "author_name": _looked_up(books["author_id"], authors, "author_id", "name"),
        "media_type": _looked_up(books["work_id"], works, "work_id", "media_type"),
    }

    def columns() -> Iterator[Column]:
        yield Column(rows.user, rows.users)
        yield Column(rows.book, books["book_id"].to_pylist(), integer=True)
        for name in _ORDER:
            yield Column(rows.book, _texts(joined[name]))

    ids, values = encode(columns(), scratch)
    days = [datetime.fromtimestamp(int(t), UTC).date().isoformat() for t in rows.time[[0, -1]]]
    meta: dict[str, Any] = {
        "sampling": f"{sampling.rule}, {sampling.rows:,} rows" + f", seed {sampling.seed}" * (sampling.rule == "users"),
        "first_day": days[0],
        "last_day": days[1],
        "rated_interactions": len(interactions),
        "rated_interactions_of_unknown_books": rows.unknown,
        **rejected.meta(),
    }
    missing = [f"{file} has {lines[file]:,} of {n:,} lines" for file, n in PUBLISHED.items() if lines[file] < n]
    if missing:
        meta["partial"] = "; ".join(missing)
    return Prepared(ids, rows.labels, values, meta, scratch=scratch)


_ORDER = (
    *("title", "genres", "average_rating", "text_reviews_count", "author_id", "author_name", "num_pages"),
    *("is_ebook", "format", "publisher", "publication_year", "work_id", "media_type"),
)
"""The columns after user and book, in the order of the data set's fields."""


@dataclass(frozen=True)
class _Rows:
    """The sampled interactions in order: positions of each row's user and book, labels and times, each [N].

    Attributes:
        users: user ids, sorted.
        books: positions among all books of those that occur, by number.
        unknown: rated interactions whose book is not known.
    """

    user: Positions
    book: Positions
    labels: NDArray[np.uint8]
    time: Integers
    users: list[str]
    books: Integers
    unknown: int


def _rows(interactions: pa.Table, books: pa.Table, sampling: Sampling, path: Path, rejected: Rejected) -> _Rows:
    number = books["book_id"].cast(pa.int32()).to_numpy()
    by_number = np.argsort(number)
    book, occurring = _codes(interactions["book"])
    position = np.searchsorted(number, occurring.to_numpy(), sorter=by_number).clip(max=len(number) - 1)
    known = number[by_number[position]] == occurring.to_numpy()
    chosen = np.flatnonzero(known[book])
    unknown = len(book) - len(chosen)
    user, raw_users = _codes(interactions["user"])
    users = [each.hex() for each in raw_users.to_pylist()]

    # a pair that occurs twice counts once, the first time
    pair = user[chosen].astype(np.int64) * len(occurring) + book[chosen]
    by_pair = np.argsort(pair, kind="stable")
    again = chosen[by_pair[1:][np.diff(pair[by_pair]) == 0]]
    del pair, by_pair
    if len(again):
        for row, line in zip(again.tolist(), interactions[LINE].take(pa.array(again)).to_pylist(), strict=True):
            rejected.add(path, line, f"user {users[user[row]]} has rated book {occurring[int(book[row])]} before")
        chosen = np.setdiff1d(chosen, again, assume_unique=True)
    if not len(chosen):
        why = f"; lines left out: {len(rejected.lines)}, the first {rejected.lines[0]}" if rejected.lines else ""
        raise UserError(f"{path}: no rating of a known book{why}")

    time = interactions["time"].to_numpy()
    chosen = _sample(chosen, time, user, users, sampling)
    time, user, book = time[chosen], user[chosen], book[chosen]
    user, users = _ranked(user, users)
    used = np.flatnonzero(np.bincount(book, minlength=len(occurring)))
    used = used[np.argsort(position[used])]
    rank = np.empty(len(occurring), np.int32)
    rank[used] = np.arange(len(used), dtype=np.int32)
    book = rank[book]
    order = np.argsort(user.astype(np.int64) * len(used) + book)
    order = order[np.argsort(time[order], kind="stable")]
    labels = (interactions["rating"].to_numpy()[chosen[order]] > 3).astype(np.uint8)
    return _Rows(user[order], book[order], labels, time[order], users, by_number[position[used]], unknown)


def _sample(chosen: Integers, time: Integers, user: Positions, users: list[str], sampling: Sampling) -> Integers:
    """Which of the chosen rows make the data set, in the order of the file."""
    if len(chosen) <= sampling.rows:
        return chosen
    if sampling.rule == "users":
        count = np.bincount(user[chosen], minlength=len(users))
        lots = [hashlib.sha256(f"{sampling.seed}:{each}".encode()).digest() for each in users]
        drawn = np.array(sorted(range(len(users)), key=lots.__getitem__))
        drawn = drawn[: int(np.searchsorted(np.cumsum(count[drawn]), sampling.rows)) + 1]
        taken = np.zeros(len(users), bool)
        taken[drawn] = True
        return np.compress(taken[user[chosen]], chosen)
    times = time[chosen]
    oldest = np.partition(times, len(times) - sampling.rows)[len(times) - sampling.rows]
    newer = times > oldest
    of_that_second = np.flatnonzero(times == oldest)[: sampling.rows - int(newer.sum())]
    newer[of_that_second] = True
    return np.compress(newer, chosen)


def _ranked(codes: Positions, names: list[str]) -> tuple[Positions, list[str]]:
    """Codes [N] of the names that occur, sorted, in place of codes of all names."""
    occurs = np.flatnonzero(np.bincount(codes, minlength=len(names))).tolist()
    occurs.sort(key=names.__getitem__)
    rank = np.empty(len(names), np.int32)
    rank[occurs] = np.arange(len(occurs), dtype=np.int32)
    return rank[codes], [names[code] for code in occurs]


def _codes(column: pa.ChunkedArray) -> tuple[Positions, pa.Array]:
    """Position [N] of each value among the different ones, and those."""
    encoded = column.dictionary_encode().combine_chunks()
    return encoded.indices.to_numpy(), encoded.dictionary


def _unique(table: pa.Table, key: str, path: Path, rejected: Rejected) -> pa.Table:
    """The table without the rows whose key occurs in an earlier one."""
    first = np.unique(_codes(table[key])[0], return_index=True)[1]
    if len(first) == len(table):
        return table
    again = pa.array(np.setdiff1d(np.arange(len(table)), first))
    for line, value in zip(table[LINE].take(again).to_pylist(), table[key].take(again).to_pylist(), strict=True):
        rejected.add(path, line, f"{key} {value} occurs before")
    return table.take(pa.array(np.sort(first)))


def _looked_up(keys: pa.ChunkedArray, table: pa.Table, key: str, value: str) -> pa.ChunkedArray:
    """The table's value for each key, null where there is none."""
    if not len(table):
        return pa.chunked_array([pa.nulls(len(keys), pa.string())])
    return table[value].take(pc.index_in(keys, value_set=table[key].combine_chunks()))


def _texts(column: pa.ChunkedArray) -> list[str]:
    text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    texts: list[str] = pc.if_else(pc.equal(text, ""), UNKNOWN, text).to_pylist()
    return texts
