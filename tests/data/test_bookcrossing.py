"""The BookCrossing reader: known values, the dump's faults read rightly, and bytes that are wrong."""

import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import corrupted, in_words
from tiny_bookcrossing import BOOKS, FILES, RATINGS, write_raw

from flipbench.data import raw as raw_files
from flipbench.data.bookcrossing_reader import bracket, country, read
from flipbench.data.check import check, table_one
from flipbench.data.fetch import import_from
from flipbench.errors import UserError

Raw = Callable[..., Path]

TEXT = {
    "10": ("10", "Germany", "unknown"),
    "9": ("9", "Italy", "60+"),
    "1": ("1", "USA", "unknown"),
    "7": ("7", "Portugal", "under 18"),
    "12": ("12", "unknown", "unknown"),
    "0195153448": ("0195153448", "Classical Mythology", "Mark P. O. Morford", "2002", "Oxford & Co"),
    "034542252": ("034542252", '"O" is for Outlaw', "Sue Grafton", "unknown", "unknown"),
    "078946697X": ("078946697X", "X-Men (Level 4: Proficient Readers)", "Michael Teitelbaum", "2000", "DK"),
    "0002005018": ("0002005018", "Le Petit Prince", "Antoine de Saint-Exupéry", "unknown", "Éditions; Gallimard"),
}
"""What the tiny files say of each user and book, in the prompt's words."""
PAIRS = {
    ("10", "0195153448"): 0,
    ("9", "034542252"): 1,
    ("9", "078946697X"): 0,
    ("1", "0002005018"): 1,
    ("7", "0002005018"): 1,
    ("12", "0195153448"): 1,
}
"""Label by user and book, in the order of the file."""


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return partial(write_raw, tmp_path / "book-crossing")


def test_rows_are_in_words_and_in_the_order_of_the_file(raw: Raw) -> None:
    prepared = read(raw())
    assert in_words(prepared) == [TEXT[user] + TEXT[book] for user, book in PAIRS]
    assert prepared.labels.tolist() == list(PAIRS.values())
    assert prepared.values[0] == ["1", "7", "9", "10", "12"]  # numbers sort as numbers


def test_a_file_without_a_newline_at_its_end_is_whole(raw: Raw) -> None:
    assert in_words(read(raw({file: content.rstrip() for file, content in FILES.items()}))) == in_words(read(raw()))


def test_two_spellings_of_a_publisher_are_one_feature(raw: Raw) -> None:
    changed = {b"Oxford &amp; Co": b"L\xc3\xbcbbe", b"DK": b"L\xc3\x83?\xc3\x82\xc2\xbcbbe", b"N/A": b"L&uuml;bbe"}
    books = BOOKS
    for old, new in changed.items():
        books = books.replace(old, new)
    prepared = read(raw({"BX-Books.csv": books}))
    assert prepared.values[7] == ["Lübbe", "Éditions; Gallimard"]
    assert (prepared.meta["texts_doubly_encoded"], prepared.meta["texts_with_html_entities"]) == (1, 1)


def test_every_line_is_accounted_for(raw: Raw) -> None:
    meta = read(raw()).meta
    assert meta["mended"] == [
        "BX-Users.csv:4: one record on two lines",
        "BX-Books.csv:4: a column that ends in an escaped quote",
    ]
    assert (meta["rejected_lines"], meta["rejected"]) == (0, [])
    assert meta["ratings_with_a_malformed_isbn"] == meta["ratings_of_unknown_books"] == 1
    assert meta["ratings_of_unknown_users"] == 1
    assert meta["partial"] == (
        "BX-Users.csv has 5 of 278,858 records; BX-Books.csv has 4 of 271,379 records; "
        "BX-Book-Ratings.csv has 9 of 1,149,780 records"
    )


