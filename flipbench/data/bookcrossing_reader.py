"""Reader of BookCrossing's raw layout: three files of quoted columns between semicolons, some malformed.

What the paper leaves unsaid follows the cleaning of the same group's ReLLa (location to country, age brackets, year
of four characters, ``n/a`` is unknown), with the counts of Table I as the check. Of the raw rows:

* A backslash escapes a quote; the dump has no other use for it. A column that ends in an escaped quote for a plain
  one (``(Level 4)\\";Author"``) is read as ended, and two lines of which neither is a record, but both together are,
  as one.
* Text is UTF-8 where a line is valid UTF-8, else cp1252: the copies in use have lines of both.
* Locations, titles, authors and publishers are cleaned as every reader's (``clean``).
* A rating needs its user in BX-Users.csv and its book in BX-Books.csv, and an ISBN of letters and digits.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from flipbench.data.bookcrossing import BRACKETS, COUNTRIES, RECORDS
from flipbench.data.clean import UNKNOWN, Cleaner
from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.raw import Rejected, read_bytes
from flipbench.errors import UserError

_TEXT = rb'"([^"\0]*+(?:"(?!;(?:"|NULL(?:;|\Z))|\Z)[^"\0]*+)*+)"'
"""A quoted column: whatever stands in it, it ends at the first quote before another column or the end of the line.

There is one way to read a line, and nothing is read twice: a pattern that may go back explodes with the columns.
"""
_NUMBER = rb'"(\d{1,9})"'
_USER = (b'"User-ID";"Location";"Age"', re.compile(rb"%b;(?:%b|NULL);(?:%b|NULL)" % (_NUMBER, _TEXT, _NUMBER)))
_BOOK = (
    b'"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"',
    re.compile(b";".join([_TEXT] + [rb"(?:%b|NULL)" % _TEXT] * 7)),
)
_RATING = (b'"User-ID";"ISBN";"Book-Rating"', re.compile(rb"%b;%b;%b" % (_NUMBER, _TEXT, _NUMBER)))

_ENDED = re.compile(rb'\\";(?!")')
_COUNTRY = {other: country for country, others in COUNTRIES.items() for other in others.split(", ")} | {"usa": "USA"}


def read(raw: Path, allow_partial: bool = False) -> Prepared:
    """The table of a raw folder, rows in the order of BX-Book-Ratings.csv; a partial copy is accepted and noted.

    A line that cannot be read is left out, counted and named in ``meta``; so are mended lines, and what makes the
    copy a partial one.

    Raises:
        UserError: a file is missing, has another header or no record at all, or far too many lines are malformed.
    """
    dump = _Dump(raw)
    users, books = _users(dump), _books(dump)
    ratings, dropped = _ratings(dump, users, books)
    user, book = np.array(list(ratings), np.int32).T
    countries, ages = zip(*users.values(), strict=True)
    ids, values = encode(
        [
            Column(user, [str(number) for number in users], integer=True),
            Column(user, countries),
            Column(user, ages),
            Column(book, [_text(isbn) for isbn in books]),
            *(Column(book, column) for column in zip(*books.values(), strict=True)),
        ]
    )
    dropped |= {f"repeated_{what}": dump.repeated[what] for what in ("users", "books", "ratings")}
    meta: dict[str, Any] = {**dropped, **dump.clean.meta(), "mended": dump.mended, **dump.rejected.meta()}
    count = dump.count
    missing = [f"{file} has {count[file]:,} of {n:,} records" for file, n in RECORDS.items() if count[file] < n]
    if missing:
        meta["partial"] = "; ".join(missing)
    labels = np.fromiter((rating > 5 for rating in ratings.values()), np.uint8, len(ratings))
    return Prepared(ids, labels, values, meta)


class _Dump:
    """The raw files, and what was met in them: lines left out, lines mended, texts cleaned, records met again."""

    def __init__(self, raw: Path) -> None:
        self.raw, self.rejected, self.mended, self.clean = raw, Rejected(), list[str](), Cleaner()
        self.count, self.repeated = Counter[str](), Counter[str]()

    def records(self, file: str, header: bytes, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Line number and columns of each record; None for NULL."""
        path = self.raw / file
        first, *lines = (line.removesuffix(b"\r") for line in read_bytes(path).split(b"\n"))
        if first.replace(b'"', b"") == header.replace(b'"', b"").replace(b";", b","):
            say = "columns between commas, as in Kaggle's copies; take the dump with semicolons"
            raise UserError(f"{path}:1: {say}: run 'flipbench data fetch bookcrossing'")
        if first != header:
            raise UserError(f"{path}:1: another header than {header.decode()}")
        if lines and not lines[-1]:
            lines.pop()
        numbered = enumerate(lines, 2)
        for number, line in numbered:
            following = lines[number - 1] if number <= len(lines) else b""
            if match := pattern.fullmatch(line):
                pass
            elif match := pattern.fullmatch(_ENDED.sub(rb'";"', line)):
                self.mended.append(f"{file}:{number}: a column that ends in an escaped quote")
            elif not pattern.fullmatch(following) and (match := pattern.fullmatch(line + following)):
                self.mended.append(f"{file}:{number}: one record on two lines")
                next(numbered)
            if match:
                self.count[file] += 1
                yield number, match.groups()
            else:
                self.reject(file, number, f"not of the form {header.decode()}: {_text(line)[:80]!r}")
        if not self.count[file]:
            raise UserError(f"{path}: no record in it")

    def reject(self, file: str, line: int, why: str) -> None:
        """Leave out a line."""
        self.rejected.add(self.raw / file, line, why)


