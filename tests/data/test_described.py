"""Data sets that a YAML file describes: what is read of which file, in what order and parts, and what is refused."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pandas as pd
import pyarrow as pa
import pytest
from own_data import CSV, HEADER, ROWS
from pyarrow import parquet

from flipbench.data import dataset, split, store
from flipbench.data.check import check
from flipbench.data.fetch import import_from
from flipbench.data.own import columns
from flipbench.data.table import Table
from flipbench.errors import UserError

Own = Callable[..., Table]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """Writes interactions and their description, and prepares the table."""

    def prepare(content: str | bytes = CSV, **changes: str) -> Table:
        return import_from(str(own_data.write(tmp_path / "own", content, **changes)))

    return prepare


def rows(table: Table) -> list[tuple[str, ...]]:
    """Every row in words, with its label."""
    strings = store.values(table).to_pylist()
    return [(*(strings[i - 1] for i in ids), str(label)) for ids, label in zip(table.ids, table.labels, strict=True)]


def column(table: Table, name: str) -> list[str]:
    at = [field.name for field in table.fields].index(name)
    return [row[at] for row in rows(table)]


def with_row(row: str, at: int = 9) -> str:
    """The interactions with a row more, which stands in line ``at + 2``."""
    return "\n".join([HEADER, *ROWS[:at], row, *ROWS[at:]]) + "\n"


def test_a_file_is_read_as_it_says(own: Own) -> None:
    table = own()
    assert [(f.name, f.words, f.side) for f in table.fields] == [
        ("user_id", "user id", "user"),
        ("item_id", "item id", "item"),
        ("title", "title", "item"),
        ("device", "device", "context"),
    ]
    fields = [row.split(",") for row in ROWS]
    assert rows(table) == [(user, item, title, device, label) for user, item, title, _, device, label, _ in fields]
    assert (table.user_column, table.item_column, split.sizes(table)) == (0, 1, (36, 36))
    assert "sorted" not in table.meta
    assert (table.meta["first_time"], table.meta["last_time"]) == ("1000", "1039")


def test_rows_that_are_not_sorted_by_time_are_sorted_and_it_is_said(own: Own, cli: Any, tmp_path: Path) -> None:
    as_is, table = own(), own("\n".join([HEADER, *ROWS[::-1]]))
    assert table.meta["sorted"] == "rows were not in the order of 'time' and were sorted"
    assert table.fingerprint == as_is.fingerprint
    code, out, _ = cli("data", "import", tmp_path / "own/my-clicks.yaml")
    assert code == 0
    assert "sorted: rows were not in the order of 'time' and were sorted" in out
    assert "were sorted" in cli("data", "check", tmp_path / "own/my-clicks.yaml")[1]


def test_rows_of_one_time_stand_as_in_the_file_or_by_the_columns_that_order_them(own: Own) -> None:
    same = CSV.replace(",100", ",7,").replace(",7,", ",7")  # ten rows of times 70 to 79, the rest as it was
    lines = [HEADER, *(f"{line.rsplit(',', 1)[0]},{n // 10}" for n, line in enumerate(ROWS))]
    assert same != CSV
    assert rows(own("\n".join(lines))) == rows(own())
    tied = rows(own("\n".join(lines), ties="[item_id, user_id]"))
    assert tied != rows(own())
    assert [row[1] for row in tied[:10]] == sorted(row[1] for row in tied[:10])
    numbers = "\n".join([HEADER, *(f"u,{n},t,1,d,{n % 2},5" for n in (10, 9, 100, 11))])
    assert column(own(numbers, ties="[item_id]", split="{test: 0.5}"), "item_id") == ["9", "10", "11", "100"]


TEXTS = {
    "as it is": (CSV.encode(), {}),
    "with a byte order mark": (b"\xef\xbb\xbf" + CSV.encode(), {}),
    "with CRLF": (CSV.replace("\n", "\r\n").encode(), {}),
    "with CR": (CSV.replace("\n", "\r").encode(), {}),
    "without a last line end": (CSV.strip().encode(), {}),
    "with blank lines": (CSV.replace("\nu5", "\n\nu5").encode() + b"\n\n", {}),
    "all in quotes": ("\n".join('"' + '","'.join(r.split(",")) + '"' for r in CSV.splitlines()).encode(), {}),
    "in UTF-16": (CSV.encode("utf-16"), {"format": "{encoding: utf-16}"}),
    "with other separators": (CSV.replace(",", ";").encode(), {"format": '{separator: ";"}'}),
    "with types": (CSV.replace("user_id,", "user_id:token,", 1).encode(), {"format": "{types: true}"}),
    "with columns that nobody reads twice": ("".join(f"{r},x,x\n" for r in CSV.split("\n")[:-1]).encode(), {}),
}


@pytest.mark.parametrize(("content", "changes"), TEXTS.values(), ids=TEXTS)
def test_texts_in_any_form_give_one_table(own: Own, content: bytes, changes: dict[str, str]) -> None:
    assert own(content, **changes).fingerprint == own().fingerprint


FILES: dict[str, Callable[[Path], object]] = {
    "clicks.csv.gz": lambda path: path.write_bytes(gzip.compress(CSV.encode())),
    "clicks.tsv": lambda path: path.write_text(CSV.replace(",", "\t")),
    "clicks.tsv.gz": lambda path: path.write_bytes(gzip.compress(CSV.replace(",", "\t").encode())),
    "clicks.inter": lambda path: path.write_text(CSV.replace(",", "\t")),
    "clicks.parquet": lambda path: pd.read_csv(path.with_name("clicks.csv")).to_parquet(path),
}


@pytest.mark.parametrize("file", FILES)
def test_files_of_every_format_give_one_table(own: Own, tmp_path: Path, file: str) -> None:
    table = own()
    FILES[file](tmp_path / "own" / file)
    own_data.describe(tmp_path / "own", files=f"{{interactions: {file}}}")
    other = import_from(str(tmp_path / "own/my-clicks.yaml"))
    assert (other.fingerprint, rows(other)) == (table.fingerprint, rows(table))


def test_values_of_parquet_files_are_read_as_they_would_be_written(own: Own, tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=40)
    frame = pd.DataFrame(
        {
            "user_id": pd.array([n % 7 for n in range(39)] + [None], "Int64"),
            "item_id": [float(n % 5) for n in range(40)],
            "title": pd.Categorical([f"T{n % 5}" for n in range(40)]),
            "tags": [["a", "b"][: n % 3] for n in range(40)],
            "fresh": [n % 2 == 0 for n in range(40)],
            "clicked": [n % 3 == 0 for n in range(40)],
            "time": days[::-1],
        }
    )
    own()
    frame.to_parquet(tmp_path / "own/clicks.parquet")
    fields = '[item_id, title, {column: tags, many: ",", take: all}, fresh, {column: user_id, side: user}]'
    changes = {"files": "{interactions: clicks.parquet}", "fields": fields, "user": ""}
    own_data.describe(tmp_path / "own", **changes, split="{test_from: 2024-02-01}")
    table = import_from(str(tmp_path / "own/my-clicks.yaml"))
    assert rows(table)[0] == ("4", "T4", "unknown", "false", "unknown", "1")
    assert rows(table)[1] == ("3", "T3", "a, b", "true", "3", "0")
    assert split.sizes(table) == (31, 31)
    assert table.meta["first_time"] == "2024-01-01 00:00:00"
    own_data.describe(tmp_path / "own", **changes | {"fields": "[item_id, tags]"})
    with pytest.raises(UserError, match=r"clicks\.parquet:3: column 'tags': has a list of values; give the field many"):
        import_from(str(tmp_path / "own/my-clicks.yaml"))


REFUSED = {
    "a label of 2": (with_row("u1,2,x,1,phone,2,1"), {}, r"csv:11: column 'clicked': '2' is no 0 or 1, .* rule makes"),
    "a label in words": (with_row("u1,2,x,1,phone,yes,1"), {}, r"csv:11: column 'clicked': 'yes' is no 0 or 1"),
    "a label that cannot be seen": (
        with_row("u1,2,x,1,phone,\u200b\x1b[2J,1"),
        {},
        r"csv:11: column 'clicked': '\\u200b\\x1b\[2J' is no 0",
    ),
    "no label": (with_row("u1,2,x,1,phone,,1"), {}, r"csv:11: column 'clicked': is empty"),
    "no user": (with_row(",2,x,1,phone,0,1"), {}, r"csv:11: column 'user_id': is empty"),
    "no time": (with_row("u1,2,x,1,phone,0,"), {}, r"csv:11: column 'time': is empty"),
    "a time in words": (with_row("u1,2,x,1,phone,0,noon"), {}, r"csv:11: column 'time': 'noon' is not a number, an I"),
    "a time of another kind": (
        with_row("u1,2,x,1,phone,0,2024-01-01"),
        {},
        r"csv:11: column 'time': '2024-01-01' is not a number",
    ),
    "a number in words": (
        with_row("u1,2,x,cheap,phone,0,1"),
        {"fields": "[user_id, item_id, {column: price, buckets: {quantiles: 4}}]"},
        r"csv:11: column 'price': 'cheap' is no number",
    ),
    "a rating in words": (
        with_row("u1,2,x,1,phone,good,1"),
        {"label": '{column: clicked, positive: "> 0"}'},
        r"csv:11: column 'clicked': 'good' is no number, and the label is one with > 0",
    ),
    "an id with zeros": (
        with_row("u1,02,x,1,phone,0,1"),
        {"fields": "[user_id, {column: item_id, numbers: true}]"},
        r"csv:11: column 'item_id': '02' is no whole number",
    ),
    "a value too few": (with_row("u1,2,x,1,phone,0"), {}, r"csv:11: 6 values, and the header has 7$"),
    "a value too many": (with_row("u1,2,x,1,phone,0,1,1"), {}, r"csv:11: 8 values, and the header has 7$"),
    "a fault after a blank line": (with_row("\nu1,2,x,1,phone,7,1"), {}, r"csv:12: column 'clicked': '7'"),
    "Latin-1": (
        with_row("u1,2,é,1,phone,0,1").encode("latin-1"),
        {},
        r"csv:11: column 'title': byte 0xe9 is no UTF-8; give its encoding",
    ),
    "no ASCII": (
        with_row("u1,2,é,1,phone,0,1").encode("latin-1"),
        {"format": "{encoding: ascii}"},
        r"csv:11: no ascii \(ordinal not in range\(128\)\)",
    ),
    "UTF-16 that nobody declared": (CSV.encode("utf-16"), {}, r"csv:1: is in UTF-16: give format"),
    "an open quote": (with_row('u1,2,"x,1,phone,0,1'), {}, r"csv:11: 3 values, and the header has 7"),
    "an open quote at the end": (
        CSV.replace("user_id,item_id", "item_id,user_id") + '3,u1,x,1,phone,0,"7\n3,u1,x,1,phone,0,7\n',
        {"time": ""},
        r"csv:42: a quote is opened and not closed",
    ),
    "two open quotes": (
        with_row('u1,2,"b,1,phone,0,5\nu1,2,"b,1,phone,0,5'),
        {},
        r"csv:11: quotes: ',' expected after '\"'",
    ),
    "a column that is there twice": (
        CSV.replace(",time", ",clicked", 1),
        {"time": ""},
        r"csv:1: column 'clicked' is there 2 times",
    ),
    "a misspelt label": (CSV, {"label": "click"}, r"csv: no column 'click'; did you mean 'clicked'\?"),
    "a misspelt field": (CSV, {"fields": "[user_id, item_id, titel]"}, r"csv: no column 'titel'; did you mean 'title'"),
    "one class": (CSV.replace(",1,1", ",0,1"), {}, r"csv: column 'clicked': all 36 rows of the training part are 0"),
    "one class in the test part": (
        "\n".join([HEADER, *ROWS[:36], *(row.replace(",1,1", ",0,1") for row in ROWS[36:])]),
        {},
        r"csv: column 'clicked': all 4 rows of the test part are 0: there is nothing to tell apart",
    ),
    "an empty file": (b"", {}, r"csv: empty file"),
    "a header alone": (f"{HEADER}\n", {}, r"csv: no rows"),
    "other separators": (CSV.replace(",", ";"), {}, r"csv: no column 'clicked'; valid: user_id;item_id;"),
    "only rows to drop": (CSV, {"label": "{column: clicked, drop: [0, 1]}"}, r"csv: column 'clicked': no row is left"),
    "an unknown part": (
        CSV,
        {"split": "{column: device, train: phone, test: desktop}", "fields": "[user_id, item_id]"},
        r"csv:3: column 'device': 'desk' is no part; did you mean 'desktop'\?",
    ),
    "a date among numbers": (
        CSV,
        {"split": "{test_from: 2024-01-01}"},
        r"split.test_from: '2024-01-01' is not a number",
    ),
    "parts the wrong way round": (CSV, {"split": "{test_from: 1010, valid_from: 1020}"}, r"valid_from: lies after"),
    "a split without test rows": (CSV, {"split": "{test_from: 5000}"}, r"split: the test part has none of the 40 rows"),
    "a file that is not there": (CSV, {"files": "{interactions: klicks.csv}"}, r"klicks\.csv: no such file"),
}


@pytest.mark.parametrize(("content", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_file_row_and_column(
    own: Own, home: Path, content: str | bytes, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        own(content, **changes)
    assert "\n" not in str(error.value)
    assert not [*home.glob("data/*.*/meta.json")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_block_by_block_gives_the_same_table_and_the_same_rows(own: Own, monkeypatch: Any, encoding: str) -> None:
    content = with_row('u1,2,"a\nb, ""c""\n",1,phone,0,1008').replace("Title 3", "Tïtle 3").encode(encoding)
    faulty = with_row('u1,2,"a\nb",1,phone,0,1008\nu1,2,x,1,phone,7,5', 30).encode(encoding)
    form = {"format": f"{{encoding: {encoding}}}"}
    whole = own(content, **form)
    monkeypatch.setattr(columns, "BLOCK", 150)
    monkeypatch.setattr(columns, "ROWS", 7)
    assert own(content, **form).fingerprint == whole.fingerprint
    with pytest.raises(UserError, match=r"csv:33: column 'clicked': '7'"):
        own(faulty, **form)
    with pytest.raises(UserError, match=r"csv:\d+: a row of more than 150 bytes here or later; is a quote left open\?"):
        own(with_row('u1,2,x,1,phone,0,"5').encode(encoding), **form)
    with pytest.raises(UserError, match=r"csv:21: 6 values, and the header has 7"):
        own(with_row("u1,2,x,1,phone,0", 19).encode(encoding), **form)


def test_missing_values_are_unknown_and_texts_are_cleaned_and_counted(own: Own) -> None:
    table = own(with_row('u1,2,"Tom &amp; ""Jerry"",\n <b>again</b>",1,,0,1008'))
    assert rows(table)[9] == ("u1", "2", 'Tom & "Jerry", again', "unknown", "0")
    assert (table.meta["texts_with_html_entities"], table.meta["texts_with_tags"]) == (1, 1)
    assert column(own(with_row("u1,2,Tom &amp; Jerry,1,,0,1008"), clean="false"), "title")[9] == "Tom &amp; Jerry"


def test_whole_numbers_are_sorted_as_such_unless_one_is_none(own: Own) -> None:
    ids = "\n".join([HEADER, *(f"u{n},{n},t,1,d,{n % 2},{n}" for n in range(8, 14))])
    table = own(ids, split="{test: 0.34}")
    strings = store.values(table).to_pylist()
    assert strings[table.offsets[1] - 1 : table.offsets[2] - 1] == ["8", "9", "10", "11", "12", "13"]
    for other in (
        own(ids.replace("u13,13", "u13,013"), split="{test: 0.34}"),
        own(ids.replace("u13,13", "u13,"), split="{test: 0.34}"),
    ):
        strings = store.values(other).to_pylist()
        found = strings[other.offsets[1] - 1 : other.offsets[2] - 1]
        assert found == sorted(found)


def test_a_rule_makes_labels_of_ratings_and_drops_what_is_neither(own: Own) -> None:
    rated = "\n".join([HEADER, *(f"u{n},{n},t,1,d,{n % 5 + 1},{n}" for n in range(30))])
    table = own(rated, label='{column: clicked, positive: ">= 4", drop: [3]}')
    kept = [n for n in range(30) if n % 5 != 2]
    assert table.labels.tolist() == [int(n % 5 >= 3) for n in kept]
    assert table.meta["rows_dropped_by_label"] == 6
    assert column(table, "item_id") == [str(n) for n in kept]


def test_numbers_fall_into_buckets_that_training_rows_alone_decide(own: Own) -> None:
    prices = [*range(1, 19), 1_000, 2_000]
    content = "\n".join([HEADER, *(f"u{n % 3},{n},t,{price},d,{n % 2},{n}" for n, price in enumerate(prices))])
    field = "[user_id, item_id, {column: price, side: item, buckets: {quantiles: 3}}]"
    table = own(content, fields=field)  # 18 train
    assert column(table, "price") == [*["under 6"] * 5, *["6 to 12"] * 6, *["12 or more"] * 9]
    assert dataset.get(str(Path(table.folder.parents[2], "own/my-clicks.yaml"))).orders == ("chronological",)
    cases = {
        "{log: 10}": ["1 to 10"] * 9 + ["10 to 100"] * 9 + ["1000 to 10000"] * 2,
        "{edges: [2, 10.5]}": ["under 2"] + ["2 to 10.5"] * 9 + ["10.5 or more"] * 10,
    }
    for buckets, words in cases.items():
        table = own(content, fields=f"[user_id, item_id, {{column: price, buckets: {buckets}}}]")
        assert column(table, "price") == words
    missing = content.replace(",t,5,", ",t,,")
    assert column(own(missing, fields=field), "price")[4] == "unknown"


@pytest.mark.parametrize(("take", "words"), [("first", ["a", "c", "unknown"]), ("all", ["a, b", "c", "unknown"])])
def test_of_many_values_the_first_or_all_make_one_text(own: Own, take: str, words: list[str]) -> None:
    content = "\n".join([HEADER, *(f"u{n % 3},{n},{('a|b', 'c', ' | ')[n % 3]},1,d,{n % 2},{n}" for n in range(30))])
    table = own(content, fields=f'[user_id, item_id, {{column: title, many: "|", take: {take}}}]')
    assert column(table, "title")[:3] == words


def test_tables_of_users_and_items_are_joined(own: Own, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    bare = ["user_id,item_id,clicked,time", *(",".join(np.array(row.split(","))[[0, 1, 5, 6]]) for row in ROWS)]
    changes = {
        "files": "{interactions: clicks.csv, users: {file: users.csv, key: user_id}, "
        "items: {file: i.parquet, key: item_id}}",
        "fields": "[user_id, town, item_id, title, {column: year, side: context}]",
    }
    own_data.write(folder, "\n".join(bare), **changes)
    (folder / "users.csv").write_text("town,user_id\n" + "".join(f"Town {n % 2},u{n}\n" for n in range(6)))
    items = {
        "item_id": list(range(5)),
        "title": [f"Title {n}" for n in range(5)],
        "year": [1990, 1991, None, 1993, 1994],
    }
    parquet.write_table(pa.table(items), folder / "i.parquet")
    table = import_from(str(folder / "my-clicks.yaml"))
    assert [field.side for field in table.fields] == ["user", "user", "item", "item", "context"]
    assert rows(table)[2] == ("u2", "Town 0", "2", "Title 2", "unknown", "0")
    assert rows(table)[6][:2] == ("u6", "unknown")
    assert table.meta["rows_of_unknown_users"] == sum(row.startswith("u6") for row in ROWS)
    (folder / "users.csv").write_text("town,user_id\nA,u1\nB,u2\nC,u1\n")
    with pytest.raises(UserError, match=r"users\.csv:4: column 'user_id': 'u1' occurs before"):
        import_from(str(folder / "my-clicks.yaml"))
    own_data.describe(folder, **changes | {"fields": "[user_id, twon, item_id]"})
    with pytest.raises(UserError, match=r"clicks\.csv: no column 'twon' nor in users\.csv or i\.parquet; did .*'town'"):
        import_from(str(folder / "my-clicks.yaml"))


def test_files_are_read_one_after_another(own: Own, tmp_path: Path) -> None:
    table = own()
    parts = {"a.csv": ROWS[:15], "b.csv": ROWS[15:]}
    for file, lines in parts.items():
        (tmp_path / "own" / file).write_text("\n".join([HEADER, *lines]))
    own_data.describe(tmp_path / "own", files="{interactions: [a.csv, b.csv]}")
    assert import_from(str(tmp_path / "own/my-clicks.yaml")).fingerprint == table.fingerprint
    (tmp_path / "own/b.csv").write_text("\n".join([HEADER, *ROWS[15:], "u1,2,x,1,phone,7,1"]))
    with pytest.raises(UserError, match=r"b\.csv:27: column 'clicked'"):
        import_from(str(tmp_path / "own/my-clicks.yaml"))


def parts_of(table: Table) -> tuple[list[str], list[str], list[str]]:
    """The times (in the column of titles) of the fitted, the validation and the test rows."""
    strings, order = store.values(table).to_pylist(), dataset_orders(table)[0]
    fitted, valid = split.selection_rows(table, order, "held-out", "given")
    return tuple(  # type: ignore[return-value]
        [strings[i - 1] for i in part.ids[:, 2]] for part in (fitted, valid, split.test_rows(table, order))
    )


def dataset_orders(table: Table) -> tuple[Any, ...]:
    return dataset.get(json.loads((table.folder / "meta.json").read_text())["described"]["file"]).orders


def timed(part_of: Callable[[int], str] = lambda n: "x") -> str:
    """Thirty rows whose titles are their times; the device is what ``part_of`` says."""
    return "\n".join([HEADER, *(f"u{n % 4},{n % 5},t{n:02},1,{part_of(n)},{n % 2},{n}" for n in range(30))])


def test_every_split_that_gives_a_validation_part_is_kept(own: Own, tmp_path: Path) -> None:
    times = [f"t{n:02}" for n in range(30)]
    fields = "[user_id, item_id, title]"
    shares = own(timed(), split="{test: 0.1, valid: 0.2}", fields=fields)
    assert parts_of(shares) == (times[:21], times[21:27], times[27:])
    dates = own(timed(), split="{test_from: 20, valid_from: 10}", fields=fields)
    assert parts_of(dates) == (times[:10], times[10:20], times[20:])
    named = timed(lambda n: ("tr", "va", "te")[n % 3])
    by_column = own(named, split="{column: device, train: tr, valid: va, test: te}", fields=fields)
    assert parts_of(by_column) == (times[::3], times[1::3], times[2::3])
    lines = named.split("\n")
    for file, start in (("a.csv", 1), ("b.csv", 2), ("c.csv", 3)):
        (tmp_path / "own" / file).write_text("\n".join([HEADER, *lines[start::3]]))
    files = "{interactions: {train: a.csv, valid: b.csv, test: c.csv}}"
    own_data.describe(tmp_path / "own", files=files, split="files", fields=fields)
    by_file = import_from(str(tmp_path / "own/my-clicks.yaml"))
    assert parts_of(by_file) == parts_of(by_column)
    assert by_file.fingerprint == by_column.fingerprint
    own_data.describe(tmp_path / "own", files=files, fields=fields)
    assert import_from(str(tmp_path / "own/my-clicks.yaml")).fingerprint == by_column.fingerprint


def test_parts_are_kept_when_some_users_take_part(own: Own) -> None:
    table = own(timed(), split="{test_from: 20, valid_from: 10}", fields="[user_id, item_id, title]")
    some = split.of_users(table, 0.5)
    users = {row[0] for row in rows(some)}
    assert len(users) == 2
    for whole, part in zip(parts_of(table), parts_of(some), strict=True):
        assert part == [time for time in whole if f"u{int(time[1:]) % 4}" in users]


def test_without_times_rows_stand_as_in_the_file_or_shuffled(own: Own) -> None:
    lines = [HEADER, *ROWS[::-1]]
    table = own("\n".join(lines), time="")
    assert column(table, "item_id") == [row.split(",")[1] for row in ROWS[::-1]]
    assert dataset_orders(table) == ("file", "shuffled")
    shuffled = own("\n".join(lines), time="", order="shuffled")
    assert dataset_orders(shuffled) == ("shuffled", "file")
    assert np.array_equal(split.test_rows(shuffled, "shuffled").ids, table.ids[split.permutation(40)[36:]])


def test_buckets_of_shuffled_rows_are_those_of_their_training_rows(own: Own) -> None:
    field = "[user_id, item_id, {column: price, buckets: {quantiles: 2}}]"
    table = own(time="", order="shuffled", fields=field)
    prices = np.array([float(row.split(",")[3]) for row in ROWS])
    middle = np.sort(prices[split.permutation(40)[:36]])[17]
    assert column(table, "price") == [
        f"{'under' if p < middle else ''} {middle:g} {'' if p < middle else 'or more'}".strip() for p in prices
    ]


def test_users_who_are_no_field_still_group_the_rows(own: Own) -> None:
    table = own(fields="[item_id, title]")
    test = split.test_rows(table, "chronological")
    wanted = [row.split(",")[0] for row in ROWS[36:]]
    assert [wanted.index(user) for user in wanted] == [test.groups.tolist().index(group) for group in test.groups]
    shuffled = own("\n".join([HEADER, *ROWS[::-1]]), fields="[item_id, title]")
    assert shuffled.fingerprint == table.fingerprint, "users are numbered by their names"
    some = split.of_users(table, 2 / 7)
    assert len(np.unique(some.users)) == 2
    assert len(some) in (11, 12)
    assert {line.what: line.ours for line in check(str(table.folder.parents[2] / "own/my-clicks.yaml")).lines}[
        "users"
    ] == 7


def test_without_users_every_row_stands_for_itself(own: Own) -> None:
    table = own(user="", fields="[item_id, title]")
    assert split.test_rows(table, "chronological").groups.tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match="my-clicks: validation: 'known-users' needs a column of users"):
        split.selection_rows(table, "chronological", "held-out", "known-users")
    with pytest.raises(UserError, match="my-clicks: no field is declared as 'user'"):
        split.of_users(table, 0.5)


def test_a_table_is_made_again_when_the_file_or_a_raw_file_has_changed(own: Own, tmp_path: Path) -> None:
    path = str(tmp_path / "own/my-clicks.yaml")
    first = own().fingerprint
    assert store.fingerprint(path) == first
    made = (store.folder_of("my-clicks", first) / "meta.json").stat()
    assert store.open_table(path).fingerprint == first
    assert (store.folder_of("my-clicks", first) / "meta.json").stat() == made, "nothing is made twice"
    own_data.describe(tmp_path / "own", split="{test: 0.3}")
    second = store.fingerprint(path)
    own_data.write(tmp_path / "own", CSV.replace("Title 1", "Title 7"))
    third = store.fingerprint(path)
    assert len({first, second, third}) == 3
    for each in (first, second, third):  # two files of one name are not confused
        assert store.open_table("my-clicks", fingerprint=each).fingerprint == each
    os.utime(tmp_path / "own/clicks.csv")
    assert store.fingerprint(path) == third


def test_a_changed_table_is_named_with_its_remedy(own: Own, tmp_path: Path, refused: Any, cli: Any) -> None:
    table, path = own(), tmp_path / "own/my-clicks.yaml"
    labels = table.folder / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\7")
    assert (
        f"labels.npy: changed since it was prepared (checksum differs): run 'flipbench data import {path}'"
        in refused("data", "check", path)
    )
    assert cli("data", "import", path)[0] == 0
    assert cli("data", "check", path)[0] == 0


def test_tables_that_were_prepared_are_listed(own: Own, cli: Any) -> None:
    own(title=">\n  My own\n  clicks", licence="mine")
    listed = json.loads(cli("list", "datasets", "--json")[1])[-1]
    assert (listed["name"], listed["title"], listed["licence"]) == ("my-clicks", "My own clicks", "mine")
    assert "My own clicks (" in cli("data", "list")[1]


def test_what_import_needs_is_said(own: Own, tmp_path: Path, refused: Any) -> None:
    path = own_data.write(tmp_path / "own")
    assert "names its raw files itself; leave it out" in refused("data", "import", path, "--from", tmp_path)
    assert "folder of its raw files is missing: run 'flipbench data import movielens-1m --from DIR'" in refused(
        "data", "import", "movielens-1m"
    )
    assert "no such file" in refused("data", "check", tmp_path / "none.yaml")


MISTAKES = {
    "an unknown key": ({"tiem": "time"}, "unknown key 'tiem'; did you mean 'time'?"),
    "a registered name": ({"dataset": "goodreads"}, "dataset: 'goodreads' is the name of a registered data set"),
    "a name with blanks": ({"dataset": "My clicks"}, "dataset: 'My clicks': expected a name of a-z, 0-9 and -"),
    "no name": ({"dataset": ""}, "key 'dataset' is missing"),
    "no files": ({"files": ""}, "key 'files' is missing"),
    "a list of files": (
        {"files": "[clicks.csv]"},
        "files: expected a mapping with interactions, users, items, got a l",
    ),
    "a table without a key": (
        {"files": "{interactions: clicks.csv, users: {file: u.csv}}"},
        "key 'files.users.key' is missing",
    ),
    "an unknown suffix": ({"files": "{interactions: clicks.xlsx}"}, "files: clicks.xlsx: its suffix says no format"),
    "an unknown encoding": ({"format": "{encoding: utf-9}"}, "format.encoding: unknown 'utf-9'"),
    "a long separator": ({"format": '{separator: "::"}'}, "format.separator: expected one ASCII character, got '::'"),
    "a rule without a sign": ({"label": "{column: clicked, positive: 3}"}, "label.positive: expected > >= < <= or =="),
    "a label among the fields": ({"fields": "[item_id, clicked]"}, "fields: 'clicked' is what 'label' reads"),
    "time and order": ({"order": "file"}, "order: rows are sorted by 'time'; give one of the two"),
    "ties without time": ({"time": "", "ties": "[item_id]"}, "ties: they order rows of one 'time'"),
    "an unknown order": ({"time": "", "order": "shufled"}, "order: unknown 'shufled'; did you mean 'shuffled'?"),
    "shares above 1": ({"split": "{test: 0.5, valid: 0.5}"}, "split: expected shares above 0 that leave rows to train"),
    "a date without times": ({"time": "", "split": "{test_from: 3}"}, "split.test_from: needs 'time'"),
    "files that are not given": ({"split": "files"}, "split: 'files' and files.interactions with train and test go"),
    "a split of two kinds": ({"split": "{test: 0.1, column: x}"}, "key 'split.train' is missing"),
    "one field": ({"fields": "[item_id]", "item": ""}, "fields: expected two columns or more"),
    "a field twice": ({"fields": "[item_id, item_id]"}, "fields: 'item_id' is listed twice"),
    "an unknown side": ({"fields": "[item_id, {column: title, side: itm}]"}, "fields[2].side: unknown 'itm'; did you"),
    "an unknown bucket": (
        {"fields": "[item_id, {column: price, buckets: {quantile: 3}}]"},
        "unknown key 'fields[2].buckets.quantile'; did you mean 'quantiles'?",
    ),
    "one bucket": ({"fields": "[item_id, {column: price, buckets: {quantiles: 1}}]"}, "quantiles: expected a whole"),
    "edges that fall": (
        {"fields": "[item_id, {column: price, buckets: {edges: [2, 1]}}]"},
        "edges: expected numbers th",
    ),
    "take without many": ({"fields": "[item_id, {column: title, take: all}]"}, "fields[2].take: goes with 'many'"),
    "an item that is no field": ({"fields": "[user_id, title]"}, "item: 'item_id' is not among the fields; did you"),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_the_file_are_named_with_their_key(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = own_data.write(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        dataset.get(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
