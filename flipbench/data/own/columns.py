"""Columns of CSV, TSV and Parquet files, gzipped or not, block by block, as text.

Text files are read as RFC 4180 says: quotes around a value, doubled within it, line ends of any kind, also within
quotes. Rows are numbered as records, the header being row 1: where no value has a line break these are the lines. A
Parquet file has no header, and its first row is row 1.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow import parquet

from flipbench.data.own.description import Format, suffix_of
from flipbench.errors import UserError, nearest, shorten
from flipbench.printable import escape

BLOCK = 1 << 24
"""Bytes of text at a time; a longer row is refused."""
ROWS = 1 << 17
"""Rows of a Parquet file at a time."""
HEADER = 1 << 20
"""Bytes in which a header ends."""


@dataclass(frozen=True)
class Block:
    """Some rows of a file: ``columns`` [n] of text by name, missing values empty; ``first`` is the first row's number.

    Columns that are named times are as a Parquet file has them.
    """

    path: Path
    first: int
    columns: dict[str, pa.Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def fault(self, row: int, column: str, what: str) -> UserError:
        """What is wrong with a value, in the block's row of that number from 0."""
        return fault(self.path, self.first + row, column, what)


def shown(text: str) -> str:
    """A text of a file in quotes, no longer than a line of errors has room for, signs that cannot be seen escaped."""
    seen = (sign if sign.isprintable() else escape(sign) for sign in shorten(text))
    return f"'{''.join(seen)}'"


def nearest_of(name: str, names: Iterable[str]) -> str:
    """The hint at the end of an error line, of names that can be shown."""
    return nearest(name, filter(str.isprintable, names))


def fault(path: Path, row: int, column: str, what: str) -> UserError:
    return UserError(f"{path}:{row}: column '{column}': {what}")


def header(path: Path, form: Format) -> list[str]:
    """The names of a file's columns, without their types where they carry them.

    Raises:
        UserError: the file is missing, empty or no such file.
    """
    if suffix_of(path) == ".parquet":
        return list(open_parquet(path).schema_arrow.names)
    with _Text(path, form.encoding) as text:
        line = text.read(HEADER).decode("utf-8-sig", "replace").lstrip("\ufeff")
    if not line.strip():
        raise UserError(f"{path}: empty file")
    names = next(csv.reader(io.StringIO(line, newline=""), delimiter=form.separator_of(path)))
    return [name.rpartition(":")[0] or name for name in names] if form.types else names


def blocks(path: Path, form: Format, wanted: Sequence[str], times: Sequence[str] = ()) -> Iterator[Block]:
    """The wanted columns of all rows. Rows of a text file in which all of them are empty are left in.

    Args:
        times: of the wanted, those that stay as a Parquet file has them.

    Raises:
        UserError: a column is missing or there twice, a row has more or fewer values than the header, the file is
            cut, in another encoding, or a quote is left open; names the row where there is one.
    """
    names = header(path, form)
    for column in wanted:
        if column not in names:
            raise UserError(f"{path}: no column {shown(column)}{nearest_of(column, names)}")
        if names.count(column) > 1:
            raise UserError(f"{path}:1: column '{column}' is there {names.count(column)} times: which one is meant?")
    yield from (
        _of_parquet(path, wanted, times) if suffix_of(path) == ".parquet" else _of_text(path, form, names, wanted)
    )