REJECTED = {
    "a rating of 11": ("BX-Book-Ratings.csv", b'"7";"034542252";"11"\r\n', "rating 11 is not"),
    "a user in letters": ("BX-Users.csv", b'"bob";"x, y, usa";NULL\r\n', "not of the form"),
    "too few columns": ("BX-Books.csv", b'"123";"Other";"A"\r\n', "not of the form"),
    "an empty line": ("BX-Book-Ratings.csv", b"\r\n", "not of the form"),
    "a NUL byte": ("BX-Books.csv", b'"5";"O\0";"A";"2000";"P";"";"";""\r\n', "not of the form"),
    "a last line cut": ("BX-Book-Ratings.csv", b'"7";"034', "not of the form"),
}


@pytest.mark.parametrize(("file", "line", "message"), REJECTED.values(), ids=REJECTED)
def test_lines_that_cannot_be_read_are_counted_and_named(raw: Raw, file: str, line: bytes, message: str) -> None:
    prepared = read(raw({file: FILES[file] + line}))
    (rejected,) = prepared.meta["rejected"]
    number = len(FILES[file].splitlines()) + 1
    assert rejected.startswith(f"{file}:{number}: {message}")
    assert in_words(prepared) == [TEXT[user] + TEXT[book] for user, book in PAIRS]


REPEATED = {
    "ratings": ("BX-Book-Ratings.csv", b'"9";"034542252";"3"\r\n'),
    "users": ("BX-Users.csv", b'"9";"x, y, usa";NULL\r\n'),
    "books": ("BX-Books.csv", b'"034542252";"Other";"A";"2000";"P";"";"";""\r\n'),
}


@pytest.mark.parametrize("what", REPEATED)
def test_repeated_records_are_counted_and_are_no_malformed_lines(raw: Raw, what: str) -> None:
    file, line = REPEATED[what]
    prepared = read(raw({file: FILES[file] + line * (raw_files.LIMIT + 1)}))
    assert prepared.meta[f"repeated_{what}"] == raw_files.LIMIT + 1
    assert prepared.meta["rejected"] == []
    assert in_words(prepared) == [TEXT[user] + TEXT[book] for user, book in PAIRS]


FIELDS_IN_PLENTY = {
    "quoted and NULL by turns": b'"a";NULL;' * 100,
    "quoted": b'"a";' * 200,
    "quotes alone": b'"' * 5_000,
    "quotes before semicolons": b'";' * 5_000,
    "a space before every other one": b'"a" ;"b";' * 100,
    "escaped quotes": b'"a\\";' * 100,
}


@pytest.mark.parametrize("line", FIELDS_IN_PLENTY.values(), ids=FIELDS_IN_PLENTY)
@pytest.mark.parametrize("file", FILES)
def test_a_line_of_many_columns_is_refused_at_once(raw: Raw, file: str, line: bytes) -> None:
    folder = raw({file: FILES[file] + line + b'"\r\n'})
    started = time.process_time()
    prepared = read(folder)
    assert time.process_time() - started < 1
    assert prepared.meta["rejected"][0].startswith(f"{file}:{len(FILES[file].splitlines()) + 1}: not of the form")
    assert in_words(prepared) == [TEXT[user] + TEXT[book] for user, book in PAIRS]


BAD = {
    "an empty file": ("BX-Users.csv", b"", ':1: another header than "User-ID";"Location";"Age"'),
    "a header alone": ("BX-Books.csv", BOOKS[: BOOKS.index(b"\n") + 1], ": no record in it"),
    "commas for semicolons": ("BX-Book-Ratings.csv", RATINGS.replace(b";", b","), ":1: columns between commas, as in"),
    "no rating of a known book": (
        "BX-Book-Ratings.csv",
        RATINGS[: RATINGS.index(b"\n") + 1] + b'"9";"555";"3"\n',
        ": no rating of a known user and a known book",
    ),
}


@pytest.mark.parametrize(("file", "content", "message"), BAD.values(), ids=BAD)
def test_files_without_rows_are_refused(raw: Raw, file: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(file + message)):
        read(raw({file: content}))


