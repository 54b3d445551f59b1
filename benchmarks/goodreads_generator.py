"""Writes files of GoodReads' published schema, with its skew, at any size: for tests and benchmarks.

Few users and books have most of the interactions, titles and authors repeat, values are missing as they are in the
real files. Nothing in them is real, and no figure made from them is one of the paper's.
"""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, INTERACTIONS, WORKS

Integers = NDArray[np.int64]

USERS, BOOKS_OF, WORKS_OF, AUTHORS_OF, PUBLISHERS_OF = 0.0218, 0.0656, 0.74, 0.37, 0.07
"""Users and books a rated interaction; works, authors and publishers a book. At the paper's number of rows they
give the paper's number of features."""
UNRATED = 0.1
"""Share of interactions without a rating (of the real ones, more than half)."""
CHUNK = 200_000

GENRE_NAMES = (
    *("children", "comics, graphic", "fantasy, paranormal", "fiction", "history, historical fiction, biography"),
    *("mystery, thriller, crime", "non-fiction", "poetry", "romance", "young-adult"),
)
FORMATS = (
    ["Paperback"] * 8 + ["Hardcover"] * 4 + ["Kindle Edition", "ebook", "", "", "Audio CD", "Mass Market Paperback"]
)
MEDIA = ["book"] * 30 + ["", "periodical", "not a book"]
FIRST, LAST = datetime(2007, 1, 1, tzinfo=UTC), datetime(2017, 11, 4, tzinfo=UTC)
_STARTS = ("Ar", "Bel", "Cor", "Dan", "El", "Far", "Gal", "Hol", "Is", "Jor", "Kel", "Lor", "Mar", "Nor", "Ol", "Per")
_ENDS = ("an", "ia", "en", "or", "is", "eth", "um", "el", "ora", "ald", "ine", "os", "wyn", "ton", "ford", "mere")
_WORDS = [start + end for start in _STARTS for end in _ENDS]


def generate(folder: Path, rows: int, seed: int = 0) -> None:
    """Write the five raw files for ``rows`` rated interactions of distinct pairs; every book and user is rated.

    Raises:
        ValueError: ``rows`` is below 1,000.
    """
    if rows < 1_000:
        raise ValueError(f"{rows} rows: at least 1,000")
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    users, books = (round(rows * share + 100) for share in (USERS, BOOKS_OF))
    number = draw.permutation(np.unique(draw.integers(1, 36_000_000, 2 * books)))[:books]
    _lines(folder / INTERACTIONS, _interactions(draw, rows, users, number))
    works, authors = 1 + draw.permutation(np.arange(2, 2 + books)), 1 + draw.integers(0, 10**6, books)
    work = works[_repeating(draw, books, WORKS_OF)]
    author = authors[0] + _repeating(draw, books, AUTHORS_OF)
    _lines(folder / BOOKS, _books(draw, number, work, author))
    _lines(folder / AUTHORS, _authors(np.unique(author)))
    _lines(folder / GENRES, _genres(draw, number))
    _lines(folder / WORKS, _works(draw, np.unique(work)))


def _lines(path: Path, lines: Iterator[str]) -> None:
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8", newline="\n") as file:
        for text in lines:
            file.write(text)


def _repeating(draw: np.random.Generator, n: int, distinct: float) -> Integers:
    """n numbers of which about ``distinct * n`` differ, some of them frequent."""
    numbers: Integers = np.cumsum(draw.random(n) < distinct, dtype=np.int64)
    again = draw.random(n) > distinct
    numbers[again] = numbers[(n * draw.random(int(again.sum())) ** 3).astype(np.int64)]
    return numbers


def _pairs(draw: np.random.Generator, rows: int, users: int, books: int) -> tuple[Integers, Integers, Integers]:
    """Distinct pairs, grouped by user as in the real file, and whether each is rated: ``rows`` of them are.

    The first ``books`` draws are rated and show every book and every user.
    """
    needed = np.arange(books) % users * books + draw.permutation(books)
    more = round(rows / (1 - UNRATED)) - books
    user = np.searchsorted(np.cumsum(w := draw.lognormal(0, 1.3, users)), draw.random(2 * more) * w.sum())
    book = np.searchsorted(
        np.cumsum(w := draw.pareto(0.9, books).clip(max=books / 50) + 0.05), draw.random(2 * more) * w.sum()
    )
    drawn = np.setdiff1d(user.clip(max=users - 1) * books + book.clip(max=books - 1), needed)
    if len(drawn) < more:
        raise ValueError(f"too few pairs of {users} users and {books} books for {rows} rows")
    pairs = np.concatenate([needed, draw.permutation(drawn)[:more]])
    order = np.argsort(pairs)
    return pairs[order] // books, pairs[order] % books, (order < rows).astype(np.int64)


