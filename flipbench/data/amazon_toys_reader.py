"""Reader of Amazon's review data: reviews and items, two files of JSON lines, gzipped or not, streamed.

Rows are in order of time (whole days in 2018's files), those of one time by user and item. Of several reviews of one
item by one user the first counts. Reviews of items that the metadata lack are left out. A category is the one below
"Toys & Games"; categories, titles and brands are cleaned as every reader's text (``clean``), titles and brands then
cut, at a word, to 150 characters. The items of 2014 are Python literals rather than JSON, and are read as such.
"""

import ast
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from flipbench.data import json_lines
from flipbench.data.amazon_toys import ITEMS, REVIEWS
from flipbench.data.clean import Cleaner
from flipbench.data.encode import Column, Prepared, encode, period
from flipbench.data.raw import Rejected, packed_or_not
from flipbench.errors import UserError

VERSION = 2
"""Of what is kept of the raw files between runs; raised when that changes."""
CRAWLED = {REVIEWS[0]: 1_541_030_400, REVIEWS[1]: 1_406_851_200}
"""2018-11-01 and 2014-08-01 in seconds since 1970: the ends of the two crawls, as their pages state them."""
ROOT = "Toys & Games"
LONGEST = 150
"""Characters of a title or a brand."""
ITEM_COLUMNS = ("item", "category", "title", "brand")

Record = dict[str, Any]


def read(raw: Path, allow_partial: bool = False) -> Prepared:
    """The table of a raw folder; nobody says how many lines are whole, so any copy is accepted.

    Lines that cannot be read are left out, counted and named in ``meta``.

    Raises:
        UserError: a file is missing, damaged or has too many malformed lines, or no review has an item.
    """
    names = (name for name in REVIEWS for end in ("", ".gz") if (raw / name.removesuffix(end)).is_file())
    name = next(names, None)
    if name is None:
        raise UserError(f"{raw}: has no reviews; valid: {' (2018), '.join(REVIEWS)} (2014)")
    file, about = packed_or_not(raw / name), packed_or_not(raw / ITEMS)
    scratch = json_lines.scratch("amazon-toys", VERSION, [file, about])
    rejected = Rejected()
    read_reviews, read_items = (
        json_lines.read(path, parse, scratch, rejected)[0] for path, parse in ((file, _reviews), (about, _items))
    )
    read_reviews, late = json_lines.left_out(read_reviews, file, CRAWLED[name])
    reviews, items = read_reviews.to_pandas(), read_items.to_pandas()
    first = items.drop_duplicates("item")
    known = reviews[reviews["item"].isin(first["item"])]
    if known.empty:
        raise UserError(f"{file}: no review of an item in {ITEMS}")
    rows = known.sort_values(["time", "user", "item"], kind="stable").drop_duplicates(["user", "item"])

    user, users = pd.factorize(rows["user"])
    item = pd.Index(first["item"]).get_indexer(rows["item"])
    clean = Cleaner()
    texts = {"category": clean.known(first["category"])}
    texts |= {name: [_cut(text) for text in clean.known(first[name])] for name in ("title", "brand")}
    of_items = [first["item"].tolist(), *texts.values()]
    ids, values = encode([Column(user, users.tolist()), *(Column(item, column) for column in of_items)])
    times = rows["time"].to_numpy()
    meta = {
        "reviews": file.name,
        **period(times),
        "reviews_of_unknown_items": len(reviews) - len(known),
        "repeated_reviews": len(known) - len(rows),
        "repeated_items": len(items) - len(first),
        **late,
        **clean.meta(),
        **rejected.meta(),
    }
    labels = (rows["rating"] > 3).to_numpy(np.uint8)
    return Prepared(ids, labels, values, meta, scratch=scratch, times=times)


def _reviews(block: bytes) -> pa.Table:
    """Columns user, item, rating (int8) and time (int64, seconds since 1970)."""
    rows = [(_text(r, "reviewerID"), _text(r, "asin"), _rating(r), _time(r)) for r in _records(block)]
    return _table(rows, {"user": pa.string(), "item": pa.string(), "rating": pa.int8(), "time": pa.int64()})


def _items(block: bytes) -> pa.Table:
    """The :data:`ITEM_COLUMNS`."""
    rows = [(_text(r, "asin"), _category(r), _optional(r, "title"), _optional(r, "brand")) for r in _records(block)]
    return _table(rows, dict.fromkeys(ITEM_COLUMNS, pa.string()))


def _table(rows: Sequence[tuple[Any, ...]], types: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(types, row, strict=True)) for row in rows], pa.schema(types))


def _records(block: bytes) -> list[Record]:
    with warnings.catch_warnings():  # of escapes in a literal that Python does not know
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        records = [_record(line) for line in block.split(b"\n")[:-1]]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("not an object")
    return records


def _record(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        if not line.startswith(b"{'"):
            raise ValueError(f"not JSON: {error}") from None
    try:
        return ast.literal_eval(line.decode())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # TypeError: a key that has no hash
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
    clean = Cleaner()  # of the raw names, which are counted when the table is made
    return next((name for name in path if clean(name) not in ("", ROOT)), ROOT)


def _optional(record: Record, key: str) -> str:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} {value!r:.60}: not a text")
    return value or ""


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return text[: LONGEST + 1].rpartition(" ")[0] or text[:LONGEST]