class _Text(io.RawIOBase):
    """A text file as UTF-8 without compression; counts its lines.

    Reading raises UserError where it cannot be decoded or decompressed.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.lines, self._ended = path, 0, True
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._encoding, self._rest, self._first = encoding, b"", True
        try:
            raw = path.open("rb")
            self._file: BinaryIO = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        self._raw = raw

    def read(self, size: int = BLOCK) -> bytes:
        """At most ``size`` bytes, fewer at the end alone."""
        while len(self._rest) < size:
            chunk = self._chunk(size)
            if not chunk:
                break
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        if data:
            self.lines += data.count(b"\n")
            self._ended = data.endswith(b"\n")
        return data

    def _unpacked(self, size: int) -> bytes:
        """Some more of the file without compression; empty at the end."""
        try:
            return self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.path}: not a whole gzip file: {error}") from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _chunk(self, size: int) -> bytes:
        """Some more text; empty at the end."""
        data = self._unpacked(size)
        if self._first and self._decoder is None and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{self.path}:1: is in UTF-16: give format: {{encoding: utf-16}}")
        self._first = False
        if self._decoder is None:
            return data
        try:
            text = self._decoder.decode(data, final=not data)
            while data and not text:  # the first half of a character
                data = self._unpacked(size)
                text = self._decoder.decode(data, final=not data)
            return text.encode("utf-8", "surrogatepass")
        except UnicodeError as error:
            row, why = 1 + self.lines + self._rest.count(b"\n"), str(error)
            if isinstance(error, UnicodeDecodeError):
                row, why = row + error.object.count(b"\n", 0, error.start), error.reason
            what = f"no {self._encoding} ({why}); is it the encoding of the file?"
            raise UserError(f"{self.path}:{row}: {what}") from None

    @property
    def rows(self) -> int:
        """Lines read so far, one without an end among them."""
        return self.lines + (not self._ended)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        self._raw.close()
        super().close()


def _of_text(path: Path, form: Format, names: Sequence[str], wanted: Sequence[str]) -> Iterator[Block]:
    as_written = _names_as_written(path, form)
    raw = {column: as_written[names.index(column)] for column in wanted}
    separator = form.separator_of(path)
    with _Text(path, form.encoding) as text:
        first = 2
        try:
            reader = pa_csv.open_csv(
                pa.PythonFile(text, mode="r"),
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=BLOCK),
                parse_options=pa_csv.ParseOptions(
                    delimiter=separator, newlines_in_values=True, ignore_empty_lines=False
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(raw.values(), pa.binary()), include_columns=list(raw.values())
                ),
            )
            for batch in reader:
                if len(batch):
                    yield Block(path, first, {column: batch.column(name) for column, name in raw.items()})
                first += len(batch)
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if text.rows <= 1:  # a header alone
                return
            raise _not_csv(path, error, first) from None
        if text.rows != first - 1:
            _refuse_open_quotes(path, form, separator)


def _not_csv(path: Path, error: Exception, row: int) -> UserError:
    words = str(error)
    if ragged := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", words):
        return UserError(f"{path}:{ragged[1]}: {ragged[3]} values, and the header has {ragged[2]}")
    if "straddling" in words or "block" in words:
        return UserError(f"{path}:{row}: a row of more than {BLOCK:,} bytes here or later; is a quote left open?")
    return UserError(f"{path}:{row}: not CSV from here: {words.splitlines()[0][:120]}")


def _refuse_open_quotes(path: Path, form: Format, separator: str) -> None:
    """Raises UserError where a value goes on over a line's end because a quote is open: read slowly, but strictly."""
    with (
        _Text(path, form.encoding) as text,
        io.TextIOWrapper(io.BufferedReader(text), "utf-8-sig", "replace", newline="") as lines,
    ):
        reader, row = csv.reader(lines, delimiter=separator, strict=True), 1
        try:
            for _ in reader:
                row += 1
        except csv.Error as error:
            what = "a quote is opened and not closed" if "end of data" in str(error) else f"quotes: {error}"
            raise UserError(f"{path}:{row}: {what}") from None


def _names_as_written(path: Path, form: Format) -> list[str]:
    return header(path, Format(form.separator, form.encoding))


def open_parquet(path: Path) -> parquet.ParquetFile:
    """Raises UserError where there is no such file, or no whole one."""
    try:
        return parquet.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0][:120]})") from None


def _of_parquet(path: Path, wanted: Sequence[str], times: Sequence[str]) -> Iterator[Block]:
    first = 1
    with open_parquet(path) as file:
        kinds = {field.name: field.type for field in file.schema_arrow}
        for column in wanted:
            if pa.types.is_nested(kinds[column]) and not is_list(kinds[column]):
                raise UserError(f"{path}: column '{column}': is a {kinds[column]}; one value a row is needed")
        try:
            for batch in file.iter_batches(ROWS, columns=list(wanted)):
                found = {name: batch.column(name) for name in wanted}
                yield Block(path, first, {n: c if n in times else as_text(c) for n, c in found.items()})
                first += len(batch)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}:{first}: cannot be read ({str(error).splitlines()[0][:120]})") from None


def is_list(kind: pa.DataType) -> bool:
    """Whether a column's values are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


MANY = "\x1f"
"""Between the values of a Parquet file's list, in the text that it is read as."""


def as_text(column: pa.Array) -> pa.Array:
    """Values of any type as UTF-8 bytes, missing ones empty: whole numbers without a point, lists by :data:`MANY`."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type))
    if is_list(kind):
        parts = as_text(column.flatten()).cast(pa.string())
        lists = pa.ListArray.from_arrays(_offsets(column), parts)
        return pc.binary_join(lists, MANY).cast(pa.binary())
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        whole = np.isfinite(values) & (values == np.trunc(values)) & (np.abs(values) < 1 << 53)
        numbers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
        column = pc.if_else(
            pa.array(np.isnan(values)), None, pc.if_else(pa.array(whole), numbers, column.cast(pa.string()))
        )
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        column = column.cast(pa.string())
    return column.cast(pa.binary()).fill_null(b"")


def _offsets(column: pa.Array) -> pa.Array:
    """Of the lists in what ``flatten`` gives of them, in which missing lists have no part."""
    lengths = pc.list_value_length(column).fill_null(0)
    return pa.array(np.concatenate([[0], np.cumsum(lengths.to_numpy())]).astype(np.int32))
