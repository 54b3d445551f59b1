"""Reader of GoodReads' raw layout (UCSD Book Graph): five files of JSON lines, gzipped or not, streamed.

Rows are in order of time, users and books of one second by their numbers. An interaction's time is ``date_updated``:
the first moment at which its rating certainly stood (``date_added`` is when the book was shelved, often unread).
A book's author is the first it names. Missing values are ``unknown``, as is what a book refers to in vain. What a
book says is cleaned as every reader's text (``clean``).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flipbench.data import goodreads_records as records
from flipbench.data import json_lines
from flipbench.data.clean import Cleaner
from flipbench.data.encode import Column, Prepared, encode, period
from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, INTERACTIONS, WORKS, Sampling
from flipbench.data.goodreads_records import TEXTS
from flipbench.data.json_lines import Convert, Parse, left_out
from flipbench.data.raw import Rejected, packed_or_not
from flipbench.errors import UserError

VERSION = 1
"""Of what is kept of the raw files between runs; raised when that changes."""
CRAWLED = 1_514_764_800
"""2018-01-01 in seconds since 1970: the public files are of late 2017, as their page states."""

PUBLISHED = {INTERACTIONS: 228_648_342, BOOKS: 2_360_655}
"""Lines of the public files, as their page states them; a copy with fewer is partial."""

COLUMNS = (
    *("title", "genres", "average_rating", "text_reviews_count", "author_id", "author_name", "num_pages"),
    *("is_ebook", "format", "publisher", "publication_year", "work_id", "media_type"),
)
"""The columns after user and book, in the order of the data set's fields."""

Integers = NDArray[np.int64]
Codes = NDArray[np.int32]


def read(raw: Path, allow_partial: bool = False, *, sampling: Sampling) -> Prepared:
    """The table of a raw folder; a partial copy is accepted and noted.

    What has been read lies in ``home()/scratch`` until the table is stored, so that a killed run goes on.
    Lines that cannot be read are left out, counted and named in ``meta``.

    Raises:
        UserError: a file is missing, damaged or has too many malformed lines, or nothing is left to sample.
    """
    paths = {name: packed_or_not(raw / name) for name in (INTERACTIONS, BOOKS, AUTHORS, GENRES, WORKS)}
    scratch, rejected = json_lines.scratch("goodreads", VERSION, paths.values()), Rejected()
    lines = dict[str, int]()

    repeated = Counter[str]()

    def table(file: str, parse: Parse, convert: Convert, key: str | None = None) -> pa.Table:
        rows, lines[file] = json_lines.read(paths[file], parse, scratch, rejected, convert)
        return rows if key is None else _first_of_each(rows, key, repeated)

    interaction = records.texts("user_id", "book_id", "date_updated", rating=records.rating)
    interactions, late = left_out(table(INTERACTIONS, interaction, records.rated), paths[INTERACTIONS], CRAWLED)
    about = records.texts("book_id", *TEXTS, author_id=records.first_author)
    books = table(BOOKS, about, records.numbered, "book_id")
    authors = table(AUTHORS, records.texts("author_id", "name"), records.keyed_by("author_id"), "author_id")
    voted = records.texts("book_id", genres=records.by_votes)
    genres = table(GENRES, voted, records.keyed_by("book_id"), "book_id")
    works = table(WORKS, records.texts("work_id", "media_type"), records.keyed_by("work_id"), "work_id")

    rows = _rows(interactions, books, sampling, paths[INTERACTIONS], rejected, repeated)
    books = books.take(pa.array(rows.books))
    joined = {name: books[name] for name in (*TEXTS, "author_id")} | {
        "genres": _looked_up(books["book_id"], genres, "book_id", "genres"),
        "author_name": _looked_up(books["author_id"], authors, "author_id", "name"),
        "media_type": _looked_up(books["work_id"], works, "work_id", "media_type"),
    }

    clean = Cleaner()

    def columns() -> Iterator[Column]:
        yield Column(rows.user, rows.users)
        yield Column(rows.book, books["book_id"].to_pylist(), integer=True)
        for name in COLUMNS:
            yield Column(rows.book, clean.known(joined[name].to_pylist()))

    ids, values = encode(columns(), scratch)
    meta: dict[str, Any] = {
        "sampling": f"{sampling.rule}, {sampling.rows:,} rows" + f", seed {sampling.seed}" * (sampling.rule == "users"),
        **period(rows.times),
        "rated_interactions": len(interactions),
        "rated_interactions_of_unknown_books": rows.unknown,
        **{f"repeated_{what}": repeated[what] for what in ("pairs", "book_id", "author_id", "work_id")},
        **late,
        **clean.meta(),
        **rejected.meta(),
    }
    missing = [f"{file} has {lines[file]:,} of {n:,} lines" for file, n in PUBLISHED.items() if lines[file] < n]
    if missing:
        meta["partial"] = "; ".join(missing)
    return Prepared(ids, rows.labels, values, meta, scratch=scratch, times=rows.times)


