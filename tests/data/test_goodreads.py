"""The GoodReads reader: known values, sampling, goes on after a kill, and bytes that are wrong."""

import gzip
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from goodreads_generator import generate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import corrupted, in_words
from tiny_goodreads import ANN, BOB, EVE, RECORDS, ROWS, lines, write_raw

from flipbench.data import json_lines
from flipbench.data.check import check
from flipbench.data.fetch import import_from
from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, INTERACTIONS, WORKS, Sampling
from flipbench.data.goodreads_reader import read
from flipbench.data.goodreads_records import rated, rating, texts
from flipbench.errors import UserError

Raw = Callable[..., Path]
ALL = Sampling(10**9)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return partial(write_raw, tmp_path / "raw")


def test_rows_are_in_words_and_in_order_of_time_user_book(raw: Raw) -> None:
    prepared = read(raw(), sampling=ALL)
    assert in_words(prepared) == ROWS
    assert prepared.labels.tolist() == [0, 1, 1, 0]
    assert prepared.values[1] == ["7", "20", "100"]  # numbers sort as numbers
    assert prepared.meta["rated_interactions"] == 5
    assert prepared.meta["rated_interactions_of_unknown_books"] == 1
    assert (prepared.meta["first_day"], prepared.meta["last_day"]) == ("2014-02-28", "2016-02-29")
    assert prepared.meta["partial"].startswith(f"{INTERACTIONS} has 6 of 228,648,342 lines; {BOOKS} has 4 of")


def test_prepared_table_has_the_papers_fields(raw: Raw, home: Path) -> None:
    table = import_from("goodreads", raw())
    assert (len(table), len(table.fields), table.user_column, table.item_column) == (4, 15, 0, 1)
    assert isinstance(table.ids, np.memmap)
    assert list((home / "scratch").iterdir()) == []
    result = check("goodreads")
    assert result.ok
    assert {line.what: line.verdict for line in result.lines}["fields"] == "equal"
    assert import_from("goodreads-4m", raw()).fingerprint != table.fingerprint  # another name, another identity


def test_texts_are_cleaned_and_counted(raw: Raw) -> None:
    dirty = (
        lines(BOOKS)
        .decode()
        .replace("Le Père Goriot", "Le PÃ¨re <i>Goriot</i>")
        .replace("Poche", "Po\u200bche &amp; Cie")
    )
    prepared = read(raw({BOOKS: dirty.encode()}), sampling=ALL)
    assert ("Le Père Goriot", "Poche & Cie") in {(row[2], row[11]) for row in in_words(prepared)}
    kinds = ("doubly_encoded", "with_html_entities", "with_invisible_signs", "with_tags")
    assert [prepared.meta[f"texts_{kind}"] for kind in kinds] == [1, 1, 1, 1]


def test_dates_are_read_in_their_zone_and_calendar(raw: Raw) -> None:
    dates = {
        "Sat Dec 31 23:59:59 -0800 2016": 1483257599,
        "Thu Jan 01 00:00:00 +0000 1970": 0,
        "Tue Feb 29 00:00:01 +0530 2000": 951762601,
        "Sun Jul 04 12:34:56 -1200 2010": 1278290096,
    }
    written = (FIRST.replace(b"Sat Mar 01 00:30:00 +0100 2014", date.encode()) for date in dates)
    table = texts("user_id", "book_id", "date_updated", rating=rating)(b"".join(written))
    found, faults = rated(table.append_column(json_lines.LINE, [list(range(len(table)))]))
    assert (found["time"].to_pylist(), faults) == (list(dates.values()), [])


FIRST, UNRATED, THIRD, *_ = lines(INTERACTIONS).splitlines(keepends=True)


def unrated(old: bytes, new: bytes, rating: bytes = b"2") -> bytes:
    """The second interaction rated, and changed."""
    return UNRATED.replace(b": 0,", b": " + rating + b",").replace(old, new)