def _users(dump: _Dump) -> dict[int, tuple[str, str]]:
    """Country and age bracket by user number, sorted."""
    users: dict[int, tuple[str, str]] = {}
    for _, (user, location, age) in dump.records("BX-Users.csv", *_USER):
        if int(user) in users:
            dump.repeated["users"] += 1
        else:
            users[int(user)] = (country(dump.clean(_text(location))), bracket(age))
    return dict(sorted(users.items()))


def _books(dump: _Dump) -> dict[bytes, tuple[str, ...]]:
    """Title, author, year and publisher by ISBN."""
    books: dict[bytes, tuple[str, ...]] = {}
    for _, (isbn, *columns, _, _, _) in dump.records("BX-Books.csv", *_BOOK):
        if isbn in books:
            dump.repeated["books"] += 1
        else:
            title, author, year, publisher = (_known(dump.clean(_text(column))) for column in columns)
            books[isbn] = (title, author, year if len(year) == 4 else UNKNOWN, publisher)
    return books


def _ratings(
    dump: _Dump, users: dict[int, Any], books: dict[bytes, Any]
) -> tuple[dict[tuple[int, int], int], dict[str, int]]:
    """Rating by the positions of user and book, and how many ratings were dropped by why."""
    file = "BX-Book-Ratings.csv"
    of_user = {user: position for position, user in enumerate(users)}
    of_book = {isbn: position for position, isbn in enumerate(books)}
    reasons = ("ratings_with_a_malformed_isbn", "ratings_of_unknown_users", "ratings_of_unknown_books")
    dropped, ratings = dict.fromkeys(reasons, 0), dict[tuple[int, int], int]()
    for line, (user, isbn, rating) in dump.records(file, *_RATING):
        pair = (of_user.get(int(user), -1), of_book.get(isbn, -1))
        if int(rating) > 10:
            dump.reject(file, line, f"rating {int(rating)} is not one of 0 to 10")
        elif not isbn.isalnum() or min(pair) < 0:
            dropped[reasons[0 if not isbn.isalnum() else 1 if pair[0] < 0 else 2]] += 1
        elif pair in ratings:
            dump.repeated["ratings"] += 1
        else:
            ratings[pair] = int(rating)
    if not ratings:
        raise UserError(f"{dump.raw / file}: no rating of a known user and a known book")
    return ratings, dropped


def country(location: str) -> str:
    """The country of ``city, region, country`` as a user gave it, one spelling each; ``unknown`` without a letter."""
    last = location.rpartition(",")[2].strip(' ".()!>').casefold()
    if not any(letter.isalpha() for letter in last) or last in ("n/a", "unknown"):
        return UNKNOWN
    return _COUNTRY.get(last) or last.title()


def bracket(age: bytes | None) -> str:
    """The age bracket; ``unknown`` where none is given, and below 5 or above 100."""
    years = int(age or 0)
    if years < 5:
        return UNKNOWN
    return next((words for words, beyond in BRACKETS.items() if years < beyond), UNKNOWN)


def _text(raw: bytes | None) -> str:
    """A column as text, unescaped; empty for NULL."""
    raw = (raw or b"").replace(b"\\", b"")
    for encoding in ("utf-8", "cp1252"):
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding)
    return raw.decode("latin-1")  # cp1252 leaves five bytes undefined


def _known(text: str) -> str:
    return UNKNOWN if text.casefold() in ("", "n/a") else text
