"""``data describe``: what is guessed of files of every kind, the file that is written, and what is refused."""

import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import movielens_formats
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from tables import corrupted

from flipbench import yamlfile
from flipbench.data import store
from flipbench.data.own import description_file, sample
from flipbench.data.own.describe import describe
from flipbench.data.own.describe_text import written
from flipbench.data.own.draft import Draft
from flipbench.data.table import Table
from flipbench.errors import UserError

ATOMIC = """\
# Guessed by 'flipbench data describe' from all 9 rows: check it, and edit what is not so.
dataset: ml-1m
title: ml-1m
# citation: whom to cite
# licence: what use is allowed
files:
  interactions: atomic/ml-1m.inter
  users: {file: atomic/ml-1m.user, key: user_id}
  items: {file: atomic/ml-1m.item, key: movie_id}
format: {types: true}

label: {column: rating, positive: "> 3"}                      # a rating from 1 to 5, above 3 in 44% of the rows
# with drop: [3] beside it, rows whose value is 3 are left out, as the paper does with MovieLens-1M
user: user_id                                                 # the key of users
item: movie_id                                                # the key of items
time: timestamp                                               # by its name; seconds since 1970, such as 978300760
# ties: [user_id, movie_id] would order the rows of one time by these, instead of as in the file
split: {test: 0.1}                                            # the last tenth in time

# clean: false would leave texts as they are; else HTML entities, tags and doubly encoded letters are mended
# In order, as models see them. Beside its column a field may have
#   words: what a prompt calls it          side: user, item or context
#   buckets: of numbers, {quantiles: 10}, {log: 2} or {edges: [0, 10]}, fitted on training rows alone
#   many: "|", what separates several values, of which take: first, or all as one text
fields:
  - {column: user_id}
  - {column: gender}
  - {column: age}
  - {column: occupation}
  - {column: zipcode}
  - {column: movie_id}
  - {column: title}
  - {column: genre, many: " ", take: first}                   # its type is token_seq; take: all makes one text of all
  # - timestamp                                               # is the time
"""


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV of columns, each as long as the longest, shorter ones repeated."""

    def write(
        name: str = "clicks.csv", separator: str = ",", encoding: str = "utf-8", **columns: Iterable[Any]
    ) -> Path:
        listed = {key: list(values) for key, values in columns.items()}
        rows = max(map(len, listed.values()))
        frame = pd.DataFrame({key: [values[n % len(values)] for n in range(rows)] for key, values in listed.items()})
        frame.to_csv(path := tmp_path / name, index=False, sep=separator, encoding=encoding)
        return path

    return write


def content(draft: Draft) -> dict[str, Any]:
    """The written file, read."""
    path = draft.source.interactions[next(iter(draft.source.interactions))].parent / "read-back.yaml"
    path.write_text(written(draft, path.parent), encoding="utf-8")
    read: dict[str, Any] = yamlfile.load(path)
    description_file.load(path)  # the reader of descriptions takes it
    path.unlink()
    return read


def opened(draft: Draft) -> Table:
    """The table of the written file."""
    path = draft.source.interactions[""].parent / "mine.yaml"
    path.write_text(written(draft, path.parent), encoding="utf-8")
    return store.open_table(str(path))


def fields(draft: Draft) -> dict[str, dict[str, Any]]:
    return {each.pop("column"): each for each in content(draft)["fields"]}


def left_out(draft: Draft) -> dict[str, str]:
    return dict(draft.left_out)


def why(draft: Draft, what: str) -> str:
    return next(f"{value}: {reason}" for kind, value, reason in draft.notes if kind == what)


def test_atomic_files(raw: Callable[..., Path], tmp_path: Path, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    movielens_formats.atomic(raw(), tmp_path / "atomic")
    code, out, _ = cli("data", "describe", "atomic")
    assert code == 0
    assert (tmp_path / "ml-1m.yaml").read_text() == ATOMIC
    assert re.search(r"^label +rating > 3 +a rating from 1 to 5, above 3 in 44% of the rows$", out, re.M)
    assert re.search(r"^rows +9 +all of them$", out, re.M)
    assert out.endswith("data: [ml-1m.yaml]\n")
    for path in ("atomic/ml-1m.inter", "atomic/"):
        assert cli("data", "describe", path, "--to", "other.yml")[0] == 0
        assert (tmp_path / "other.yml").read_text() == ATOMIC
        (tmp_path / "other.yml").unlink()


def test_atomic_files_in_parts_and_of_every_type(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 7}\ti{n % 5}\t{n % 2}\ta {n % 3}\t0.1 0.2\t{n / 8}\t{n % 3}\n" for n in range(80))
    header = "user_id:token\titem_id:token\tlabel:float\ttags:token_seq\tvector:float_seq\tprice:float\tday:float\n"
    for part in ("train", "valid", "test"):
        (tmp_path / f"mine.{part}.inter").write_text(header + rows)
    draft = describe(tmp_path)
    read = content(draft)
    assert read["dataset"] == "mine"
    assert read["files"]["interactions"] == {part: f"mine.{part}.inter" for part in ("train", "valid", "test")}
    assert (read["split"], read["order"], read["label"]) == ("files", "file", "label")
    assert fields(draft)["price"] == {"buckets": {"quantiles": 10}}
    assert fields(draft)["tags"] == {"many": " ", "take": "first"}
    assert "vector" in left_out(draft)


def test_a_reczoo_folder_with_its_configuration(raw: Callable[..., Path], tmp_path: Path) -> None:
    folder = movielens_formats.in_parts(raw(), tmp_path / "Reczoo x1")
    config = (folder / "dataset_config.yaml").read_text()
    config = config.replace("gender, age,", "gender, nowhere,")
    (folder / "dataset_config.yaml").write_text(config)
    draft = describe(folder)
    read = content(draft)
    assert read["dataset"] == "reczoo-x1"
    assert read["files"]["interactions"] == {part: f"{part}.csv" for part in ("train", "valid", "test")}
    assert (read["split"], read["order"], read["label"]) == ("files", "file", "label")
    names = ["user_id", "gender", "occupation", "zipcode", "movie_id", "title", "genre"]
    assert list(fields(draft)) == names
    assert fields(draft)["genre"] == {"many": "^", "take": "first"}
    assert left_out(draft) == {"age": "not among the active features of dataset_config.yaml"}
    assert "lists 'nowhere', which train.csv has not" in str(draft.notes)
    (folder / "dataset_config.yaml").write_text("feature_cols: &x [*x]\n")
    draft = describe(folder)
    assert "dataset_config.yaml is not used, columns are guessed from the files: " in str(draft.notes)
    assert set(fields(draft)) | set(left_out(draft)) == {*names, "age"}


def test_types_of_a_configuration(tmp_path: Path) -> None:
    for part in ("train", "test"):
        rows = "".join(f"{n % 2},{n},{n},a^b,{n % 9},{n}\n" for n in range(100))
        (tmp_path / f"{part}.csv").write_text("click,price,code,tags,item_id,row\n" + rows)
    (tmp_path / "dataset_config.yaml").write_text(
        "mine:\n"
        "  feature_cols:\n"
        "  - {name: [code, item_id], active: True, dtype: str, type: categorical}\n"
        "  - {name: row, active: False, dtype: str, type: categorical}\n"
        "  - {name: tags, active: True, dtype: str, type: sequence, splitter: ^}\n"
        "  - {name: price, active: True, dtype: float, type: numeric}\n"
        "  label_col: {name: click, dtype: float}\n"
    )
    draft = describe(tmp_path)
    tags = {"many": "^", "take": "first"}
    assert fields(draft) == {"code": {}, "item_id": {}, "tags": tags, "price": {"buckets": {"quantiles": 10}}}
    assert left_out(draft) == {"row": "not among the active features of dataset_config.yaml"}
    assert content(draft)["label"] == "click"


TENTHS = [n / 10 for n in range(100)]
IDS = range(100)
COLOURS = ["red", "green", "blue", "black", "white"]

LABELS = {
    "a click": ({"click": [0, 1], "user_id": IDS}, "click"),
    "floats": ({"label": ["0.0", "1.0"], "user_id": IDS}, "label"),
    "words": ({"IsClick": ["True", "False"], "user_id": IDS}, "IsClick"),
    "a click before a rating": ({"rating": [1, 2, 3], "clicked": [0, 1], "user_id": IDS}, "clicked"),
    "a rating before a flag": ({"male": [0, 1], "rating": [1, 5, 4], "user_id": IDS}, ("rating", "> 3")),
    "a rating of ten": ({"score": [10, 1, 5, 7], "user_id": IDS}, ("score", "> 5")),
    "no average": ({"avg_rating": TENTHS, "stars": [1, 5], "user_id": IDS}, ("stars", "> 3")),
    "the only flag": ({"reacted": [0, 1], "user_id": IDS}, "reacted"),
    "a rating of halves": ({"rating": [0.5, 4.5], "user_id": IDS}, ("rating", "> 3")),
    "one class in the sample": ({"y": [1], "user_id": IDS}, "y"),
}


@pytest.mark.parametrize(("columns", "expected"), LABELS.values(), ids=LABELS)
def test_labels(table, columns: dict[str, Any], expected: Any) -> None:
    found = content(describe(table(**columns, colour=COLOURS)))["label"]
    assert (found if isinstance(found, str) else (found["column"], found["positive"])) == expected


def test_a_label_may_be_named(table, cli, refused, tmp_path: Path) -> None:
    path = table(hours=range(9), kind=["a", "b"], flag=["0", "1"], other=["1", "0", "0"])
    missing = refused("data", "describe", path)
    assert "no column looks like a label (0 and 1, or a rating); name it with --label; columns: hours, kind" in missing
    assert content(describe(path, "flag"))["label"] == "flag"
    assert content(describe(path, "hours"))["label"] == {"column": "hours", "positive": "> 5"}
    assert "did you mean 'flag'?" in refused("data", "describe", path, "--label", "flags")
    assert "column 'kind': is neither of 0 and 1 nor of numbers: a, b" in refused(
        "data", "describe", path, "--label", "kind"
    )


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("timestamp", range(978_300_000, 978_300_100), "seconds since 1970"),
        ("Timestamp", (f"{n}.5" for n in range(978_300_000, 978_300_100)), "seconds since 1970"),
        ("unixReviewTime", range(1_400_000_000_000, 1_400_000_000_100), "milliseconds since 1970"),
        ("date", ["2015-03-29", "2014-01-02"], "ISO dates,"),
        ("when", ["2015-03-29T10:11:12Z", "2015-03-29T10:11:13Z"], "ISO dates and times"),
        ("created_at", ["2015-03-29 10:11:12.5", "2015-03-29 10:11:12"], "ISO dates and times"),
        ("hour", [14102100, 14102101, 14103023], None),
        ("hour", [2014102100, 2014102101, 2014103023], None),
        ("time", range(100), "numbers that are sorted as they are"),
        ("play_time", range(7_000, 7_100), None),
        ("release_year", range(1900, 2000), None),
        ("hour", range(24), None),
        ("date", ["29/03/2015", "30/03/2015"], None),
        ("timestamp", ["", 978_300_000], None),
    ],
)
def test_times(table, name: str, values: Iterable[Any], unit: str | None) -> None:
    draft = describe(table(label=[0, 1, 1], user_id=IDS, colour=COLOURS, **{name: values}))
    if unit is None and name != "hour":
        assert draft.time is None
        assert content(draft)["order"] == "shuffled"
    elif unit:
        assert content(draft)["time"] == name
        assert unit in why(draft, "time")
        assert left_out(draft)[name] == "is the time"
        moments = store.times(opened(draft))
        assert moments is not None
        assert moments.tolist() == sorted(moments.tolist())


def test_the_hour_of_avazu_is_a_time_and_the_hour_of_a_day_is_none(table) -> None:
    avazu = describe(table(click=[0, 1], device=IDS, colour=COLOURS, hour=[14102100 + n for n in range(60)]))
    assert (avazu.time.column if avazu.time else None) == "hour"
    assert describe(table(click=[0, 1], device=IDS, colour=COLOURS, hour=range(24))).time is None


def test_users_items_and_what_describes_them(table) -> None:
    draft = describe(
        table(
            userId=[n % 10 for n in range(400)],
            age=[n % 10 % 3 for n in range(400)],
            itemID=[n // 2 % 20 for n in range(400)],
            brand=[f"b{n // 2 % 20 // 4}" for n in range(400)],
            movie_length=[n * 7 % 11 for n in range(400)],
            device=["phone", "desk", "pad"],
            clicked=[n * 13 % 7 % 2 for n in range(400)],
        )
    )
    read = content(draft)
    assert (read["user"], read["item"], read["order"], read["split"]) == ("userId", "itemID", "shuffled", {"test": 0.1})
    sides = {name: each.get("side") for name, each in fields(draft).items()}
    assert sides == {
        **{"userId": None, "age": "user", "itemID": None, "brand": "item"},
        **{"movie_length": "item", "device": None},
    }
    assert why(draft, "field age") == "side user: each user has one value of it"
    assert why(draft, "field movie_length") == "side item: by its name"
    nobody = describe(table(clicked=[0, 1], f1=range(9), f2=["x", "y", "z"]))
    assert (nobody.user, nobody.item) == (None, None)
    assert "tests resample rows" in why(nobody, "user")


AMOUNTS = {
    "prices": ("cost", [f"{n}.99" for n in range(100)], {"quantiles": 10}),
    "few floats": ("grade", ["1.0", "2.0", "3.5"] * 40, None),
    "counts": ("views", range(100), {"quantiles": 10}),
    "heavy tail": ("seen", [*range(1, 60), *[9_000, 90_000]] * 2, {"log": 2}),
    "ids": ("shop_id", range(1000, 1100), None),
    "zip codes": ("zip_code", range(10_000, 10_100), None),
    "of Criteo": ("I3", range(100), {"quantiles": 10}),
    "hashed, of Criteo": ("C3", range(100), None),
    "whole numbers": ("thing", range(100), None),
    "below zero": ("balance", [n / 3 - 9 for n in range(100)], {"quantiles": 10}),
    "mixed": ("price", [*range(100), "n/a"], None),
}


@pytest.mark.parametrize(("name", "values", "expected"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_want_buckets_and_codes_do_not(table, name: str, values: Iterable[Any], expected: Any) -> None:
    repeated = [value for value in values for _ in range(2)]
    draft = describe(table(label=[0, 0, 1], **{name: repeated}, other=COLOURS))
    assert fields(draft)[name].get("buckets") == expected


MANY = {
    "bars": ("genres", ["Drama|War", "Drama", "War|Comedy|Drama", "Comedy"], "|"),
    "commas, few tags": ("tags", [f"t{n % 5},t{n % 7},t{n % 3}" for n in range(100)], ","),
    "titles": ("film", ["Misérables, Les", "Godfather, The", "Bug's Life, A", "Matrix"], None),
    "a title's bars": ("title", ["Face|Off", "X|Y"], None),
    "one blank": ("place", ["New York", "San Jose"], None),
}


@pytest.mark.parametrize(("name", "values", "expected"), MANY.values(), ids=MANY)
def test_many_values_in_one(table, name: str, values: list[str], expected: str | None) -> None:
    draft = describe(table(label=[0, 0, 1], **{name: values * 2}, other=COLOURS))
    assert fields(draft)[name].get("many") == expected


def test_columns_that_are_no_fields(table) -> None:
    rows = 240
    draft = describe(
        table(
            **{"Unnamed: 0": range(rows)},
            label=[int(n % 5 > 2) for n in range(rows)],
            stars=[n % 5 + 1 for n in range(rows)],
            user_id=[n % 7 for n in range(rows)],
            event=[f"e{n}" for n in range(rows)],
            country=["NL"],
            nothing=[""],
            page=["a", "b", "c", "d"],
        )
    )
    assert left_out(draft) == {
        "Unnamed: 0": "numbers the rows",
        "stars": "the label follows from it: a model would know the answer",
        "event": "has another value in every row",
        "country": "has one value in the sample, NL",
        "nothing": "empty in the sample",
    }
    assert list(fields(draft)) == ["user_id", "page"]
    text = written(draft, Path())
    assert re.search(r'^  # - "Unnamed: 0" +# numbers the rows$', text, re.M)


def test_names_that_cannot_be_written_are_said_to_be_left_out(table, tmp_path: Path) -> None:
    path = table(label=[0, 0, 1], **{"": IDS, "a\u202eb": COLOURS, " ": COLOURS}, user_id=COLOURS, page=["x", "y"])
    draft = describe(path)
    why = "its name is blank, or has a sign that cannot be printed"
    assert left_out(draft) == {"": why, "a\u202eb": why, " ": why}
    assert list(fields(draft)) == ["user_id", "page"]
    assert r"# - 'a\u202eb'" in written(draft, tmp_path)


def test_a_column_says_the_part(table) -> None:
    draft = describe(table(label=[0, 1], user_id=IDS, colour=COLOURS, fold=["Train", "val", "Train", "Train", "test"]))
    assert content(draft)["split"] == {"column": "fold", "train": "Train", "valid": "val", "test": "test"}
    assert content(draft)["order"] == "file"
    assert left_out(draft)["fold"] == "says which part a row is in"


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("TR", "TE"), ("Training", "Test")])
def test_a_part_that_comes_after_the_sample_is_guessed(table, train: str, test: str) -> None:
    draft = describe(table(label=[0, 1], user_id=IDS, colour=COLOURS, split=[train]))
    assert content(draft)["split"] == {"column": "split", "train": train, "test": test}
    assert "that of test is a guess, and valid may have one too" in why(draft, "split")


FORMS = {
    "semicolons": ("clicks.csv", {"separator": ";"}, {"separator": ";"}, "semicolon"),
    "tabs in .csv": ("clicks.csv", {"separator": "\t"}, {"separator": "\t"}, "tab"),
    "bars": ("clicks.txt", {"separator": "|"}, {"separator": "|"}, "bar"),
    "tsv": ("clicks.tsv", {"separator": "\t"}, None, "tab"),
    "gzip": ("clicks.csv.gz", {}, None, "comma"),
    "cp1252": ("clicks.csv", {"encoding": "cp1252"}, {"encoding": "cp1252"}, "comma"),
    "utf-16": ("clicks.csv", {"encoding": "utf-16"}, {"encoding": "utf-16"}, "comma"),
    "a byte order mark": ("clicks.csv", {"encoding": "utf-8-sig"}, None, "comma"),
}


@pytest.mark.parametrize(("name", "form", "expected", "separator"), FORMS.values(), ids=FORMS)
def test_forms_of_text(table, name: str, form: dict[str, str], expected: dict[str, str] | None, separator: str) -> None:
    path = table(name, **form, label=[0, 1], user_id=IDS, title=["Amélie, 2001", 'A "quoted" one', "Élan", "“Q”", "x"])
    draft = describe(path)
    assert content(draft).get("format") == expected
    assert content(draft)["files"] == {"interactions": name}
    assert content(draft)["dataset"] == "clicks"
    assert why(draft, "separator").startswith(separator)
    assert list(fields(draft)) == ["user_id", "title"]
    texts = store.values(opened(draft)).to_pylist()[100:]
    assert texts == sorted(["Amélie, 2001", 'A "quoted" one', "Élan", "“Q”", "x"])


def test_parquet_with_lists_times_and_missing_values(tmp_path: Path) -> None:
    rows = 60
    frame = pd.DataFrame(
        {
            "user_id": [n % 6 for n in range(rows)],
            "tags": [["a", "b"], [], None] * 20,
            "where": [{"city": "Delft", "zip": 1}] * rows,
            "price": [None if n % 3 == 0 else n / 7 for n in range(rows)],
            "when": pd.date_range("2020-01-01", periods=rows),
            "clicked": [n % 2 == 0 for n in range(rows)],
        }
    )
    frame.to_parquet(tmp_path / "clicks.parquet")
    draft = describe(tmp_path)
    read = content(draft)
    assert (read["label"], read["user"], read["time"]) == ("clicked", "user_id", "when")
    assert "format" not in read
    assert fields(draft)["tags"]["take"] == "first"
    assert left_out(draft)["where"] == "values of several parts, which no field can be"
    assert why(draft, "field price").endswith("33% are empty: unknown")
    own = opened(draft)
    texts = store.values(own).to_pylist()
    assert [texts[f - 1 : g - 1] for f, g in zip(own.offsets, own.offsets[1:], strict=False)][1] == ["a", "unknown"]
    moments = store.times(own)
    assert moments is not None
    assert moments[1] - moments[0] == 86_400 * 10**6, "microseconds of a day"


def test_the_rest_of_a_large_file_is_not_looked_at(tmp_path: Path, monkeypatch) -> None:
    text = "user_id,item,label\n" + "".join(f"{n},{n % 7},{n % 2}\n" for n in range(300_000)) + "broken\n"
    for path in (tmp_path / "clicks.csv", tmp_path / "packed.csv.gz"):
        path.write_bytes(text.encode() if path.suffix == ".csv" else gzip.compress(text.encode(), 1)[:-8])
        draft = describe(path)
        assert (draft.rows, draft.whole) == (100_000, False)
        assert "from the first 100,000 rows" in written(draft, tmp_path)
        assert why(draft, "rows") == f"100,000: the first of {path.name}; the rest is not looked at"
    monkeypatch.setattr(sample, "MOST_BYTES", 1 << 17)  # long rows: a bound on bytes, at the end of a row
    draft = describe(tmp_path / "clicks.csv")
    assert 10_000 < draft.rows < 200_000
    assert not draft.whole


def test_names_that_yaml_would_take_for_something_else(table) -> None:
    odd = {
        "yes: no": ["a", "b", "c"],
        "null": ["a", "b", "c"],
        "1st": ["a", "b", "c"],
        '"q"': ["a", "b", "c"],
        "a #b": ["x", "y"],
    }
    draft = describe(table("movielens-1m.csv", label=[0, 0, 1, 1, 0], **odd, é=["p", "q", "r"]))
    assert list(fields(draft)) == [*odd, "é"]
    assert content(draft)["dataset"] == "my-movielens-1m", "a registered name is not taken"


def test_a_description_is_not_overwritten(table, cli, refused, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(label=[0, 1], user_id=IDS, colour=COLOURS)
    assert cli("data", "describe", path)[0] == 0
    (tmp_path / "clicks.yaml").write_text("mine\n")
    assert "clicks.yaml: is there already; --force replaces it" in refused("data", "describe", path)
    assert (tmp_path / "clicks.yaml").read_text() == "mine\n"
    code, out, _ = cli("data", "describe", path, "--force", "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["data set"], document["written"]) == ("clicks", "clicks.yaml")
    assert {"what": "split", "guess": "{test: 0.1}", "why": "a tenth drawn once and for all"} in document["guesses"]
    assert yamlfile.load(tmp_path / "clicks.yaml")["dataset"] == "clicks"
    assert "a description ends in .yaml" in refused("data", "describe", path, "--to", path, "--force")
    assert "nowhere" in refused("data", "describe", path, "--to", tmp_path / "nowhere" / "clicks.yaml")
    (tmp_path / "sub").mkdir()
    assert cli("data", "describe", path, "--to", "sub/mine.yaml")[0] == 0
    assert yamlfile.load(tmp_path / "sub" / "mine.yaml")["files"] == {"interactions": "../clicks.csv"}


BAD = {
    "nothing there": ({}, "", "no such file or folder"),
    "an unknown suffix": ({"x.dat": b"1::2"}, "x.dat", "x.dat: its suffix says no format; valid: .csv, .txt, .tsv"),
    "empty": ({"x.csv": b""}, "x.csv", "x.csv: empty file"),
    "a header alone": ({"x.csv": b"a,label\n"}, "x.csv", "x.csv: has no row"),
    "one column": ({"x.csv": b"label\n1\n"}, "x.csv", "x.csv:1: one column, 'label'"),
    "no header": ({"x.csv": b"1,2\n3,4\n"}, "x.csv", "x.csv:1: no header: a column would be called '1'"),
    "a name twice": ({"x.csv": b"a,a,label\n1,2,0\n"}, "x.csv", "x.csv:1: column 'a' is there 2 times"),
    "a longer row": ({"x.csv": b"a,label\n1,0\n1,0,9\n"}, "x.csv", "x.csv:3: 3 values, and the header has 2"),
    "no gzip file": ({"x.csv.gz": b"a,label\n1,0\n"}, "x.csv.gz", "x.csv.gz: not a whole gzip file"),
    "a gzip file that is cut": (
        {"x.csv.gz": gzip.compress(b"a,label\n1,0\n")[:-9]},
        "x.csv.gz",
        "x.csv.gz: not a whole gzip file",
    ),
    "no Parquet file": ({"x.parquet": b"PAR1"}, "x.parquet", "x.parquet: not a whole Parquet file"),
    "an empty folder": ({"sub/readme.md": b"x"}, "sub", "sub: has no table; expected NAME.inter"),
    "several tables": ({"sub/a.csv": b"", "sub/b.csv": b""}, "sub", "sub: has 2 tables (a.csv, b.csv); expected"),
    "no test part": ({"sub/train.csv": b"", "sub/valid.csv": b""}, "sub", "sub: has 2 tables (train.csv, valid.csv)"),
    "a part twice": (
        {"sub/train.csv": b"", "sub/train.tsv": b"", "sub/test.csv": b""},
        "sub",
        "sub: which is the part 'train', train.csv or train.tsv?",
    ),
    "parts of other columns": (
        {"sub/train.csv": b"a,label\n1,0\n", "sub/test.csv": b"b,label\n1,0\n"},
        "sub",
        "test.csv:1: no column 'a', which train.csv has",
    ),
    "several data sets": ({"sub/a.inter": b"", "sub/b.inter": b""}, "sub", "has 2 files of interactions (a.inter, b"),
    "users of another": ({"sub/a.inter": b"", "sub/b.user": b""}, "sub", "b.user: belongs to no a.inter beside it"),
    "users alone": ({"a.user": b"x:token\ty:token\n1\t2\n"}, "a.user", "a.user: has no interactions"),
    "no key": (
        {"a.inter": b"u:token\tlabel:float\n1\t0\n", "a.user": b"w:token\tage:token\n1\t0\n"},
        "a.inter",
        "a.user: shares no column with a.inter, to be joined by",
    ),
    "separators that differ": (
        {"a.inter": b"u:token\tlabel:float\n1\t0\n", "a.user": b"u:token,age:token\n1,0\n"},
        "a.inter",
        "a.user: values between commas, in a.inter between tabs",
    ),
    "no field": (
        {"x.csv": b"label,n\n0,\n1,\n"},
        "x.csv",
        "x.csv: fewer than two columns are left for fields: n empty in the",
    ),
}


@pytest.mark.parametrize(("files", "path", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_described_is_one_line(
    refused, tmp_path: Path, monkeypatch, files, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert message in refused("data", "describe", tmp_path / (path or "nothing"))
    assert not list(tmp_path.glob("*.yaml"))


def test_too_many_columns_are_refused(table) -> None:
    many = {f"a_rather_long_name_of_a_column_{n}": ["a", "b", "c"] for n in range(1_500)}
    with pytest.raises(UserError, match=r"clicks: 1,500 columns are more than a description may list"):
        written(describe(table(label=[0, 1], **many)), Path())


CSV = b"user_id,item,price,when,label\n" + b"".join(
    b"u%d,%d,%d.5,2020-01-%02d,%d\n" % (n % 5, n % 7, n, n % 28 + 1, n % 2) for n in range(70)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corrupted(CSV, b",", b"\n", b'"', b"\0", b"\r", b"\xff\xfe", b"|", b";", "\u2028é".encode(), most=5))
def test_any_changed_bytes_give_an_error_or_a_description(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes(data)
    try:
        draft = describe(path)
        read = content(draft)
    except UserError as error:
        assert re.match(rf"{re.escape(str(path))}(:\d+)?: \S", str(error))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert read["fields"]
        assert {"dataset", "files", "label", "split"} <= read.keys()
