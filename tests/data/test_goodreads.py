"""The GoodReads reader: known values, sampling, goes on after a kill, and bytes that are wrong."""

import gzip
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from goodreads_generator import generate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import corrupted, in_words
from tiny_goodreads import ANN, BOB, EVE, RECORDS, ROWS, lines, write_raw

from flipbench.data import json_lines, store
from flipbench.data.check import check
from flipbench.data.fetch import import_from
from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, GOODREADS, INTERACTIONS, WORKS, Sampling, variant
from flipbench.data.goodreads_reader import read
from flipbench.data.goodreads_records import interactions, rated
from flipbench.errors import UserError

Raw = Callable[..., Path]
ALL = Sampling(10**9)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return lambda **changed: write_raw(tmp_path / "raw", **changed)


def test_rows_are_in_words_and_in_order_of_time_user_book(raw: Raw) -> None:
    prepared = read(raw(), sampling=ALL)
    assert in_words(prepared) == ROWS
    assert prepared.labels.tolist() == [0, 1, 1, 0]
    assert prepared.values[1] == ["7", "20", "100"]  # numbers sort as numbers
    assert prepared.meta["rated_interactions"] == 5
    assert prepared.meta["rated_interactions_of_unknown_books"] == 1
    assert (prepared.meta["first_day"], prepared.meta["last_day"]) == ("2014-02-28", "2016-02-29")
    assert prepared.meta["partial"].startswith(f"{INTERACTIONS} has 6 of 228,648,342 lines; {BOOKS} has 4 of")


def test_the_table_has_the_papers_fields_and_leaves_nothing_behind(raw: Raw, home: Path) -> None:
    table = import_from("goodreads", raw())
    assert (len(table), len(table.fields), table.user_column, table.item_column) == (4, 15, 0, 1)
    assert isinstance(table.ids, np.memmap)
    assert list((home / "scratch").iterdir()) == []
    result = check("goodreads")
    assert result.ok
    assert {line.what: line.verdict for line in result.lines}["fields"] == "equal"
    assert import_from("goodreads-4m", raw()).fingerprint != table.fingerprint  # another name, another identity


def test_dates_are_read_in_their_zone_and_calendar(raw: Raw) -> None:
    dates = {
        "Sat Dec 31 23:59:59 -0800 2016": 1483257599,
        "Thu Jan 01 00:00:00 +0000 1970": 0,
        "Tue Feb 29 00:00:01 +0530 2000": 951762601,
        "Sun Jul 04 12:34:56 -1200 2010": 1278290096,
    }
    first = lines(INTERACTIONS).splitlines(keepends=True)[0]
    written = (first.replace(b"Sat Mar 01 00:30:00 +0100 2014", date.encode()) for date in dates)
    table = interactions()(b"".join(written))
    found, faults = rated(table.append_column(json_lines.LINE, [list(range(len(table)))]))
    assert (found["time"].to_pylist(), faults) == (list(dates.values()), [])