def test_missing_and_malformed_files(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = raw({"BX-Book-Ratings.csv": RATINGS + b"x\n" * 30})
    monkeypatch.setattr(raw_files, "LIMIT", 20)
    with pytest.raises(UserError, match=r"BX-Book-Ratings\.csv:31: .*; more than 20 lines are malformed"):
        read(folder)
    (folder / "BX-Books.csv").unlink()
    with pytest.raises(UserError, match=r"BX-Books\.csv: no such file"):
        read(folder)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("nyc, new york, usa", "USA"),
        ("a, b, U.S.A.", "USA"),
        ("london, england, United Kingdom", "United Kingdom"),
        ("cardiff, , wales", "United Kingdom"),
        ("somewhere, south korea", "South Korea"),
        ("peking, 北京, 中国", "中国"),
        ("lisbon, n/a,", "unknown"),
        ("a, b, .", "unknown"),
        ("", "unknown"),
    ],
)
def test_locations_become_countries(location: str, expected: str) -> None:
    assert country(location) == expected


@given(st.integers(0, 300))
def test_ages_fall_into_their_bracket(age: int) -> None:
    words = bracket(str(age).encode())
    if age < 5 or age > 100:
        assert words == "unknown"
    elif words == "under 18":
        assert age < 18
    else:
        low, _, high = words.replace("60+", "60-100").partition("-")
        assert int(low) <= age <= int(high)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_never_pass_unseen(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever happens to the bytes of one file, every row joins what the other two say of its user and its book."""
    file = data.draw(st.sampled_from(sorted(FILES)))
    tokens = b'"', b'";"', b"\\", b"\n", b"\r\n", b"NULL", b"\0"
    content = data.draw(corrupted(FILES[file], *tokens, most=3))
    folder = write_raw(tmp_path / "fuzz", {file: content})
    try:
        prepared = read(folder)
    except UserError as error:
        if not str(error).endswith("BX-Book-Ratings.csv: no rating of a known user and a known book"):  # of any file
            assert re.match(rf"{re.escape(str(folder))}/{file}(:\d+)?: [^\n]+$", str(error))  # noqa: PT017
        return
    for user, _, _, isbn, *_ in (rows := in_words(prepared)):
        if file != "BX-Users.csv":
            assert any(row[:3] == TEXT[user] for row in rows if row[0] == user)
        if file != "BX-Books.csv":
            assert all(row[3:] == TEXT[isbn] for row in rows if row[3] == isbn)
        if file != "BX-Book-Ratings.csv":
            assert (user, isbn) in PAIRS
    assert all(re.match(r"BX-[\w-]+\.csv:\d+: ", line) for line in prepared.meta["rejected"])
    records = sum(1 for line in content.split(b"\n")[1:] if line)
    if file == "BX-Book-Ratings.csv":  # every line of it is a row, a counted drop or a named rejection
        dropped = sum(count for what, count in prepared.meta.items() if what.startswith(("ratings_", "repeated_")))
        named = prepared.meta["rejected_lines"] + sum("two lines" in line for line in prepared.meta["mended"]) - 1
        assert len(prepared.labels) + dropped + named >= records
    assert set(prepared.ids.ravel().tolist()) == set(range(1, 1 + sum(map(len, prepared.values))))


DATA = os.environ.get("FLIPBENCH_DATA", "")
FOLDER = Path(DATA) / "book-crossing"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="FLIPBENCH_DATA names no folder that holds book-crossing")
def test_the_partial_copy_has_the_known_counts(own_home) -> None:
    started = time.process_time()
    table = import_from("bookcrossing", FOLDER)
    assert time.process_time() - started < 15
    assert (len(table), int(table.labels.sum())) == (590_308, 206_717)
    assert np.diff(table.offsets).tolist()[2:4] == [11, 29_346]
    result = check("bookcrossing")
    assert result.ok
    lines = {line.what: line for line in result.lines}
    assert lines["samples"].verdict.startswith("differs: partial copy: BX-Books.csv has 29,346 of 271,379 records")
    assert lines["mended"].ours == "BX-Users.csv:275082: one record on two lines"
    assert lines["rejected lines"].ours == 0
    assert lines["unseen in test, order file"].ours.startswith("users 100.00%")
    assert next(line.ours for title, line in table_one() if title == "BookCrossing" and line) == 590_308