class _Rows(NamedTuple):
    """The sampled interactions in order of time, user and book.

    Attributes:
        user, book: [N] positions in ``users`` and ``books``.
        labels: [N] uint8.
        users: user ids, sorted.
        books: rows of the table of books.
        times: [N] seconds since 1970.
        unknown: rated interactions whose book is not known.
    """

    user: Codes
    book: Codes
    labels: NDArray[np.uint8]
    users: list[str]
    books: Integers
    times: Integers
    unknown: int


def _rows(
    interactions: pa.Table, books: pa.Table, sampling: Sampling, path: Path, rejected: Rejected, repeated: Counter[str]
) -> _Rows:
    number = books["book_id"].cast(pa.int32()).to_numpy()
    by_number = np.argsort(number)
    book = pc.index_in(interactions["book"], value_set=pa.array(number[by_number])).fill_null(-1).to_numpy()
    user, users = _codes(interactions["user"])
    chosen = np.flatnonzero(book >= 0)
    unknown = len(book) - len(chosen)
    chosen = _first_pairs(chosen, user, book, path, rejected, repeated)
    time = interactions["time"].to_numpy()
    chosen = _sample(chosen, time, user, users, sampling)
    chosen = chosen[np.lexsort((book[chosen], user[chosen], time[chosen]))]
    labels = (interactions["rating"].to_numpy()[chosen] > 3).astype(np.uint8)
    used, position = np.unique(book[chosen], return_inverse=True)
    return _Rows(user[chosen], position.astype(np.int32), labels, users, by_number[used], time[chosen], unknown)


def _codes(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    """[N] position of each user among the different ones, and their ids, sorted."""
    encoded = column.dictionary_encode().combine_chunks()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    users = [user.hex() for user in encoded.dictionary.take(pa.array(order)).to_pylist()]
    return rank[encoded.indices.to_numpy()], users


def _first_pairs(
    known: Integers, user: Codes, book: Codes, path: Path, rejected: Rejected, repeated: Counter[str]
) -> Integers:
    """Of the interactions with known books, those whose pair of user and book has not occurred before."""
    pair = user[known].astype(np.int64)
    pair <<= 32  # in place: at 100 million rows a copy counts
    pair |= book[known]
    again = pd.Series(pair, copy=False).duplicated().to_numpy()
    repeated["pairs"] = int(again.sum())
    if again.all():
        bad = rejected.meta()["rejected"]
        why = f"; lines left out: {len(bad)}, the first {bad[0]}" if bad else ""
        raise UserError(f"{path}: no rating of a known book{why}")
    first: Integers = known[~again]
    return first


def _sample(chosen: Integers, time: Integers, user: Codes, users: list[str], sampling: Sampling) -> Integers:
    """Which of the chosen rows make the data set."""
    if len(chosen) <= sampling.rows:
        return chosen
    if sampling.rule == "newest":
        times = time[chosen]
        oldest = np.partition(times, -sampling.rows)[-sampling.rows]
        newer, same = chosen[times > oldest], chosen[times == oldest]
        return np.concatenate([newer, same[: sampling.rows - len(newer)]])  # of one second, the first in the file
    count = np.bincount(user[chosen], minlength=len(users))
    lots = [hashlib.sha256(f"{sampling.seed}:{each}".encode()).digest() for each in users]
    drawn = np.array(sorted(range(len(users)), key=lots.__getitem__))
    drawn = drawn[: int(np.searchsorted(np.cumsum(count[drawn]), sampling.rows)) + 1]
    return chosen[np.isin(user[chosen], drawn)]


def _first_of_each(table: pa.Table, key: str, repeated: Counter[str]) -> pa.Table:
    """The table without the rows whose key occurs in an earlier one."""
    again = table[key].to_pandas().duplicated().to_numpy()
    if not again.any():
        return table  # as it is mapped
    repeated[key] += int(again.sum())
    return table.filter(pa.array(~again))


def _looked_up(keys: pa.ChunkedArray, table: pa.Table, key: str, value: str) -> pa.ChunkedArray:
    """The table's value for each key, null where there is none."""
    return table[value].take(pc.index_in(keys, value_set=table[key].combine_chunks()))
