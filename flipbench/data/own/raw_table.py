"""The wanted columns of one or several raw files as numbers: of text, which of its different values a row has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flipbench.data import times
from flipbench.data.own.columns import Block, as_text, blocks, fault, shown
from flipbench.data.own.description import Format
from flipbench.errors import UserError

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class _Span:
    """Rows that lie together in a file: from row ``start`` of the table on; ``kept`` where some were blank."""

    path: Path
    first: int
    start: int
    kept: NDArray[np.intp] | None


@dataclass
class RawTable:
    """Rows of files that were read one after another.

    Attributes:
        sizes: rows of each file. blank: rows in which nothing stands, which are left out.
        time: [N] int64 or float64, of the column of times, if one was asked for; ``time_kind`` is what they are.
    """

    sizes: list[int] = field(default_factory=list)
    blank: int = 0
    time: NDArray[Any] | None = None
    time_kind: times.Kind | None = None
    _end: int = 0
    _spans: list[_Span] = field(default_factory=list)
    _chunks: dict[str, list[pa.DictionaryArray]] = field(default_factory=dict)
    _columns: dict[str, tuple[Codes, list[str]]] = field(default_factory=dict)
    _times: list[NDArray[Any]] = field(default_factory=list)

    @classmethod
    def read(cls, files: Iterable[Path], form: Format, texts: Sequence[str], time: str | None = None) -> "RawTable":
        """Read columns of files.

        Args:
            texts: columns to keep as codes. time: the one to keep as times, which may be one of them.

        Raises:
            UserError: as :func:`flipbench.data.own.columns.blocks`, a text is no UTF-8, a time none, or no row there.
        """
        table = cls(_chunks={name: [] for name in texts})
        wanted = list(dict.fromkeys([*texts, *([time] if time else [])]))
        for path in files:
            before = len(table)
            for block in blocks(path, form, wanted, [time] if time else []):
                table._add(block, time)
            table.sizes.append(len(table) - before)
        if not len(table):
            raise UserError(f"{path}: no rows")
        if time:
            table.time = np.concatenate(table._times)
            table._times.clear()
        return table

    def __len__(self) -> int:
        return self._end

    def codes(self, column: str) -> Codes:
        """[N], the number of each row's value in :meth:`values`."""
        return self._column(column)[0]

    def values(self, column: str) -> list[str]:
        """The different values of a column."""
        return self._column(column)[1]

    def drop(self, column: str) -> None:
        """Let go of a column."""
        self._columns.pop(column, None)

    def fault(self, column: str, row: int, what: str) -> UserError:
        """What is wrong with a value, in a row of the table."""
        span = next(span for span in reversed(self._spans) if span.start <= row)
        at = row - span.start
        return fault(span.path, span.first + (at if span.kept is None else int(span.kept[at])), column, what)

    def wrong(self, column: str, code: int, what: str) -> UserError:
        """What is wrong with a value that several rows may have: the first is named."""
        return self.fault(column, int(np.argmax(self.codes(column) == code)), what)

    def refuse_empty(self, column: str) -> None:
        """Raises UserError where a row has no value."""
        values = self.values(column)
        if "" in values:
            raise self.wrong(column, values.index(""), "is empty")

    def _column(self, column: str) -> tuple[Codes, list[str]]:
        if column not in self._columns:
            chunks = pa.chunked_array(
                self._chunks.pop(column), pa.dictionary(pa.int32(), pa.string())
            ).unify_dictionaries()
            codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks.chunks])
            self._columns[column] = codes, chunks.chunk(0).dictionary.to_pylist()
        return self._columns[column]

    def _add(self, block: Block, time: str | None) -> None:
        columns, kept = block.columns, None
        texts = {name: as_text(columns[name]) for name in self._chunks}
        if block.path.suffix != ".parquet":
            filled = np.zeros(len(block), bool)
            for column in {**columns, **texts}.values():
                filled |= pc.binary_length(column).to_numpy(zero_copy_only=False) > 0
            if not filled.all():
                kept = np.flatnonzero(filled)
                self.blank += len(block) - len(kept)
                chosen = pa.array(kept)
                columns = {name: column.take(chosen) for name, column in columns.items()}
                texts = {name: column.take(chosen) for name, column in texts.items()}
        span = _Span(block.path, block.first, self._end, kept)
        count = len(block) if kept is None else len(kept)
        if not count:
            return
        self._spans.append(span)
        self._end += count
        for name, column in texts.items():
            self._chunks[name].append(self._coded(name, column, span))
        if time:
            self._add_times(time, columns[time], span)

    def _coded(self, name: str, column: pa.Array, span: _Span) -> pa.DictionaryArray:
        coded = column.dictionary_encode()
        try:
            values = coded.dictionary.cast(pa.string())
        except pa.ArrowInvalid:
            for code, value in enumerate(coded.dictionary.to_pylist()):
                try:
                    value.decode()
                except UnicodeDecodeError as error:
                    row = span.start + int(np.argmax(coded.indices.to_numpy() == code))
                    byte = f"byte {value[error.start]:#04x} is no UTF-8"
                    what = f"{byte}; give its encoding, as format: {{encoding: latin-1}}"
                    raise self.fault(name, row, what) from None
            raise
        return pa.DictionaryArray.from_arrays(coded.indices, values)

    def _add_times(self, name: str, column: pa.Array, span: _Span) -> None:
        found = times.read(column)
        if found is None or found[0] != (self.time_kind or found[0]):
            row = times.first_bad(column, self.time_kind)
            value = as_text(column.slice(row, 1)).to_pylist()[0].decode("utf-8", "replace")
            kind = f"{self.time_kind}, as the others are" if self.time_kind else "a number, an ISO date or a time"
            raise self.fault(name, span.start + row, f"{shown(value)} is not {kind}" if value else "is empty")
        self.time_kind = found[0]
        self._times.append(found[1])