def _interactions(draw: np.random.Generator, rows: int, users: int, number: Integers) -> Iterator[str]:
    user, book, rated = _pairs(draw, rows, users, len(number))
    bias, quality = draw.normal(0, 0.5, users), draw.normal(0, 0.6, len(number))
    days = [FIRST + timedelta(days=d) for d in range((LAST - FIRST).days)]
    begins, years = [f"{day:%a %b %d} " for day in days], [f" -0700 {day:%Y}" for day in days]
    clock = [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)]
    names = draw.bytes(16 * users).hex()
    ids = [str(n) for n in number.tolist()]
    for start in range(0, len(user), CHUNK):
        u, b = user[start : start + CHUNK], book[start : start + CHUNK]
        rating = np.rint(3.9 + bias[u] + quality[b] + draw.normal(0, 0.8, len(u))).clip(1, 5).astype(int)
        rating *= rated[start : start + CHUNK]
        updated = (len(days) * draw.random(len(u)) ** 0.5).astype(int)
        added = (updated * draw.random(len(u)) ** 0.2).astype(int)
        second, reviews = draw.integers(0, 86_400, len(u)), draw.bytes(16 * len(u)).hex()
        columns = (u.tolist(), b.tolist(), rating.tolist(), updated.tolist(), added.tolist(), second.tolist())
        yield "".join(
            f'{{"user_id": "{names[32 * u : 32 * u + 32]}", "book_id": "{ids[b]}", '
            f'"review_id": "{reviews[32 * i : 32 * i + 32]}", "is_read": {"true" if r else "false"}, "rating": {r}, '
            f'"review_text_incomplete": "", "date_added": "{begins[a]}{clock[86_399 - s]}{years[a]}", '
            f'"date_updated": "{begins[d]}{clock[s]}{years[d]}", "read_at": "{begins[d]}00:00:00{years[d]}", '
            f'"started_at": ""}}\n'
            for i, (u, b, r, d, a, s) in enumerate(zip(*columns, strict=True))
        )


def _words(n: int, count: int) -> str:
    """Text of ``count`` words, different for different n below 256 ** count."""
    n = n * 1_000_003 % 256**count
    return " ".join(_WORDS[n // 256**i % 256] for i in range(count))


def _books(draw: np.random.Generator, number: Integers, work: Integers, author: Integers) -> Iterator[str]:
    n = len(number)
    title, publisher = _repeating(draw, n, 0.92), _repeating(draw, n, PUBLISHERS_OF)
    reviews, missing = draw.pareto(0.8, n).clip(max=150_000).astype(int), draw.random((n, 4))
    pages, year = draw.lognormal(5.6, 0.5, n).astype(int), 2017 - draw.exponential(12, n).astype(int)
    rating, form = draw.normal(3.9, 0.35, n).clip(0, 5), draw.integers(0, len(FORMATS), n)
    shelves = [{"count": str(9 - k), "name": name} for k, name in enumerate(["to-read", "owned", "fiction"])]
    for start in range(0, n, CHUNK):
        yield "".join(
            json.dumps(
                {
                    "isbn": "",
                    "text_reviews_count": str(reviews[i]),
                    "series": [],
                    "country_code": "US",
                    "language_code": "eng",
                    "popular_shelves": shelves,
                    "asin": "",
                    "is_ebook": "true" if FORMATS[form[i]] in ("ebook", "Kindle Edition") else "false",
                    "average_rating": f"{rating[i]:.2f}",
                    "kindle_asin": "",
                    "similar_books": [],
                    "description": _words(i, 8) * (5 * i % 11),
                    "format": FORMATS[form[i]],
                    "link": f"https://www.goodreads.com/book/show/{number[i]}",
                    "authors": [{"author_id": str(author[i]), "role": ""}] * int(missing[i, 0] < 0.999),
                    "publisher": "" if missing[i, 1] < 0.2 else f"{_words(int(publisher[i]), 2)} Press",
                    "num_pages": "" if missing[i, 2] < 0.25 else str(pages[i]),
                    "publication_year": "" if missing[i, 3] < 0.2 else str(year[i]),
                    "url": f"https://www.goodreads.com/book/show/{number[i]}",
                    "book_id": str(number[i]),
                    "ratings_count": str(reviews[i] * 7),
                    "work_id": str(work[i]),
                    "title": f"{_words(int(title[i]), 3)} (Märchen, #{title[i] % 7})",
                    "title_without_series": _words(int(title[i]), 3),
                }
            )
            + "\n"
            for i in range(start, min(n, start + CHUNK))
        )


def _authors(author: Integers) -> Iterator[str]:
    for a in author.tolist():
        record: dict[str, Any] = {"average_rating": "3.98", "author_id": str(a), "text_reviews_count": "7"}
        yield json.dumps(record | {"name": _words(a, 2) + f" {_WORDS[a % 255]}", "ratings_count": "49"}) + "\n"


def _genres(draw: np.random.Generator, number: Integers) -> Iterator[str]:
    votes = draw.integers(0, 400, (len(number), 2))
    first = draw.integers(0, 20, (len(number), 2))  # half of the draws name no genre
    for n, (v, w), (g, h) in zip(number.tolist(), votes.tolist(), first.tolist(), strict=True):
        named = {GENRE_NAMES[k]: c for k, c in ((g, v), (h, w)) if k < len(GENRE_NAMES)}
        yield json.dumps({"book_id": str(n), "genres": named}) + "\n"


def _works(draw: np.random.Generator, work: Integers) -> Iterator[str]:
    kind = draw.integers(0, len(MEDIA), len(work))
    for w, k in zip(work.tolist(), kind.tolist(), strict=True):
        record = {"books_count": "1", "best_book_id": "", "original_title": "", "rating_dist": "5:1|4:1|total:2"}
        yield json.dumps(record | {"media_type": MEDIA[k], "work_id": str(w)}) + "\n"
