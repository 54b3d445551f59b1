"""Reader of MovieLens-1M's raw layout: three ``::``-separated latin-1 files, checked line by line."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.movielens import AGES, GENDERS, OCCUPATIONS
from flipbench.data.raw import read_bytes
from flipbench.errors import UserError, nearest

Integers = NDArray[np.int64]

KEPT = 739_012
"""Ratings other than 3 in the official file."""
ROWS = {"users.dat": 6_040, "movies.dat": 3_883}
"""Lines of the official files."""


def read(raw: Path, allow_partial: bool = False) -> Prepared:
    """The table of a raw folder: rows by (timestamp, user, movie), values in words.

    Files with and without the ratings of 3 give the same table.

    Raises:
        UserError: a file is missing, cut or malformed (``FILE:LINE: what``), or, unless ``allow_partial``,
            has another number of rows than the official one.
    """
    users, movies = _users(raw / "users.dat"), _movies(raw / "movies.dat")
    user, movie, rating, timestamp = _ratings(raw / "ratings.dat", users, movies)
    keep = rating != 3
    if not allow_partial:
        counts = [("ratings.dat", int(keep.sum()), KEPT, "ratings other than 3")]
        counts += [
            (file, len(rows), ROWS[file], "lines") for file, rows in (("users.dat", users), ("movies.dat", movies))
        ]
        for file, ours, official, what in counts:
            if ours != official:
                raise UserError(f"{raw / file}: {ours:,} {what}, expected {official:,}; is the file cut or changed?")
    if not keep.any():
        raise UserError(f"{raw / 'ratings.dat'}: no rating other than 3")
    order = np.lexsort((movie, user, timestamp))
    order = order[keep[order]]
    user, movie, rating, timestamp = user[order], movie[order], rating[order], timestamp[order]

    genders, ages, occupations, zipcodes = zip(*users.values(), strict=True)
    titles, genres = zip(*movies.values(), strict=True)
    ids, values = encode(
        [
            Column(user, [str(u) for u in users], integer=True),
            Column(user, genders),
            Column(user, ages),
            Column(user, occupations),
            Column(user, zipcodes),
            Column(movie, [str(m) for m in movies], integer=True),
            Column(movie, titles),
            Column(movie, genres),
        ]
    )
    first, last = (datetime.fromtimestamp(int(t), UTC).date().isoformat() for t in timestamp[[0, -1]])
    return Prepared(ids, (rating > 3).astype(np.uint8), values, {"first_day": first, "last_day": last})


def _users(path: Path) -> dict[int, tuple[str, str, str, str]]:
    """Gender, age bracket, occupation and zip code by user id, in words."""
    occupations = {str(code): words for code, words in OCCUPATIONS.items()}
    users: dict[int, tuple[str, str, str, str]] = {}
    for where, (user, gender, age, occupation, zipcode) in _lines(path, columns=5):
        key = _identifier(where, "user", user, users)
        users[key] = (
            _word(where, "gender", gender, GENDERS),
            _word(where, "age", age, AGES),
            _word(where, "occupation", occupation, occupations),
            _text(where, "zip code", zipcode),
        )
    return dict(sorted(users.items()))


def _movies(path: Path) -> dict[int, tuple[str, str]]:
    """Title with year and first genre by movie id."""
    movies: dict[int, tuple[str, str]] = {}
    for where, (movie, title, genres) in _lines(path, columns=3):
        key = _identifier(where, "movie", movie, movies)
        movies[key] = (_text(where, "title", title), _text(where, "genre", genres.partition("|")[0]))
    return dict(sorted(movies.items()))


def _ratings(
    path: Path, users: dict[int, Any], movies: dict[int, Any]
) -> tuple[Integers, Integers, NDArray[np.int8], Integers]:
    """Every rating: user and movie as positions in the two dictionaries, rating, timestamp; each [N]."""
    data = _bytes(path)
    try:
        user, movie, rating, timestamp = _integers(data)
    except (pa.ArrowInvalid, ValueError) as error:
        for number, line in enumerate(data.splitlines(), 1):  # slow, to name the line
            parts = line.decode("latin-1").split("::")
            where = f"{path}:{number}"
            _count(where, parts, columns=4)
            for what, part in zip(("user", "movie", "rating", "timestamp"), parts, strict=True):
                if not part.isdecimal() or len(part) > 18:
                    raise UserError(f"{where}: {what} {part!r} is not an integer") from None
        raise UserError(f"{path}: {str(error).partition(chr(10))[0]}") from None

    user_position, user_known = _positions(user, users)
    movie_position, movie_known = _positions(movie, movies)
    repeated = np.ones(len(user), bool)
    repeated[np.unique(user_position * len(movies) + movie_position, return_index=True)[1]] = False
    for bad, message in (
        ((rating < 1) | (rating > 5), "rating {rating} is not one of 1 to 5"),
        ((timestamp < 0) | (timestamp > 2**32), "timestamp {timestamp} is not in seconds since 1970"),
        (~user_known, "user {user} is not in users.dat"),
        (~movie_known, "movie {movie} is not in movies.dat"),
        (repeated, "user {user} has rated movie {movie} before"),
    ):
        if bad.any():
            n = int(bad.argmax())
            what = message.format(rating=rating[n], timestamp=timestamp[n], user=user[n], movie=movie[n])
            raise UserError(f"{path}:{n + 1}: {what}")
    return user_position, movie_position, rating.astype(np.int8), timestamp


def _integers(data: bytes) -> list[Integers]:
    """The four columns of ``user::movie::rating::timestamp`` lines.

    Read as seven columns between single colons, three of them empty.

    Raises:
        ArrowInvalid, ValueError: a line is not of that form.
    """
    names = ["user", "", "movie", " ", "rating", "  ", "timestamp"]
    types = {name: pa.int64() if name.strip() else pa.null() for name in names}
    table = csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(column_names=names),
        csv.ParseOptions(delimiter=":", quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=types, null_values=[""]),
    )
    columns = [table.column(name) for name in names if name.strip()]
    if any(column.null_count for column in columns):
        raise ValueError("a column is empty")
    return [column.to_numpy() for column in columns]


def _positions(keys: Integers, known: dict[int, Any]) -> tuple[Integers, NDArray[np.bool_]]:
    """Position of each key among the sorted known ones, and whether it is known."""
    sorted_keys = np.fromiter(known, np.int64, len(known))
    position = np.searchsorted(sorted_keys, keys).clip(max=len(known) - 1)
    return position, sorted_keys[position] == keys


def _bytes(path: Path) -> bytes:
    """A raw file's content, whole lines without NUL bytes."""
    data = read_bytes(path)
    if not data:
        raise UserError(f"{path}: empty file")
    if (nul := data.find(b"\0")) >= 0:
        raise UserError(f"{path}:{data.count(10, 0, nul) + 1}: NUL byte")
    if not data.endswith(b"\n"):
        raise UserError(f"{path}:{data.count(10) + 1}: incomplete last line; is the file cut?")
    return data


def _lines(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """``FILE:LINE`` and the columns of each line."""
    for number, line in enumerate(_bytes(path).splitlines(), 1):
        where = f"{path}:{number}"
        yield where, _count(where, line.decode("latin-1").split("::"), columns)


def _count(where: str, parts: list[str], columns: int) -> list[str]:
    if len(parts) != columns:
        raise UserError(f"{where}: {len(parts)} columns, expected {columns} separated by '::'")
    return parts


def _identifier(where: str, what: str, text: str, known: dict[int, Any]) -> int:
    if not text.isdecimal() or not 0 < int(text[:10]) < 10**9:
        raise UserError(f"{where}: {what} {text!r} is not a positive integer")
    if int(text) in known:
        raise UserError(f"{where}: {what} {text} occurs before")
    return int(text)


def _word(where: str, what: str, code: str, words: dict[str, str]) -> str:
    if code not in words:
        raise UserError(f"{where}: unknown {what} {code!r}{nearest(code, words)}")
    return words[code]


def _text(where: str, what: str, text: str) -> str:
    if not text.strip():
        raise UserError(f"{where}: empty {what}")
    return text