REJECTED = {
    "no JSON": (INTERACTIONS, b"user_id,book_id\n", ""),
    "an empty line": (INTERACTIONS, b"\n", ""),
    "two objects in a line": (INTERACTIONS, UNRATED[:-1] + UNRATED, "unexpected"),
    "a rating of 6": (INTERACTIONS, unrated(b"", b"", b"6"), "rating 6: not one of"),
    "a rating of 4.5": (INTERACTIONS, unrated(b"", b"", b"4.5"), "rating 4.5: "),
    "a rating of true": (INTERACTIONS, unrated(b"", b"", b"true"), "rating True: "),
    "a list": (INTERACTIONS, b"[1]\n", "not an object with"),
    "no rating": (INTERACTIONS, unrated(b'"rating": 2,', b""), "rating None"),
    "31 February": (
        INTERACTIONS,
        unrated(b"Mar 03", b"Feb 31"),
        "date_updated 'Mon Feb 31 12:00:00 -0800 2014': not",
    ),
    "an unknown month": (INTERACTIONS, unrated(b"Mar", b"Mai"), "date_updated 'Mon Mai"),
    "a user of 31 digits": (INTERACTIONS, unrated(b'"ffff', b'"fff'), "user_id 'fff"),
    "a book in letters": (BOOKS, b'{"book_id": "x", "title": "T"}\n', "book_id 'x': not a number"),
    "text that is no UTF-8": (BOOKS, b'{"book_id": "5", "title": "\xff"}\n', ""),
    "an author without a number": (AUTHORS, b'{"name": "Nobody"}\n', "author_id None: missing"),
    "genres in a list": (GENRES, b'{"book_id": "5", "genres": ["fiction"]}\n', "not an object with book_id, genres"),
    "brackets without end": (WORKS, b"[" * 100_000 + b"\n", ""),
}


@pytest.mark.parametrize(("file", "line", "message"), REJECTED.values(), ids=REJECTED)
def test_lines_that_cannot_be_read_are_counted_and_named(raw: Raw, file: str, line: bytes, message: str) -> None:
    prepared = read(raw({file: lines(file) + line}), sampling=ALL)
    (rejected,) = prepared.meta["rejected"]
    assert rejected.startswith(f"{file}:{len(RECORDS[file]) + 1}: {message}")
    assert in_words(prepared) == ROWS


@pytest.mark.parametrize("name", ["pairs", "book_id", "author_id", "work_id"])
def test_repeated_records_are_counted_and_are_no_malformed_lines(raw: Raw, name: str) -> None:
    file = {"pairs": INTERACTIONS, "book_id": BOOKS, "author_id": AUTHORS, "work_id": WORKS}[name]
    first = THIRD.replace(b": 3,", b": 5,") if name == "pairs" else lines(file).splitlines(keepends=True)[0]
    prepared = read(raw({file: lines(file) + first * 1_001}), sampling=ALL)
    assert (prepared.meta[f"repeated_{name}"], prepared.meta["rejected"]) == (1_001, [])
    assert in_words(prepared) == ROWS


def test_times_after_the_crawl_are_named_and_left_out(raw: Raw) -> None:
    prepared = read(raw({INTERACTIONS: lines(INTERACTIONS) + unrated(b" 2014", b" 2031")}), sampling=ALL)
    assert in_words(prepared) == ROWS
    assert prepared.meta["after_the_crawl"] == 1
    assert prepared.meta["first_after_the_crawl"] == [f"{INTERACTIONS}:7: 2031-03-03"]
    assert read(raw(), sampling=ALL).meta["after_the_crawl"] == 0


@pytest.mark.parametrize("file", RECORDS)
def test_unpacked_files_give_the_same_table(raw: Raw, file: str) -> None:
    folder = raw()
    (folder / file).unlink()
    (folder / file.removesuffix(".gz")).write_bytes(lines(file))
    assert in_words(read(folder, sampling=ALL)) == ROWS
    (folder / file.removesuffix(".gz")).unlink()
    with pytest.raises(UserError, match=f"{file}: no such file, nor {file.removesuffix('.gz')}"):
        read(folder, sampling=ALL)