SECOND = lines(INTERACTIONS).splitlines(keepends=True)[1]
REJECTED = {
    "no JSON": ("interactions", b"user_id,book_id\n", f"{INTERACTIONS}:7: "),
    "an empty line": ("interactions", b"\n", f"{INTERACTIONS}:7: "),
    "two objects in a line": ("interactions", SECOND[:-1] + SECOND, f"{INTERACTIONS}:7: unexpected"),
    "a rating of 6": ("interactions", SECOND.replace(b": 0,", b": 6,"), f"{INTERACTIONS}:7: rating 6: not one of"),
    "a rating of 4.5": ("interactions", SECOND.replace(b": 0,", b": 4.5,"), f"{INTERACTIONS}:7: rating 4.5: "),
    "a rating of true": ("interactions", SECOND.replace(b": 0,", b": true,"), f"{INTERACTIONS}:7: rating True: "),
    "a list": ("interactions", b"[1]\n", f"{INTERACTIONS}:7: not an object with"),
    "no rating": ("interactions", SECOND.replace(b'"rating": 0,', b""), f"{INTERACTIONS}:7: rating None"),
    "31 February": (
        "interactions",
        SECOND.replace(b": 0,", b": 2,").replace(b"Mar 03", b"Feb 31"),
        f"{INTERACTIONS}:7: date_updated 'Mon Feb 31 12:00:00 -0800 2014': not a time",
    ),
    "an unknown month": (
        "interactions",
        SECOND.replace(b": 0,", b": 2,").replace(b"Mar", b"Mai"),
        f"{INTERACTIONS}:7: date_updated 'Mon Mai",
    ),
    "a user of 31 digits": (
        "interactions",
        SECOND.replace(b": 0,", b": 2,").replace(b'"ffff', b'"fff'),
        f"{INTERACTIONS}:7: user_id 'fff",
    ),
    "a pair twice": (
        "interactions",
        lines(INTERACTIONS).splitlines(keepends=True)[2].replace(b": 3,", b": 5,"),
        f"{INTERACTIONS}:7: user {ANN} has rated book 100 before",
    ),
    "a book in letters": ("books", b'{"book_id": "x", "title": "T"}\n', f"{BOOKS}:5: book_id 'x': not a number"),
    "a book twice": ("books", lines(BOOKS).splitlines(keepends=True)[0], f"{BOOKS}:5: book_id 100 occurs before"),
    "text that is no UTF-8": ("books", b'{"book_id": "5", "title": "\xff"}\n', f"{BOOKS}:5: "),
    "an author without a number": ("authors", b'{"name": "Nobody"}\n', f"{AUTHORS}:3: author_id None: missing"),
    "genres in a list": (
        "genres",
        b'{"book_id": "5", "genres": ["fiction"]}\n',
        f"{GENRES}:3: not an object with book_id, genres",
    ),
    "brackets without end": ("works", b"[" * 100_000 + b"\n", f"{WORKS}:3: "),
}


@pytest.mark.parametrize(("file", "line", "message"), REJECTED.values(), ids=REJECTED.keys())
def test_lines_that_cannot_be_read_are_counted_and_named(raw: Raw, file: str, line: bytes, message: str) -> None:
    whole = {"interactions": INTERACTIONS, "books": BOOKS, "authors": AUTHORS, "genres": GENRES, "works": WORKS}
    prepared = read(raw(**{file: lines(whole[file]) + line}), sampling=ALL)
    assert prepared.meta["rejected_lines"] == 1
    assert prepared.meta["rejected"][0].startswith(message)
    assert in_words(prepared) == ROWS


def test_a_fault_does_not_hide_its_neighbours(raw: Raw) -> None:
    """Faults are found by halving: every other line is still read, under its own number."""
    good = [lines(INTERACTIONS).splitlines(keepends=True)[0].replace(b'"100"', b'"%d"' % n) for n in range(200)]
    books = b"".join(b'{"book_id": "%d", "title": "T%d"}\n' % (n, n) for n in range(200))
    mixed = b"".join(b"{\n" + line if n % 37 == 5 else line for n, line in enumerate(good))
    prepared = read(raw(interactions=mixed, books=books), sampling=ALL)
    assert len(prepared.labels) == 200
    expected = [number for number, line in enumerate(mixed.splitlines(), 1) if line == b"{"]
    assert [int(line.split(":")[1]) for line in prepared.meta["rejected"]] == expected


