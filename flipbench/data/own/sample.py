"""The first rows of a CSV, TSV or Parquet file as text, to guess what it is; never the whole of a large one."""

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa

from flipbench.data.own.columns import as_text, is_list, open_parquet
from flipbench.data.own.description import TEXTS, Format, suffix_of
from flipbench.errors import UserError, shorten

ROWS = 100_000
"""Rows that are looked at."""
MOST_BYTES = 1 << 26
"""Of text that is looked at, where rows are long."""
LINES = 200
"""Lines from which a separator is guessed."""

SUFFIXES = (*TEXTS, ".parquet")
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
"""With their names; the first that fits is taken."""


@dataclass(frozen=True)
class Sample:
    """The first rows of a file.

    Attributes:
        path: of the file.
        rows: text by column; a missing value is empty.
        whole: whether these are all rows of the file.
        separator: of a text file; None for Parquet.
        encoding: of a text file; ``ascii`` where all that is usual fits.
        types: RecBole's type of each column, where the header carries them.
        lists: columns of a Parquet file that hold lists.
        nested: columns of a Parquet file that hold other than single values and lists of them; not among the rows.
    """

    path: Path
    rows: pd.DataFrame
    whole: bool
    separator: str | None = None
    encoding: str = "ascii"
    types: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


def read(path: Path, types: bool = False) -> Sample:
    """The first rows of a file.

    Args:
        types: column names end in RecBole's types (``user_id:token``).

    Raises:
        UserError: it is missing, no such file, damaged or empty, has no header, a column twice or a row of another
            length; names the line where there is one.
    """
    if suffix_of(path) not in SUFFIXES:
        raise UserError(f"{path}: its suffix says no format; valid: {', '.join(SUFFIXES)}, text also with .gz")
    sample = _parquet(path) if suffix_of(path) == ".parquet" else _text(path, types)
    names = list(sample.rows.columns)
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UserError(f"{path}:1: column '{shorten(twice)}' is there {names.count(twice)} times: rename one")
    if not len(sample.rows):
        raise UserError(f"{path}: has no row")
    return sample


def _parquet(path: Path) -> Sample:
    try:
        with open_parquet(path) as file:
            total, kinds = file.metadata.num_rows, file.schema_arrow
            flat = [each.name for each in kinds if not pa.types.is_nested(each.type) or _is_list(each.type)]
            batch = next(file.iter_batches(ROWS, columns=flat), None)
            columns = {name: as_text(batch.column(name)).to_pylist() for name in flat} if batch else {}
            frame = pd.DataFrame(
                {name: [text.decode(errors="replace") for text in texts] for name, texts in columns.items()}
            )
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0][:120]})") from None
    lists = tuple(each.name for each in kinds if _is_list(each.type))
    nested = tuple(name for name in kinds.names if name not in flat)
    return Sample(path, frame, len(frame) == total, lists=lists, nested=nested)


def _is_list(kind: pa.DataType) -> bool:
    """Whether a column's values are lists of single values."""
    return is_list(kind) and not pa.types.is_nested(kind.value_type)


def _text(path: Path, types: bool) -> Sample:
    data, whole = _head(path)
    encoding = _encoding(data)
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding, "strict" if whole else "ignore")
    except UnicodeDecodeError as error:  # of UTF-16, which its first bytes said it is
        raise UserError(f"{path}: no UTF-16, as which it begins ({error.reason})") from None
    if not text.strip():
        raise UserError(f"{path}: empty file")
    separator = _separator(path, text)
    records: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = next(reader)
        for record in islice(reader, ROWS):
            if len(record) != len(names):
                if not whole and text[-1:] != "\n":
                    break
                raise UserError(f"{path}:{reader.line_num}: {len(record)} values, and the header has {len(names)}")
            records.append(record)
        whole = whole and next(reader, None) is None
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}") from None
    if len(names) == 1:
        raise UserError(f"{path}:1: one column, '{shorten(names[0])}': is it a table with a header?")
    _refuse_values(path, names)
    kinds = tuple(name.rpartition(":")[2] for name in names) if types else ()
    if types:
        names = [name.rpartition(":")[0] or name for name in names]
    return Sample(path, pd.DataFrame(records, columns=names, dtype=object), whole, separator, encoding, kinds)


def _head(path: Path) -> tuple[bytes, bool]:
    """The first lines of a file, unpacked, and whether these are all."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read(1 << 16)
            while len(data) < MOST_BYTES and data.count(b"\n") <= ROWS + 1 and (more := file.read(1 << 20)):
                data += more
            whole = not file.read(1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not whole:
        data = data[: data.rfind(b"\n") + 1] or data
    return data, whole


def _encoding(data: bytes) -> str:
    """ASCII, UTF-8 or UTF-16 where the text is that, else Western Windows's, else Latin-1, which fits any."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for encoding in ("ascii", "utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _separator(path: Path, text: str) -> str:
    """What divides every line into as many values, more than one; by the suffix where nothing does."""
    usual = Format().separator_of(path)
    counts = {}
    for separator in dict.fromkeys([usual, *SEPARATORS]):
        rows = csv.reader(io.StringIO(text[: 1 << 18], newline=""), delimiter=separator)
        try:
            lengths = [len(row) for row in islice(rows, LINES)]
        except csv.Error:
            continue
        header, *others = lengths
        same = sum(length == header for length in others) >= 0.9 * len(others)
        counts[separator] = header if same else 1
    best = max(counts, key=lambda separator: counts[separator], default=usual)
    return usual if counts.get(usual, 1) > 1 else best


def _refuse_values(path: Path, names: list[str]) -> None:
    """Raises UserError where the first line has numbers, which no column is called."""
    numbers = [name for name in names if name.strip().lstrip("-").replace(".", "", 1).isdigit()]
    if numbers:
        raise UserError(f"{path}:1: no header: a column would be called '{shorten(numbers[0])}'; write names above")