def test_two_imports_at_once_do_not_collide(raw: Raw, home: Path) -> None:
    folder = raw()
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda name: import_from(name, folder), ["goodreads", "goodreads-4m"] * 8))
    assert len({table.fingerprint for table in tables}) == 2
    assert list((home / "scratch").iterdir()) == []


def test_a_fault_does_not_hide_its_neighbours(raw: Raw) -> None:
    """Faults are found by halving: every other line is still read, under its own number."""
    good = [FIRST.replace(b'"100"', b'"%d"' % n) for n in range(200)]
    books = b"".join(b'{"book_id": "%d", "title": "T%d"}\n' % (n, n) for n in range(200))
    mixed = b"".join(b"{\n" + line if n % 37 == 5 else line for n, line in enumerate(good))
    prepared = read(raw({INTERACTIONS: mixed, BOOKS: books}), sampling=ALL)
    assert len(prepared.labels) == 200
    expected = [number for number, line in enumerate(mixed.splitlines(), 1) if line == b"{"]
    assert [int(line.split(":")[1]) for line in prepared.meta["rejected"]] == expected


WHOLE = gzip.compress(lines(INTERACTIONS), 1, mtime=0)
DAMAGED = {
    "cut": (WHOLE[:-20], "not a whole gzip file"),
    "no gzip": (lines(INTERACTIONS), "not a whole gzip file"),
    "a byte changed": (WHOLE[:-8] + bytes([WHOLE[-8] ^ 1]) + WHOLE[-7:], "not a whole gzip file"),
    "empty": (gzip.compress(b""), "empty file"),
    "a folder": (None, "no such file"),
    "a bomb": (gzip.compress(b"\n" * (1 << 22)), "unpacks to more than 200 times its size; refused"),
    "a long line": (
        gzip.compress(random.Random(0).randbytes(1 << 21).replace(b"\n", b"")),
        "a line of more than 1,0",
    ),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_one_line(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 20)
    path = raw() / INTERACTIONS
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read(path.parent, sampling=ALL)
    assert "\n" not in str(error.value)


def test_blocks_of_any_size_give_the_same_table(raw: Raw, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1 << 10, 1500, 4096):
        monkeypatch.setattr(json_lines, "BLOCK", size)
        prepared = read(raw(), sampling=ALL)
        assert in_words(prepared) == ROWS
        shutil.rmtree(home / "scratch")
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 10)
    last = lines(INTERACTIONS)[:-1]  # no newline at the end of the file
    assert in_words(read(raw({INTERACTIONS: last}), sampling=ALL)) == ROWS


