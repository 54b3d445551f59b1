"""Raw GoodReads files small enough to read, in the published schema."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flipbench.data.goodreads import AUTHORS, BOOKS, GENRES, INTERACTIONS, WORKS

ANN, BOB, EVE = ("0a" * 16, "ff" * 16, "1e" * 16)


def interaction(user: str, book: str, rating: int, updated: str) -> dict[str, Any]:
    rated = {"user_id": user, "book_id": book, "rating": rating, "date_updated": updated, "is_read": rating > 0}
    blank = dict.fromkeys(("review_text_incomplete", "read_at", "started_at"), "")
    return {"review_id": "9" * 32, "date_added": "Fri Aug 25 13:55:02 -0700 2006"} | rated | blank


def book(number: str, title: str, authors: list[str], work: str, **known: str) -> dict[str, Any]:
    blank = ("isbn", "num_pages", "format", "publisher", "publication_year", "description")
    record: dict[str, Any] = dict.fromkeys(blank, "") | {"is_ebook": "false", "average_rating": "4.00"}
    record |= {"popular_shelves": [{"count": "3", "name": "to-read"}], "text_reviews_count": "1", "series": []}
    record |= {"book_id": number, "title": title, "work_id": work}
    return record | {"authors": [{"author_id": author, "role": ""} for author in authors]} | known


RECORDS: dict[str, list[dict[str, Any]]] = {
    INTERACTIONS: [
        interaction(BOB, "100", 5, "Sat Mar 01 00:30:00 +0100 2014"),  # 2014-02-28 23:30:00 in UTC
        interaction(BOB, "20", 0, "Mon Mar 03 12:00:00 -0800 2014"),
        interaction(ANN, "100", 3, "Fri Feb 28 23:29:59 +0000 2014"),
        interaction(ANN, "20", 4, "Fri Feb 28 15:30:00 -0800 2014"),  # the same second as the first
        interaction(EVE, "7", 1, "Mon Feb 29 10:00:00 -0800 2016"),
        interaction(EVE, "404", 5, "Mon Feb 29 11:00:00 -0800 2016"),
    ],
    BOOKS: [
        book("100", "Le Père Goriot", ["8", "9"], "55", num_pages="320", format="Paperback", publisher="Poche"),
        book("20", " Emma ", ["9"], "56", is_ebook="true", publication_year="2001"),
        book("7", "Anonymous", [], ""),
        book("1", "Never Read", ["8"], "57"),
    ],
    AUTHORS: [{"author_id": "8", "name": "Honoré de Balzac"}, {"author_id": "9", "name": "Jane Austen"}],
    GENRES: [
        {"book_id": "100", "genres": {"fiction": 3, "history, historical fiction, biography": 10, "classics": 3}},
        {"book_id": "7", "genres": {}},
    ],
    WORKS: [{"work_id": "55", "media_type": "book"}, {"work_id": "56", "media_type": ""}],
}

GORIOT = (
    *("100", "Le Père Goriot", "history, historical fiction, biography; classics; fiction", "4.00", "1", "8"),
    *("Honoré de Balzac", "320", "false", "Paperback", "Poche", "unknown", "55", "book"),
)
EMMA = (
    *("20", "Emma", "unknown", "4.00", "1", "9", "Jane Austen", "unknown", "true", "unknown", "unknown", "2001"),
    *("56", "unknown"),
)
ANON = (
    *("7", "Anonymous", "unknown", "4.00", "1", "unknown", "unknown", "unknown", "false", "unknown", "unknown"),
    *("unknown", "unknown", "unknown"),
)
ROWS = [(ANN, *GORIOT), (ANN, *EMMA), (BOB, *GORIOT), (EVE, *ANON)]
"""The table in words; its labels are 0, 1, 1, 0."""


def lines(file: str) -> bytes:
    """The text of a file."""
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in RECORDS[file])


def write_raw(folder: Path, changed: Mapping[str, bytes] = MappingProxyType({})) -> Path:
    """The raw folder, the text of some files replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in RECORDS:
        (folder / file).write_bytes(gzip.compress(changed.get(file, lines(file)), 1, mtime=0))
    return folder