WHOLE = gzip.compress(lines(INTERACTIONS), 1, mtime=0)
DAMAGED = {
    "cut": (WHOLE[:-20], "not a whole gzip file"),
    "no gzip": (lines(INTERACTIONS), "not a whole gzip file"),
    "a byte changed": (WHOLE[:-8] + bytes([WHOLE[-8] ^ 1]) + WHOLE[-7:], "not a whole gzip file"),
    "empty": (gzip.compress(b""), "empty file"),
    "missing": (None, "no such file"),
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
        path.mkdir()  # a folder is no file either
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
    assert in_words(read(raw(interactions=last), sampling=ALL)) == ROWS


def test_a_killed_preparation_goes_on_after_its_last_block(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 16)
    generate(tmp_path / "raw", 2_000)
    whole = import_from(variant("goodreads", "GoodReads", ALL), tmp_path / "raw").fingerprint
    parsed: list[int] = []
    parse = json_lines._parsed

    def killed_after(blocks: int) -> Callable[..., object]:
        def counted(*given: object) -> object:
            if len(parsed) == blocks:
                raise KeyboardInterrupt
            parsed.append(1)
            return parse(*given)  # type: ignore[arg-type]

        return counted

    total = 0
    for _ in range(100):
        parsed.clear()
        monkeypatch.setattr(json_lines, "_parsed", killed_after(3))
        try:
            prepared = read(tmp_path / "raw", sampling=ALL)
        except KeyboardInterrupt:
            total += len(parsed)
            continue
        break
    assert total + len(parsed) == len(list((home / "scratch").rglob("*.arrow"))) > 9  # no block twice
    store._store(GOODREADS, prepared)
    assert store.fingerprint("goodreads") == whole
    assert not prepared.scratch or not prepared.scratch.exists()


def test_a_process_that_is_killed_leaves_what_the_next_one_needs(tmp_path: Path, home: Path) -> None:
    generate(tmp_path / "raw", 2_000)
    code = (
        "import os, sys; from pathlib import Path; from flipbench.data import json_lines as j;"
        "j.BLOCK = 1 << 16; write = j._write; n = [0]\n"
        "def killing(path, table):\n"
        "    n[0] += 1\n"
        "    if n[0] > 4: os.kill(os.getpid(), 9)\n"
        "    write(path, table)\n"
        "j._write = killing\n"
        "from flipbench.data.fetch import import_from; import_from('goodreads', Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "raw")], env=dict(os.environ), check=False)
    assert killed.returncode == -9
    left = sorted(path.name for path in (home / "scratch").rglob("*.arrow"))
    assert left == [f"{INTERACTIONS}-{n:05d}.arrow" for n in range(4)]
    resumed = import_from("goodreads", tmp_path / "raw").fingerprint
    shutil.rmtree(home)
    assert import_from("goodreads", tmp_path / "raw").fingerprint == resumed


def test_a_home_that_cannot_be_written_is_named(raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file.*: cannot be written: Not a directory"):
        import_from("goodreads", raw())


def test_other_raw_files_are_not_taken_for_those_half_read(raw: Raw) -> None:
    read(raw(), sampling=ALL)
    more = lines(INTERACTIONS) + lines(INTERACTIONS).splitlines(keepends=True)[4].replace(EVE.encode(), BOB.encode())
    assert len(read(raw(interactions=more), sampling=ALL).labels) == 5


def test_newest_takes_the_last_by_time_and_the_first_in_the_file_of_one_second(raw: Raw) -> None:
    assert in_words(read(raw(), sampling=Sampling(2))) == [ROWS[2], ROWS[3]]
    assert in_words(read(raw(), sampling=Sampling(3))) == ROWS[1:]
    assert in_words(read(raw(), sampling=Sampling(1))) == ROWS[3:]


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
    generate(tmp_path / "a", 5_000)
    generate(tmp_path / "b", 5_000)
    texts = [{p.name: gzip.decompress(p.read_bytes()) for p in (tmp_path / d).iterdir()} for d in "ab"]
    assert texts[0] == texts[1]
    assert texts[0].keys() == RECORDS.keys()
    prepared = read(tmp_path / "a", sampling=ALL)
    assert len(prepared.labels) == 5_000
    assert prepared.meta["rejected_lines"] == prepared.meta["rated_interactions_of_unknown_books"] == 0
    assert texts[0][INTERACTIONS].count(b'"rating": 0,') == round(5_000 / 9)
    features = sum(map(len, prepared.values))
    assert features > 5_000 * 4_565_429 / 20_122_040  # small sizes have relatively more
    assert 0.5 < prepared.labels.mean() < 0.8
    busiest = np.sort(np.bincount(prepared.ids[:, 0]))[::-1]
    assert busiest[: len(prepared.values[0]) // 10].sum() > 0.3 * 5_000  # a tenth of the users, a third of the rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_bytes_give_an_error_or_rows_of_those_files(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of one file's text are changed: an error of one line, or counted rejections and no row that joins wrong."""
    file = data.draw(st.sampled_from([INTERACTIONS, BOOKS, GENRES]))
    content = data.draw(corrupted(lines(file), b'"', b"{", b"}", b"\n", b",", b"null", b"\\"))
    name = {INTERACTIONS: "interactions", BOOKS: "books", GENRES: "genres"}[file]
    folder = write_raw(tmp_path / "fuzz", **{name: content})
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
        assert rated + unrated + 1 + prepared.meta["rejected_lines"] >= count - 1


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
