"""Reader of Amazon's review data: reviews and items, two files of gzipped JSON lines, streamed.

Rows are in order of time (whole days in 2018's files), those of one time by user and item. Of several reviews of one
item by one user the first counts. Reviews of items that the metadata lack are left out. A category is the one below
"Toys & Games"; titles and brands have their HTML entities resolved and are cut, at a word, to 150 characters: a few
hold a whole page. The items of 2014 are Python literals rather than JSON, and are read as such.
"""

import ast
import html
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flipbench.data import json_lines
from flipbench.data.amazon_toys import ITEMS, REVIEWS
from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.json_lines import Faults
from flipbench.data.raw import Rejected
from flipbench.errors import UserError

VERSION = 1
"""Of what is kept of the raw files between runs; raised when that changes."""
ROOT = "Toys & Games"
UNKNOWN = "unknown"
LONGEST = 150
"""Characters of a title or a brand."""

Record = dict[str, Any]


def read(raw: Path, allow_partial: bool = False) -> Prepared:
    """The table of a raw folder; nobody says how many lines are whole, so any copy is accepted.

    Lines that cannot be read are left out, counted and named in ``meta``.

    Raises:
        UserError: a file is missing, damaged or has too many malformed lines, or no review has an item.
    """
    file = next((raw / name for name in REVIEWS if (raw / name).is_file()), None)
    if file is None:
        raise UserError(f"{raw}: has no reviews; valid: {' (2018), '.join(REVIEWS)} (2014)")
    scratch = json_lines.scratch("amazon-toys", VERSION, [file, raw / ITEMS])
    rejected = Rejected()
    reviews, _ = json_lines.read(file, _reviews, _kept, scratch, rejected)
    items, _ = json_lines.read(raw / ITEMS, _items, _kept, scratch, rejected)

    every = len(items)
    items = items.take(_first(items["item"].combine_chunks().dictionary_encode().indices.to_numpy()))
    found = pc.index_in(reviews["item"], value_set=items["item"].combine_chunks())
    known = reviews.append_column("at", found).filter(pc.is_valid(found))
    if not len(known):
        raise UserError(f"{file}: no review of an item in {ITEMS}")
    ordered = known.sort_by([(name, "ascending") for name in ("time", "user", "item")])
    users = ordered["user"].combine_chunks().dictionary_encode()
    at = ordered["at"].to_numpy()
    once = np.sort(_first(users.indices.to_numpy().astype(np.int64) * len(items) + at))
    rows, user, at = ordered.take(once), users.indices.to_numpy()[once], at[once]

    columns = [Column(user, users.dictionary.to_pylist())]
    columns += [Column(at, items[name].to_pylist()) for name in ("item", "category", "title", "brand")]
    ids, values = encode(columns)
    time = rows["time"].to_numpy()
    days = [datetime.fromtimestamp(int(t), UTC).date().isoformat() for t in time[[0, -1]]]
    meta = {
        "reviews": file.name,
        "first_day": days[0],
        "last_day": days[1],
        "reviews_of_unknown_items": len(reviews) - len(known),
        "repeated_reviews": len(known) - len(rows),
        "repeated_items": every - len(items),
        **rejected.meta(),
    }
    labels = (rows["rating"].to_numpy() > 3).astype(np.uint8)
    return Prepared(ids, labels, values, meta, scratch=scratch)


def _first(codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each code stands first, in the order of the codes."""
    found: NDArray[np.int64] = np.unique(codes, return_index=True)[1]
    return found


def _kept(table: pa.Table) -> tuple[pa.Table, Faults]:
    return table, []


def _reviews(block: bytes) -> pa.Table:
    """Columns user, item, rating (int8) and time (int64, seconds since 1970)."""
    rows: list[tuple[Any, ...]] = [
        (_text(r, "reviewerID"), _text(r, "asin"), _rating(r), _time(r)) for r in _records(block)
    ]
    schema = pa.schema({"user": pa.string(), "item": pa.string(), "rating": pa.int8(), "time": pa.int64()})
    return _table(rows, schema)


def _items(block: bytes) -> pa.Table:
    """Columns item, category, title and brand."""
    rows: list[tuple[Any, ...]] = [
        (_text(r, "asin"), _category(r), _clean(r, "title"), _clean(r, "brand")) for r in _records(block)
    ]
    schema = pa.schema(dict.fromkeys(("item", "category", "title", "brand"), pa.string()))
    return _table(rows, schema)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns: list[Any] = [*zip(*rows, strict=True)]
    return pa.table(columns or [[] for _ in schema], schema)


def _records(block: bytes) -> list[Record]:
    found = [_record(line) for line in block.split(b"\n")[:-1]]
    if not all(isinstance(record, dict) for record in found):
        raise ValueError("not an object")
    return found


def _record(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        if not line.startswith(b"{'"):
            raise ValueError(f"not JSON: {error}") from None
    try:
        return ast.literal_eval(line.decode())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("neither JSON nor a Python literal") from None


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} {value!r:.60}: not a text")
    return value.strip()


def _rating(record: Record) -> int:
    value = record.get("overall")
    if type(value) not in (int, float) or value not in (1, 2, 3, 4, 5):
        raise ValueError(f"overall {value!r:.60}: not one of 1 to 5")
    return int(value)


def _time(record: Record) -> int:
    value = record.get("unixReviewTime")
    if type(value) is not int or not 0 < value < 1 << 32:
        raise ValueError(f"unixReviewTime {value!r:.60}: not a time")
    return value


def _category(record: Record) -> str:
    """The first name below the root: of ``category``, a path (2018), or of the first path in ``categories`` (2014)."""
    path = record.get("category")
    if path is None:
        paths = record.get("categories") or [[]]
        path = paths[0] if isinstance(paths, list) else None
    if not isinstance(path, list) or not all(isinstance(name, str) for name in path):
        raise ValueError(f"category {path!r:.60}: not a list of names")
    below = [name for name in (html.unescape(name).strip() for name in path) if name not in ("", ROOT)]
    return below[0] if below else ROOT


def _clean(record: Record, key: str) -> str:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} {value!r:.60}: not a text")
    text = " ".join(html.unescape(value or "").split())
    if len(text) > LONGEST:
        text = text[: LONGEST + 1].rpartition(" ")[0] or text[:LONGEST]
    return text or UNKNOWN
