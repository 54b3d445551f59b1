"""The Amazon-Toys reader: known values in both published schemas, and lines that are wrong."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import corrupted, in_words

from flipbench.data import store
from flipbench.data.amazon_toys import ITEMS, REVIEWS
from flipbench.data.amazon_toys_reader import read
from flipbench.data.check import check
from flipbench.data.fetch import fetch, import_from
from flipbench.errors import UserError


def review(user: str, item: str, overall: float, day: int, **more: Any) -> dict[str, Any]:
    named = {"overall": overall, "reviewerID": user, "asin": item, "unixReviewTime": day * 86_400}
    return named | {"verified": True, "style": {"Size:": " Large"}, "reviewText": "Nice."} | more


def item(asin: str, **more: Any) -> dict[str, Any]:
    return {"asin": asin, "category": [], "description": ["words"], "also_buy": [], "price": "$5", **more}


NEW = [
    review("B2", "0001", 5.0, 9001),
    review("A1", "0002", 3.0, 9000),
    review("A1", "0001", 4.0, 9001),  # of one day: by user, then by item
    review("B2", "0001", 1.0, 9002),  # again: the first counts
    review("A1", "9999", 5.0, 9003),  # of no known item
    review("C3", "0003", 1.0, 9004),
]
NEW_ITEMS = [
    item("0001", title="Fox &amp; Hound\n plush", brand="Wild", category=["Toys &amp; Games", "Stuffed Animals", "x"]),
    item("0002", title="x" * 40 + " word" * 40, brand=" "),
    item("0001", title="the same again", brand="Other"),
    item("0003", brand="Wild", category=["Toys & Games"], title=None),
]
FOX = ("0001", "Stuffed Animals", "Fox & Hound plush", "Wild")
ROWS = [
    ("A1", "0002", "Toys & Games", "x" * 40 + " word" * 22, "unknown"),
    ("A1", *FOX),
    ("B2", *FOX),
    ("C3", "0003", "Toys & Games", "unknown", "Wild"),
]
"""The table in words; its labels are 0, 1, 1, 0."""


def as_lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.fixture
def raw(tmp_path: Path) -> Callable[..., Path]:
    def write(reviews: bytes = as_lines(NEW), items: bytes = as_lines(NEW_ITEMS), name: str = REVIEWS[0]) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(gzip.compress(reviews, 1, mtime=0))
        (folder / ITEMS).write_bytes(gzip.compress(items, 1, mtime=0))
        return folder

    return write


def test_rows_are_in_words_and_in_order_of_time_user_item(raw: Callable[..., Path]) -> None:
    prepared = read(raw())
    assert in_words(prepared) == ROWS
    assert prepared.labels.tolist() == [0, 1, 1, 0]
    meta = prepared.meta
    assert (meta["first_day"], meta["last_day"], meta["reviews"]) == ("1994-08-23", "1994-08-27", REVIEWS[0])
    counted = ("reviews_of_unknown_items", "repeated_reviews", "repeated_items", "rejected_lines")
    assert [meta[name] for name in counted] == [1, 1, 1, 0]


def test_texts_are_cleaned_and_counted(raw: Callable[..., Path]) -> None:
    items = [
        item(
            "0001",
            title="var aPageStart = (new Date()).getTime();",
            brand="Ravensbur\u200bger",
            category=["</span>", "Games"],
        ),
        item("0002", title="Mensch Ã¤rgere Dich nicht", brand="Ravensburger", category=["<b>Games</b>"]),
        item("0003", title="Mensch ärgere Dich nicht", brand="Ravensburger", category=[]),
    ]
    prepared = read(raw(items=as_lines(items)))
    assert {row[2:] for row in in_words(prepared)} == {
        ("Games", "unknown", "Ravensburger"),
        ("Games", "Mensch ärgere Dich nicht", "Ravensburger"),
        ("Toys & Games", "Mensch ärgere Dich nicht", "Ravensburger"),
    }
    kinds = ("doubly_encoded", "of_page_source", "with_invisible_signs", "with_tags")
    assert [prepared.meta[f"texts_{kind}"] for kind in kinds] == [1, 1, 1, 1]


def test_the_schema_of_2014_gives_the_same_rows(raw: Callable[..., Path]) -> None:
    reviews = [{k: v for k, v in r.items() if k not in ("style", "verified")} | {"helpful": [0, 0]} for r in NEW]
    items = [
        {k: v for k, v in i.items() if k != "category"} | {"categories": [i["category"], ["Baby"]]} for i in NEW_ITEMS
    ]
    folder = raw(as_lines(reviews), "".join(f"{record!r}\n" for record in items).encode(), REVIEWS[1])
    assert in_words(read(folder)) == ROWS


def test_it_is_imported_checked_and_cannot_be_fetched(raw: Callable[..., Path], home: Path) -> None:
    table = import_from("amazon-toys", raw())
    assert (len(table), len(table.fields), table.user_column, table.item_column) == (4, 5, 0, 1)
    assert check("amazon-toys").ok
    assert not list((home / "scratch").iterdir())
    assert store.fingerprint("amazon-toys") == table.fingerprint
    with pytest.raises(UserError, match="no official archive: run 'flipbench data import amazon-toys --from DIR'"):
        fetch("amazon-toys")


@pytest.mark.parametrize(("name", "last"), [(REVIEWS[0], 17_835), (REVIEWS[1], 16_282)])
def test_times_after_the_crawl_are_named_and_left_out(raw: Callable[..., Path], name: str, last: int) -> None:
    late = [review("D4", "0001", 5.0, last), review("E5", "0001", 5.0, last + 1)]
    prepared = read(raw(as_lines(NEW + late), name=name))
    assert [row[0] for row in in_words(prepared)] == [*(row[0] for row in ROWS), "D4"]
    assert prepared.meta["after_the_crawl"] == 1
    assert prepared.meta["first_after_the_crawl"][0].startswith(f"{name}:8: 201")


def test_unpacked_files_give_the_same_table(raw: Callable[..., Path]) -> None:
    folder = raw()
    for name, records in ((REVIEWS[0], NEW), (ITEMS, NEW_ITEMS)):
        (folder / name).unlink()
        (folder / name.removesuffix(".gz")).write_bytes(as_lines(records))
    assert in_words(read(folder)) == ROWS
    assert import_from("amazon-toys", folder).meta["reviews"] == REVIEWS[0].removesuffix(".gz")


BAD = {
    "{": "not JSON",
    "[1]": "not an object",
    "{'asin': {[]: 1}}": "neither JSON nor a Python literal",
    "{'asin': '\\d'}": "reviewerID None: ",
    "{'asin': __import__('os')}": "neither JSON nor a Python literal",
    json.dumps(review("A1", "0001", 6, 9000)): "overall 6: not one of 1 to 5",
    json.dumps(review("A1", "0001", True, 9000)): "overall True: not one of 1 to 5",
    json.dumps(review("A1", "0001", 5, 9000, unixReviewTime="9")): "unixReviewTime '9': not a time",
    json.dumps(review("A1", "0001", 5, 9000, reviewerID=None)): "reviewerID None: not a text",
    json.dumps(review("A1", " ", 5, 9000)): "asin ' ': not a text",
}
BAD_ITEMS = {
    json.dumps(item("0002", category="Puzzles")): "category 'Puzzles': not a list of names",
    json.dumps(item("0002", category=[1], categories=[])): "category [1]: not a list of names",
    json.dumps(item("0002", title=5)): "title 5: not a text",
    json.dumps({"title": "a"}): "asin None: not a text",
}


def test_bad_lines_are_counted_and_named(raw: Callable[..., Path]) -> None:
    reviews, items = ("".join(f"{line}\n" for line in bad).encode() for bad in (BAD, BAD_ITEMS))
    prepared = read(raw(as_lines(NEW[:3]) + reviews + as_lines(NEW[3:]), items + as_lines(NEW_ITEMS)))
    assert in_words(prepared) == ROWS
    expected = [f"{REVIEWS[0]}:{number}: {why}" for number, why in enumerate(BAD.values(), 4)]
    expected += [f"{ITEMS}:{number}: {why}" for number, why in enumerate(BAD_ITEMS.values(), 1)]
    assert prepared.meta["rejected_lines"] == len(expected)
    for line, start in zip(prepared.meta["rejected"], expected, strict=True):
        assert line.startswith(start)


def test_files_that_are_not_there_or_not_whole_are_named(raw: Callable[..., Path], tmp_path: Path) -> None:
    folder = raw()
    with pytest.raises(UserError, match=r"no review of an item in meta_Toys_and_Games\.json\.gz"):
        read(raw(items=as_lines([item("7")])))
    (folder / ITEMS).write_bytes(gzip.compress(as_lines(NEW_ITEMS))[:-20])
    with pytest.raises(UserError, match=rf"{ITEMS}: not a whole gzip file"):
        import_from("amazon-toys", folder)
    (folder / ITEMS).unlink()
    with pytest.raises(UserError, match=rf"{ITEMS}: no such file"):
        import_from("amazon-toys", folder)
    (folder / REVIEWS[0]).unlink()
    with pytest.raises(UserError, match=r"has no reviews; valid: Toys_and_Games_5\.json\.gz \(2018\), reviews_"):
        read(folder)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_bytes_give_an_error_or_counted_rejections(raw: Callable[..., Path], data: st.DataObject) -> None:
    text = data.draw(corrupted(as_lines(NEW), b'"', b"{", b"}", b"\n", b"null", most=1))
    try:
        prepared = read(raw(text))
    except UserError as error:
        assert re.fullmatch(r"[^\n]+", str(error))  # noqa: PT017
        return
    known = {row[1]: row[1:] for row in ROWS}
    assert all(row[1:] == known[row[1]] for row in in_words(prepared))
    counted = sum(prepared.meta[n] for n in ("reviews_of_unknown_items", "repeated_reviews", "rejected_lines"))
    assert len(prepared.labels) + counted >= len(NEW) - 1
