"""Row hashes: known values, the ten lines of pandas in the documentation, files of hashes, and what differs."""

import dataclasses
import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import own_data
import pytest
import tiny_bookcrossing
import tiny_goodreads
from test_amazon_toys import NEW, NEW_ITEMS, as_lines
from tiny_movielens import MOVIELENS

from flipbench.data import row_hashes, store
from flipbench.data.amazon_toys import ITEMS, REVIEWS
from flipbench.data.dataset import RowDigest, get
from flipbench.data.fetch import import_from
from flipbench.data.row_hashes import PARTS, compare, hash_rows, parts_of
from flipbench.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs" / "row-hashes.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def expected(*row: object) -> str:
    """A row's hash as documented."""
    return hashlib.blake2b("\0".join(map(str, row)).encode(), digest_size=8).hexdigest()


def in_digits(hashes: np.ndarray) -> list[str]:
    return [f"{each:016x}" for each in hashes.tolist()]


def ratings(rows: int, first: int = 0) -> str:
    """Ratings of the tiny files' four users, of movies that are many, a second apart; none is 3."""
    lines = ((n, (1, 2, 3, 10)[n % 4], 100 + n // 4, 1 + n % 2 * 3) for n in range(first, first + rows))
    return "".join(f"{user}::{movie}::{rating}::{978_300_000 + n}\n" for n, user, movie, rating in lines)


@pytest.fixture
def imported(raw: Callable[..., Path]):
    """MovieLens with enough rows that every part has some."""
    movies = MOVIELENS["movies.dat"] + "".join(f"{100 + n}::Movie {n}::War\n" for n in range(30))

    def run(text: str = ratings(60)) -> store.Table:
        return import_from("movielens-1m", raw(ratings=text, movies=movies), allow_partial=True)

    return run


def test_rows_of_movielens(raw: Callable[..., Path]) -> None:
    hashes, hashed = hash_rows(import_from("movielens-1m", raw(), allow_partial=True))
    assert hashed == ("user", "item", "time")
    assert in_digits(hashes)[:2] == [expected(2, 9, 978300100), expected(1, 10, 978300275)]


def test_rows_of_goodreads_and_of_toys(tmp_path: Path) -> None:
    books = import_from("goodreads", tiny_goodreads.write_raw(tmp_path / "gr"))
    moments = store.times(books)
    assert moments is not None
    assert moments.tolist() == sorted(moments.tolist())
    user, book = tiny_goodreads.ROWS[0][:2]
    assert in_digits(hash_rows(books)[0])[0] == expected(user, book, moments[0])
    assert moments[0] == 1_393_630_199  # Fri Feb 28 23:29:59 +0000 2014
    (tmp_path / "toys").mkdir()
    for file, records in ((REVIEWS[0], NEW), (ITEMS, NEW_ITEMS)):
        (tmp_path / "toys" / file).write_bytes(gzip.compress(as_lines(records)))
    toys = import_from("amazon-toys", tmp_path / "toys")
    assert in_digits(hash_rows(toys)[0])[1] == expected("A1", "0001", 9001 * 86_400)


def test_data_without_times_are_hashed_without(tmp_path: Path, cli) -> None:
    table = import_from("bookcrossing", tiny_bookcrossing.write_raw(tmp_path / "bx"))
    hashes, hashed = hash_rows(table)
    assert hashed == ("user", "item")
    strings = store.values(table).to_pylist()
    user, book = (strings[table.ids[0, column] - 1] for column in (table.user_column, table.item_column))
    assert in_digits(hashes)[0] == expected(user, book)
    code, out, _ = cli("data", "rows", "bookcrossing", "--order", "shuffled")
    assert code == 0
    assert "hashes of (user, item); the data have no times; order shuffled" in out
    assert "none are published to compare them with" in out
    assert cli("data", "rows", "planted-tiny")[0] == 0
    assert "did you mean 'shuffled'" in cli("data", "rows", "bookcrossing", "--order", "shufled")[2]


def test_times_are_no_part_of_the_fingerprint_but_are_sealed(imported, home: Path) -> None:
    table = imported()
    without = dataclasses.replace(store.get("movielens-1m").prepare(home.parent / "raw" / "ml-1m", True), times=None)
    old = store.write_table(get("movielens-1m"), without)
    assert old.fingerprint == table.fingerprint
    assert not (old.folder / "times.npy").exists()
    with pytest.raises(
        UserError, match=r"times\.npy: the table was prepared before times .* run 'flipbench data fetch"
    ):
        hash_rows(old)
    path = imported().folder / "times.npy"  # importing again adds them, to a table of the same content
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"times\.npy: changed since"):
        store.open_table("movielens-1m")
    later = ratings(60).replace("::9783", "::9793")
    assert hash_rows(imported(later))[0][0] == int(expected(1, 100, 979_300_000), 16), "other times replace them"
    with pytest.raises(ValueError, match="movielens-1m: times"):
        store.write_table(get("movielens-1m"), dataclasses.replace(without, times=np.zeros(3, np.int64)))


def test_parts_are_those_of_the_split(imported) -> None:
    table = imported()
    hashes, _ = hash_rows(table)
    parts = parts_of(table, "chronological", hashes)
    assert tuple(parts) == tuple(part for part in PARTS if part != "validation given")
    assert [len(part) for part in parts.values()] == [54, 4, 6, 6]
    assert parts["training"].tolist() + parts["test"].tolist() == hashes.tolist()
    assert parts["validation last-ninth"].tolist() == hashes[48:54].tolist()
    mixed = parts_of(table, "random", hashes)
    assert sorted(mixed["training"].tolist() + mixed["test"].tolist()) == sorted(hashes.tolist())
    assert mixed["test"].tolist() != parts["test"].tolist()


def test_the_documented_lines_of_pandas_give_the_same(imported, cli, monkeypatch, capsys, tmp_path) -> None:
    table = imported()
    lines, known_users = BLOCKS
    assert len([line for line in lines.splitlines() if line]) == 10
    rows = json.loads(cli("data", "rows", "movielens-1m", "--json")[1])["parts"]
    monkeypatch.chdir(tmp_path / "raw" / "ml-1m")
    names: dict[str, object] = {}
    exec(lines, names)  # what its reader would run
    printed = [line.rsplit(" ", 3) for line in capsys.readouterr().out.splitlines()]
    assert [part for part, *_ in printed] == ["training", "validation last-ninth", "test"]
    for part, *told in printed:
        assert [str(rows[part][key]) for key in ("rows", "sum", "order")] == told
    exec(known_users, names)
    validation = names["known_users"][["user", "item", "time"]]
    of_part = parts_of(table, "chronological", hash_rows(table)[0])["validation known-users"]
    assert in_digits(of_part) == [expected(*row) for row in validation.itertuples(index=False)]


def test_the_documented_digests_are_the_published_ones() -> None:
    for part, known in get("movielens-1m").rows.items():
        assert re.search(rf"^{part} +{known.rows:,}  {known.sum}  {known.order} +equal$", DOCUMENT.read_text(), re.M)


@pytest.mark.skipif(not (Path(os.environ.get("FLIPBENCH_DATA", "-")) / "ml-1m").is_dir(), reason="no FLIPBENCH_DATA")
def test_the_real_rows_are_the_published_ones(cli) -> None:
    import_from("movielens-1m", os.environ["FLIPBENCH_DATA"])
    code, out, _ = cli("data", "rows", "movielens-1m", "--json")
    assert code == 0
    assert [part["published"] for part in json.loads(out)["parts"].values()] == ["equal"] * 4


def test_the_command_compares_with_the_published_rows(imported, cli, monkeypatch) -> None:
    table = imported()
    parts = parts_of(table, "chronological", hash_rows(table)[0])
    digests = {part: row_hashes.digest(hashes) for part, hashes in parts.items()}
    reordered = {**digests, "test": dataclasses.replace(digests["test"], order="0" * 16)}
    for published, verdict, expected_code in (
        (digests, "equal", 0),
        (reordered, "another order", 3),
        ({**digests, "test": dataclasses.replace(digests["test"], sum="0" * 16)}, "differs", 3),
    ):
        declared = dataclasses.replace(get("movielens-1m"), rows=published)
        monkeypatch.setattr("flipbench.cli.rows.get", lambda name, declared=declared: declared)
        code, out, _ = cli("data", "rows", "movielens-1m")
        assert code == expected_code
        assert re.search(rf"^test .* {verdict}$", out, re.M)
        assert re.search("^training .* equal$", out, re.M)
        random = cli("data", "rows", "movielens-1m", "--order", "random")
        assert random[0] == 0, "another order's rows are not the published ones"


OWN = {
    "all three": ({}, ("user", "item", "time"), ("u0", 0, 1_000)),
    "no item": ({"item": ""}, ("user", "time"), ("u0", 1_000)),
    "a user that is no field": ({"fields": "[item_id, title]"}, ("item", "time"), (0, 1_000)),
    "no time": ({"time": "", "order": "file"}, ("user", "item"), ("u0", 0)),
}


@pytest.mark.parametrize(("changes", "hashed", "first"), OWN.values(), ids=OWN)
def test_what_own_data_lack_is_not_hashed(cli, tmp_path: Path, changes, hashed, first) -> None:
    path = own_data.write(tmp_path, **changes)
    hashes, of = hash_rows(store.open_table(str(path)))
    assert of == hashed
    assert in_digits(hashes)[0] == expected(*first)
    code, out, _ = cli("data", "rows", path)
    assert code == 0
    assert f"hashes of ({', '.join(hashed)})" in out


def test_rows_without_user_and_item_have_no_hash(refused, tmp_path: Path) -> None:
    path = own_data.write(tmp_path, user="", item="", fields="[title, device]")
    assert "my-clicks: neither 'user' nor 'item' of its description is a field" in refused("data", "rows", path)


@pytest.mark.parametrize(
    ("time", "hashed"),
    [
        ("1000.0", 1000),
        ("1000.25", 1_000_250_000),
        ("2020-01-01", 1_577_836_800_000_000),
        ("2020-01-01 00:00:01", 1_577_836_801_000_000),
    ],
)
def test_times_of_own_data_are_whole_numbers(tmp_path: Path, time: str, hashed: int) -> None:
    lines = own_data.CSV.splitlines()
    content = "\n".join([lines[0], *(f"{line.rpartition(',')[0]},{time}" for line in lines[1:])]) + "\n"
    moments = store.times(store.open_table(str(own_data.write(tmp_path, content))))
    assert moments is not None
    assert moments.dtype == np.int64
    assert moments.tolist() == [hashed] * len(moments)


def test_one_s_own_rows_beside_the_published_ones_of_a_data_set(cli, refused, tmp_path: Path, monkeypatch) -> None:
    lines = [f"u{n % 5},i{n % 7},{n % 2},{1000 - n}\n" for n in range(90)]
    (tmp_path / "mine.csv").write_text("user_id,item_id,label,time\n" + "".join(lines))
    assert cli("data", "describe", tmp_path / "mine.csv", "--to", tmp_path / "mine.yaml")[0] == 0
    own = json.loads(cli("data", "rows", tmp_path / "mine.yaml", "--json")[1])
    assert own["hash of"] == ["user", "item", "time"]
    published = {part: RowDigest(**digest) for part, digest in own["parts"].items()}
    training = [expected(f"u{n % 5}", f"i{n % 7}", 1000 - n) for n in range(9, 90)]  # the first nine tenths in time
    assert published["training"].sum == f"{sum(int(each, 16) for each in training) % 2**64:016x}"
    toys = dataclasses.replace(get("amazon-toys"), rows=published)
    monkeypatch.setattr("flipbench.cli.rows.get", lambda name: toys if name == "amazon-toys" else get(name))
    code, out, _ = cli("data", "rows", tmp_path / "mine.yaml", "--check", "amazon-toys")
    assert code == 0
    assert out.count(" equal\n") == len(published)
    assert cli("data", "rows", "planted-tiny", "--check", "movielens-1m")[0] == 3
    assert (
        "--check goodreads: no row hashes of it are published; valid: amazon-toys, movielens-1m, or a file"
        in refused("data", "rows", tmp_path / "mine.yaml", "--check", "goodreads")
    )


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_two_groups_count_the_rows_that_differ(imported, cli, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr("flipbench.cli.rows.get", lambda name: dataclasses.replace(get(name), rows={}))
    file = tmp_path / name
    imported()
    code, out, _ = cli("data", "rows", "movielens-1m", "--to", file)
    assert code == 0
    assert f"a hash a row in {file}" in out
    code, out, _ = cli("data", "rows", "movielens-1m", "--check", file)
    assert code == 0
    assert "equal: the same rows in the same order" in out
    first = file.read_bytes()
    cli("data", "rows", "movielens-1m", "--to", file)
    assert file.read_bytes() == first

    imported(ratings(58, first=4))  # the other group lacks the first four rows, and has two later ones
    code, out, _ = cli("data", "rows", "movielens-1m", "--check", file, "--json")
    assert code == 3
    compared = json.loads(out)["compared"]
    assert compared["training"] == {"shared": 50, "ours": 2, "theirs": 4, "same_order": True, "equal": False}
    assert compared["test"] == {"shared": 4, "ours": 2, "theirs": 2, "same_order": True, "equal": False}
    code, out, _ = cli("data", "rows", "movielens-1m", "--check", file)
    assert code == 3
    assert re.search(r"^training +50 +2 +4 +the same$", out, re.M)
    assert out.endswith("the rows differ\n")


def test_another_group_s_file_may_lack_parts_and_have_another_order(imported, cli, tmp_path: Path) -> None:
    table = imported()
    parts = parts_of(table, "chronological", hash_rows(table)[0])
    file = tmp_path / "theirs.csv"
    row_hashes.write(file, {"training": parts["training"][::-1]})
    code, out, _ = cli("data", "rows", "movielens-1m", "--check", file)
    assert code == 3
    assert re.search(r"^training +54 +0 +0 +another$", out, re.M)
    assert f"test: not in {file}\n" in out
    row_hashes.write(file, {"training": parts["training"]})
    code, out, _ = cli("data", "rows", "movielens-1m", "--check", file, "--order", "chronological", "--json")
    assert [each["equal"] for each in json.loads(out)["compared"].values()] == [True]


def test_rows_that_occur_several_times_count_as_often() -> None:
    ours, theirs = np.array([5, 5, 5, 7, 9], np.uint64), np.array([5, 7, 5, 8], np.uint64)
    difference = compare(ours, theirs)
    assert (difference.shared, difference.ours, difference.theirs) == (3, 2, 1)
    assert not difference.same_order
    assert row_hashes.digest(ours).sum == f"{31:016x}"
    assert row_hashes.digest(np.array([2**64 - 1, 3], np.uint64)).sum == f"{2:016x}"


BAD = {
    "no such file": (None, "theirs.csv: no such file"),
    "another header": (b"hash\n00\n", "theirs.csv:1: another header than part,hash"),
    "empty": (b"", "theirs.csv:1: another header"),
    "no row": (b"part,hash\n", "theirs.csv: no row in it"),
    "a part of another name": (
        b"part,hash\ntraining,0123456789abcdef\nteste,0123456789abcdef\n",
        "theirs.csv:3: unknown part 'teste'; did you mean 'test'?",
    ),
    "too short": (b"part,hash\ntest,0123456789abcde\n", "theirs.csv:2: not a part and a hash of 16"),
    "a blank in it": (b"part,hash\ntest,0123456789ab  ef\n", "theirs.csv:2: not a part and a hash of 16"),
    "no digits": (b"part,hash\ntest,0123456789abcdeg\n", "theirs.csv:2: not a part and a hash of 16"),
    "three columns": (b"part,hash\ntest,0123456789abcdef,1\n", "theirs.csv:2: not a part and a hash of 16"),
    "no text": (b"part,hash\ntest,\xff\xfe\n", "theirs.csv:1: not a part"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_one_line(refused, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "theirs.csv"
    if content is not None:
        file.write_bytes(content)
    assert message in refused("data", "rows", "planted-tiny", "--check", file)


@pytest.mark.parametrize(
    "content",
    [b"part,hash\n", gzip.compress(b"part,hash\n" + b"test,0123456789abcdef\n" * 999)[:-9]],
    ids=["not one", "cut"],
)
def test_a_damaged_gzip_file_is_one_line(refused, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "theirs.csv.gz").write_bytes(content)
    assert "theirs.csv.gz: cannot be read: a damaged gzip file" in refused(
        "data", "rows", "planted-tiny", "--check", tmp_path / "theirs.csv.gz"
    )


def test_what_cannot_be_written_or_prepared_is_one_line(refused, tmp_path: Path) -> None:
    assert "nowhere" in refused("data", "rows", "planted-tiny", "--to", tmp_path / "nowhere" / "rows.csv")
    assert "'movielens-1m' is not prepared" in refused("data", "rows", "movielens-1m")
    assert "did you mean 'movielens-1m'" in refused("data", "rows", "movielens")
