"""Raw files of every reader with their bytes changed: a table or one line that names the file, never more than 2 s.

How many, and how to run one again: :mod:`fuzzing`.
"""

import gzip
import json
import random
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))

import tiny_bookcrossing
import tiny_goodreads
from fuzzing import CASES, COUNT, case
from tables import zipped
from tiny_movielens import MOVIELENS

from flipbench.data.amazon_toys import ITEMS, REVIEWS
from flipbench.data.dataset import get
from flipbench.data.fetch import import_from
from flipbench.errors import UserError

TOYS = {
    REVIEWS[0]: [
        {"overall": 5.0, "reviewerID": f"A{n}", "asin": f"000{n % 3}", "unixReviewTime": 86_400 * n, "verified": True}
        for n in range(1, 9)
    ],
    ITEMS: [{"asin": f"000{n}", "category": ["Toys & Games", "Puzzles"], "title": f"T{n}"} for n in range(3)],
}
RAW = {
    "movielens-1m": {file: text.encode("latin-1") for file, text in MOVIELENS.items()},
    "bookcrossing": tiny_bookcrossing.FILES,
    "goodreads": {file: tiny_goodreads.lines(file) for file in tiny_goodreads.RECORDS},
    "amazon-toys": {file: b"".join(json.dumps(r).encode() + b"\n" for r in records) for file, records in TOYS.items()},
}

TOKENS = [
    *(b"", b"\0", b"\n", b"\r", b"\r\n", b" ", b"\t", b'"', b'""', b"'", b"\\", b'\\"', b";", b",", b":", b"::", b"|"),
    *(b"{}", b"{", b"}", b"[]", b"[", b"]", b"null", b"NULL", b"true", b"NaN", b"1e999", b"-1", b"0", b"9" * 30),
    *(b"9" * 5_000, b"0" * 5_000 + b"1", b"{'a': {[]: 1}}", b"{'asin': '\\d'}", b'"\\ud800"', b"[" * 2_000),
    *(b"\xff", b"\xc3", b"\xc3\xa9", b"\xe9", b"\xa8\xa6", b"\xef\xbf\xbd", b"\xef\xbb\xbf", b"\xc3\x83\xc2\xa9"),
    *("北京".encode(), "²³".encode(), "٣".encode(), b"\x1b[31m", b"<html>", b"[red]", b"4102444800", b"2031"),
]

LINES = [
    *(
        b'"a";NULL;' * 100 + b'"',
        b'"a";' * 200,
        b'"' * 5_000,
        b'";' * 5_000,
        b'"1";"a";' * 9,
        b"::" * 5_000,
        b"{" * 5_000,
    ),
    *(b"{}", b"[]", b"null", b"{'asin': {[]: 1}}", b"{'asin': " + b"9" * 5_000 + b"}", b"{'asin': '\\d'}"),
    *(b'{"asin": {}, "book_id": [], "author_id": {}, "work_id": 1, "genres": 5, "authors": "x", "rating": 5}',),
    *(b'{"book_id": "' + b"9" * 30 + b'", "asin": "' + b"9" * 30 + b'", "title": "\\u001b[31m\\u200b"}',),
]
"""Lines that an attack found, or that other readers may have met."""


def spoilt(content: bytes, draw: random.Random) -> bytes:
    """The content with a few places changed."""
    for _ in range(draw.randint(1, 4)):
        lines = content.split(b"\n")
        at, line = draw.randint(0, len(content)), draw.randrange(len(lines))
        token = draw.choice(TOKENS) if draw.random() < 0.8 else draw.randbytes(draw.randint(1, 5))
        change = draw.randrange(9)
        if change < 4:
            content = content[:at] + token + content[at + draw.randint(0, 8) :]
        elif change == 4:  # a value in place of another
            values = list(re.finditer(rb"[\w.]+", content))
            if values:
                value = draw.choice(values)
                content = content[: value.start()] + token + content[value.end() :]
        elif change == 5:
            content = b"\n".join([*lines[:line], draw.choice([token, *LINES]), *lines[line:]])
        elif change == 6:  # a line many times
            content = b"\n".join([*lines[:line], *lines[line : line + 1] * draw.choice([2, 50, 1_100]), *lines[line:]])
        elif change == 7:  # a piece of a line many times
            piece = lines[line][draw.randint(0, len(lines[line])) :][: draw.randint(1, 12)]
            lines[line] += piece * draw.choice([20, 200, 5_000])
            content = b"\n".join(lines)
        else:
            content = content[:at]
    return content


def write_case(number: int, folder: Path) -> tuple[str, Path]:
    """The data set of a case, and its raw folder or zip archive."""
    draw = random.Random(number)
    name = draw.choice(sorted(RAW))
    files = dict(RAW[name])
    for file in draw.sample(sorted(files), draw.choice([1, 1, 1, 2])):
        files[file] = (
            draw.choice([b"", b"{}\n" * 9, b"<html>\n", files[file] * 2]) if draw.random() < 0.05 else files[file]
        )
        files[file] = spoilt(files[file], draw)
        if draw.random() < 0.05:
            files[file] = files[file].decode("latin-1").encode(draw.choice(["utf-8", "utf-16", "utf-8-sig"]))
    packed = {f: gzip.compress(data, 1, mtime=0) if f.endswith(".gz") else data for f, data in files.items()}
    kind = draw.random()
    if kind < 0.05:
        file = draw.choice(sorted(packed))
        packed[file] = spoilt(packed[file], draw)
    elif kind < 0.1:
        packed = {file.removesuffix(".gz"): data for file, data in files.items()}
    elif kind < 0.15:
        folder.mkdir(parents=True)
        archive = folder / "raw.zip"
        content = zipped({f"any/{file}": data for file, data in packed.items()} | {"é": b""})
        if draw.random() < 0.3:
            content = content.replace("é".encode(), b"\xff\xfe")  # a name that is no UTF-8
        archive.write_bytes(spoilt(content, draw) if draw.random() < 0.5 else content)
        return name, archive
    folder.mkdir(parents=True)
    for file, data in packed.items():
        if draw.random() > 0.01:
            (folder / file).write_bytes(data)
    return name, folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_changed_raw_files_give_a_table_or_one_line(tmp_path: Path, home: Path) -> None:
    tables = 0
    for number in CASES:
        name, raw = write_case(number, tmp_path / "raw")
        with case(f"{number}, {get(name).title}"):
            try:
                tables += len(import_from(name, raw, allow_partial=True)) > 0
            except UserError as error:
                check_line(str(error), name, raw, tmp_path)
        shutil.rmtree(tmp_path / "raw")
        shutil.rmtree(home / "scratch", ignore_errors=True)
    assert COUNT < 100 or 0.1 * COUNT < tables < 0.9 * COUNT, "cases of both kinds"


def check_line(line: str, name: str, raw: Path, folder: Path) -> None:
    """A refusal names the raw file, or the folder or archive where one is missing."""
    unpacked = [file.removesuffix(".gz") for file in RAW[name]]
    known = [*RAW[name], *unpacked, "raw.zip", f"{raw}: has n", *REVIEWS]
    assert line.isprintable(), line
    assert any(file in line for file in known), line
    assert line.startswith(str(folder)), line