def test_killed_process_leaves_its_work(tmp_path: Path, home: Path) -> None:
    generate(tmp_path / "raw", 2_000)
    code = (
        "import os, sys; from pathlib import Path; from flipbench.data import json_lines as j;"
        "j.BLOCK = 1 << 16; replacing = j.replacing; n = [0]\n"
        "def killing(path):\n"
        "    n[0] += 1\n"
        "    if n[0] > 4: os.kill(os.getpid(), 9)\n"
        "    return replacing(path)\n"
        "j.replacing = killing\n"
        "from flipbench.data.fetch import import_from; import_from('goodreads', Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "raw")], env=dict(os.environ), check=False)
    assert killed.returncode == -9
    left = {path: path.stat().st_mtime_ns for path in (home / "scratch").rglob("*.arrow")}
    assert sorted(path.name for path in left) == [f"{INTERACTIONS}-{n:05d}.arrow" for n in range(4)]
    read(tmp_path / "raw", sampling=ALL)
    assert {path: path.stat().st_mtime_ns for path in left} == left  # no block is read twice
    assert len(list((home / "scratch").rglob("*.arrow"))) > 4
    resumed = import_from("goodreads", tmp_path / "raw").fingerprint
    shutil.rmtree(home)
    assert import_from("goodreads", tmp_path / "raw").fingerprint == resumed


def test_other_raw_files_are_not_taken_for_those_half_read(raw: Raw) -> None:
    read(raw(), sampling=ALL)
    more = lines(INTERACTIONS) + lines(INTERACTIONS).splitlines(keepends=True)[4].replace(EVE.encode(), BOB.encode())
    assert len(read(raw({INTERACTIONS: more}), sampling=ALL).labels) == 5


def test_newest_takes_the_last_by_time_then_by_file(raw: Raw) -> None:
    for rows in (1, 2, 3):
        assert in_words(read(raw(), sampling=Sampling(rows))) == ROWS[-rows:]


def test_users_takes_whole_users_by_the_seed(tmp_path: Path) -> None:
    generate(tmp_path / "raw", 3_000)
    whole = read(tmp_path / "raw", sampling=ALL)
    samples = [read(tmp_path / "raw", sampling=Sampling(1_000, "users", seed)) for seed in (0, 0, 1)]
    assert np.array_equal(samples[0].ids, samples[1].ids)
    assert samples[0].values[0] != samples[2].values[0]
    count = dict(zip(whole.values[0], np.bincount(whole.ids[:, 0])[1:], strict=True))
    for sample in samples:
        ours = np.bincount(sample.ids[:, 0])[1:].tolist()
        assert ours == [count[user] for user in sample.values[0]]
        assert 1_000 <= len(sample.labels) < 1_000 + max(count.values())


def test_the_generator_writes_what_it_promises(tmp_path: Path) -> None:
    for folder in "ab":
        generate(tmp_path / folder, 5_000)
    texts = [{p.name: gzip.decompress(p.read_bytes()) for p in (tmp_path / d).iterdir()} for d in "ab"]
    assert texts[0] == texts[1]
    prepared = read(tmp_path / "a", sampling=ALL)
    assert len(prepared.labels) == 5_000
    assert prepared.meta["rejected_lines"] == prepared.meta["rated_interactions_of_unknown_books"] == 0
    assert 0.5 < prepared.labels.mean() < 0.8
    busiest = np.sort(np.bincount(prepared.ids[:, 0]))[::-1]
    assert busiest[: len(prepared.values[0]) // 10].sum() > 0.3 * 5_000  # a tenth of the users, a third of the rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_never_pass_unseen(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of one file's text are changed: an error of one line, or counted rejections and no row that joins wrong."""
    file = data.draw(st.sampled_from([INTERACTIONS, BOOKS, GENRES]))
    content = data.draw(corrupted(lines(file), b'"', b"{", b"}", b"\n", b",", b"null", b"\\"))
    folder = write_raw(tmp_path / "fuzz", {file: content})
    shutil.rmtree(Path(os.environ["FLIPBENCH_HOME"]), ignore_errors=True)
    try:
        prepared = read(folder, sampling=ALL)
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        assert message.startswith((f"{folder}/{file}:", f"{folder}/{INTERACTIONS}: no rating"))
        assert file in message
        return
    known = {row[1]: row for row in ROWS}
    for row in in_words(prepared):
        if row[1] in known and file == INTERACTIONS:
            assert row[1:] == known[row[1]][1:]
        elif row[1] in known and file == GENRES:
            assert row[4:] == known[row[1]][4:]
            assert row[:3] in {each[:3] for each in ROWS}
        elif file == BOOKS:
            assert row[0] in (ANN, BOB, EVE)
    count = sum(bool(line) for line in content.split(b"\n"))
    if file == INTERACTIONS:
        rated, unrated = prepared.meta["rated_interactions"], 1
        assert rated + unrated + 1 + prepared.meta["rejected_lines"] + prepared.meta["repeated_pairs"] >= count - 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 600), byte=st.integers(0, 255))
def test_a_changed_byte_of_the_gzip_file_is_found(tmp_path: Path, at: int, byte: int) -> None:
    """The format's own checksum covers the text; other bytes (name, time) do not matter."""
    folder = write_raw(tmp_path / "fuzz")
    data = bytearray((folder / INTERACTIONS).read_bytes())
    data[at % len(data)] = byte
    (folder / INTERACTIONS).write_bytes(data)
    shutil.rmtree(Path(os.environ["FLIPBENCH_HOME"]), ignore_errors=True)
    try:
        prepared = read(folder, sampling=ALL)
    except UserError as error:
        assert INTERACTIONS in str(error)  # noqa: PT017
    else:
        assert in_words(prepared) == ROWS
