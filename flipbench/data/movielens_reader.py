"""Reader of MovieLens-1M's raw layout: three ``::``-separated latin-1 files, every line checked.

Files that were saved anew as UTF-8 give the same table. Copies whose letters were lost on the way are refused.
"""

import csv
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from flipbench.data.encode import Column, Prepared, encode, period
from flipbench.data.movielens import AGES, GENDERS, OCCUPATIONS
from flipbench.data.raw import read_bytes
from flipbench.errors import UserError, nearest

KEPT, USERS, MOVIES = 739_012, 6_040, 3_883
"""Ratings other than 3, users and movies in the official files."""
RELEASED = 1_046_476_800
"""2003-03-01 in seconds since 1970; the last rating in the official files is of the day before, 17:49:50."""

_LOST = re.compile("[a-z][?][a-z]|[^\0-\x7f¹²³À-ÖØ-öø-ÿ]")
"""What stands where letters were lost: a question mark within a word, or a sign that no official file has."""


def read(raw: Path, allow_partial: bool = False) -> Prepared:
    """The table of a raw folder: rows by (timestamp, user, movie), values in words.

    Files with and without the ratings of 3 give the same table.

    Raises:
        UserError: a file is missing, cut or malformed (``FILE:LINE: what``), or, unless ``allow_partial``,
            has another number of rows than the official one.
    """
    users, movies = _users(raw / "users.dat"), _movies(raw / "movies.dat")
    ratings = _ratings(raw / "ratings.dat", users, movies)
    ratings = ratings[ratings["rating"] != 3].sort_values(["timestamp", "user", "movie"])
    counts = [("ratings.dat", ratings, KEPT, "ratings other than 3")]
    counts += [("users.dat", users, USERS, "lines"), ("movies.dat", movies, MOVIES, "lines")]
    for file, rows, official, what in counts:
        if len(rows) != official and not allow_partial:
            raise UserError(f"{raw / file}: {len(rows):,} {what}, expected {official:,}; is the file cut or changed?")
    if ratings.empty:
        raise UserError(f"{raw / 'ratings.dat'}: no rating other than 3")

    columns = []
    for key, entities in (("user", users), ("movie", movies)):
        position = entities.index.get_indexer(ratings[key])
        columns.append(Column(position, [str(number) for number in entities.index], integer=True))
        columns += [Column(position, entities[name].tolist()) for name in entities]
    ids, values = encode(columns)
    labels = (ratings["rating"] > 3).to_numpy(np.uint8)
    times = ratings["timestamp"].to_numpy()
    return Prepared(ids, labels, values, period(times), times=times)


def _users(path: Path) -> pd.DataFrame:
    """Gender, age bracket, occupation and zip code in words, by user number."""
    users = _table(path, ["user", "gender", "age", "occupation", "zipcode"])
    for column, words in (("gender", GENDERS), ("age", AGES), ("occupation", OCCUPATIONS)):
        for line, code in users.loc[~users[column].isin(words), column].items():
            raise UserError(f"{path}:{line}: unknown {column} {code!r}{nearest(code, words)}")
        users[column] = users[column].map(words)
    _refuse(path, users, users["zipcode"].str.strip() == "", "empty zip code")
    return _by_number(path, users, "user")


def _movies(path: Path) -> pd.DataFrame:
    """Title with year, and first genre, by movie number."""
    movies = _table(path, ["movie", "title", "genre"])
    movies["genre"] = movies["genre"].str.partition("|")[0]
    for column in ("title", "genre"):
        _refuse(path, movies, movies[column].str.strip() == "", f"empty {column}")
    return _by_number(path, movies, "movie")


def _ratings(path: Path, users: pd.DataFrame, movies: pd.DataFrame) -> pd.DataFrame:
    """Every rating: int64 columns user, movie, rating and timestamp, in seconds since 1970."""
    text = _table(path, ["user", "movie", "rating", "timestamp"])
    for column in text:
        malformed = ~text[column].str.fullmatch("-?[0-9]{1,18}")
        _refuse(path, text, malformed, f"{column} {{{column}!r}} is not an integer")
    ratings = text.astype(np.int64)
    for bad, message in (
        (~ratings["rating"].between(1, 5), "rating {rating} is not one of 1 to 5"),
        (~ratings["timestamp"].between(0, 2**32), "timestamp {timestamp} is not in seconds since 1970"),
        (ratings["timestamp"] >= RELEASED, "timestamp {timestamp} is after the release of the data, in February 2003"),
        (~ratings["user"].isin(users.index), "user {user} is not in users.dat"),
        (~ratings["movie"].isin(movies.index), "movie {movie} is not in movies.dat"),
        (ratings.duplicated(["user", "movie"]), "user {user} has rated movie {movie} before"),
    ):
        _refuse(path, ratings, bad, message)
    return ratings


def _by_number(path: Path, table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The table with its key, a positive integer that occurs once, as sorted index."""
    _refuse(
        path, table, ~table[key].str.fullmatch("0{0,9}[1-9][0-9]{0,8}"), f"{key} {{{key}!r}} is not a positive integer"
    )
    table[key] = table[key].astype(np.int64)
    _refuse(path, table, table[key].duplicated(), f"{key} {{{key}}} occurs before")
    return table.set_index(key).sort_index()


def _refuse(path: Path, table: pd.DataFrame, bad: "pd.Series[bool]", message: str) -> None:
    """Raise a UserError for the first bad row, if there is one; ``message`` is formatted with its columns."""
    for line, row in table[bad].iterrows():
        raise UserError(f"{path}:{line}: {message.format(**row)}")


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    """The columns of a file as text, indexed by line number from 1.

    Raises:
        UserError: the file is missing, empty or cut, has a NUL byte or lost letters, or a line has another number of
            columns.
    """
    data = _latin(path, read_bytes(path).replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    if not data:
        raise UserError(f"{path}: empty file")
    if (nul := data.find(b"\0")) >= 0:
        raise UserError(f"{path}:{data.count(10, 0, nul) + 1}: NUL byte")
    if not data.endswith(b"\n"):
        raise UserError(f"{path}:{data.count(10) + 1}: incomplete last line; is the file cut?")
    data = data.replace(b"::", b"\0")  # pandas reads separators of one byte fast
    code = np.frombuffer(data, np.uint8)
    count = 1 + np.diff(np.searchsorted(np.flatnonzero(code == 0), np.flatnonzero(code == 10)), prepend=0)
    for n in np.flatnonzero(count != len(columns))[:1]:
        raise UserError(f"{path}:{n + 1}: {count[n]} columns, expected {len(columns)} separated by '::'")
    table = pd.read_csv(
        BytesIO(data),
        sep="\0",
        names=columns,
        dtype=str,
        encoding="latin-1",
        quoting=csv.QUOTE_NONE,
        na_filter=False,
        skip_blank_lines=False,
        lineterminator="\n",
    )
    table.index += 1
    return table


def _latin(path: Path, data: bytes) -> bytes:
    """The text in latin-1, in which the official files are.

    Raises:
        UserError: a line has a sign that no title has: letters were lost when the file was saved in another encoding.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if lost := _LOST.search(text):
        line = text.count("\n", 0, lost.start())
        shown = text.split("\n")[line][:80]
        why = "letters were lost when the file was saved anew; take the official one"
        raise UserError(f"{path}:{line + 1}: {shown!r}: {why}")
    return text.encode("latin-1")
