"""JSON lines of any size, gzipped or not, read block by block.

What has been read of a file lies beside the others as one Arrow file a block, so that a reading that was killed goes
on after its last whole block: only decompression starts from the beginning.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from flipbench.atomic import replacing
from flipbench.data.raw import Rejected
from flipbench.data.store import home
from flipbench.errors import UserError
from flipbench.identity import key_of

BLOCK = 1 << 25
"""Bytes of text at a time; a longer line is refused."""
RATIO = 200
"""Bytes of text from one of the archive; JSON lines have 5 to 10, more is a bomb."""

SHOWN = 20
"""Lines that a note of many names."""

LINE = "line"
"""Column that every table read has: the number of the row's line, from 1; int64."""

Faults = list[tuple[int, str]]
Parse = Callable[[bytes], pa.Table]
"""Whole lines to one row a line; ValueError where a line is no such record, an empty table for no line."""
Convert = Callable[[pa.Table], tuple[pa.Table, Faults]]
"""Rows to what is kept of them, and the lines that are not valid."""


def scratch(name: str, version: int, files: Iterable[Path]) -> Path:
    """The folder for what has been read of exactly these files; made where there is none.

    Args:
        version: of what is kept; another one has another folder.

    Raises:
        OSError: the folder cannot be made.
    """
    identity: list[Any] = [version]
    for file in files:
        identity.append([file.name, file.stat().st_size, file.stat().st_mtime_ns])
    folder = home() / "scratch" / f"{name}-{key_of(identity)[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read(
    path: Path, parse: Parse, folder: Path, rejected: Rejected, convert: Convert | None = None
) -> tuple[pa.Table, int]:
    """All of a file as a table that is mapped from ``folder``, where earlier calls may have left the first blocks.

    Lines that cannot be parsed, or that ``convert`` finds fault with, go to ``rejected``.

    Returns:
        the table, and how many lines the file has.

    Raises:
        UserError: the file is no gzip, cut, a bomb, has no line at all or too many malformed ones.
        OSError: ``folder`` cannot be written, or the file not be read.
    """
    files, done = sorted(folder.glob(f"{path.name}-*.arrow")), folder / f"{path.name}.done"
    end = lines = 0
    for file in files:
        state = json.loads(ipc.open_file(pa.memory_map(str(file))).schema.metadata[b"state"])
        end, lines = state["end"], state["lines"]
        for line, why in state["faults"]:
            rejected.add(path, line, why)
    for block in () if done.exists() else _blocks(path, end):
        before = len(rejected.entries)
        table = _parsed(block, lines + 1, parse, partial(rejected.add, path))
        if convert:
            table, faults = convert(table)
            for line, why in faults:
                rejected.add(path, line, why)
        end, lines = end + len(block), lines + block.count(b"\n")
        files.append(folder / f"{path.name}-{len(files):05d}.arrow")
        state = {"end": end, "lines": lines, "faults": [entry[1:] for entry in rejected.entries[before:]]}
        table = table.replace_schema_metadata({"state": json.dumps(state)})
        with replacing(files[-1]) as new, ipc.new_file(str(new), table.schema) as writer:
            writer.write_table(table)
    if not lines:
        raise UserError(f"{path}: empty file")
    done.touch()
    tables = [ipc.open_file(pa.memory_map(str(file))).read_all().replace_schema_metadata() for file in files]
    return pa.concat_tables(tables), lines


def left_out(table: pa.Table, path: Path, crawled: int) -> tuple[pa.Table, dict[str, Any]]:
    """The rows with a ``time`` before the end of the crawl, and a note of the others: how many, the first by line."""
    late = np.flatnonzero(table["time"].to_numpy() >= crawled)
    if not len(late):
        return table, {"after_the_crawl": 0}  # as it is mapped
    first = table.take(pa.array(late[:SHOWN]))
    named = zip(first[LINE].to_pylist(), first["time"].to_pylist(), strict=True)
    lines = [f"{path.name}:{line}: {datetime.fromtimestamp(time, UTC).date()}" for line, time in named]
    kept = table.filter(pa.array(table["time"].to_numpy() < crawled))
    return kept, {"after_the_crawl": len(late), "first_after_the_crawl": lines}


def _parsed(block: bytes, first: int, parse: Parse, reject: Callable[[int, str], None]) -> pa.Table:
    """The rows of a block with their lines, those aside that are no record: found by halving, as few are expected."""
    count = block.count(b"\n")
    try:
        return parse(block).append_column(LINE, pa.array(np.arange(first, first + count)))
    except ValueError as error:
        fault = str(error).partition("\n")[0][:120]
    if count == 1:
        reject(first, fault)
        return parse(b"").append_column(LINE, pa.array([], pa.int64()))
    middle = block.rfind(b"\n", 0, len(block) // 2) + 1 or block.find(b"\n") + 1
    halves = (block[:middle], first), (block[middle:], first + block.count(b"\n", 0, middle))
    return pa.concat_tables([_parsed(half, line, parse, reject) for half, line in halves])


def _blocks(path: Path, start: int) -> Iterator[bytes]:
    """The text from byte ``start`` on, in blocks of whole lines."""
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw as stream:
            rest, position = b"", 0
            while chunk := stream.read(BLOCK):
                if position + len(chunk) > BLOCK // 2 and position + len(chunk) > RATIO * raw.tell():
                    raise UserError(f"{path}: unpacks to more than {RATIO} times its size; refused")
                data = rest + chunk[max(0, start - position) :]
                position += len(chunk)
                cut = data.rfind(b"\n") + 1
                if not cut and len(data) >= BLOCK:
                    raise UserError(f"{path}: a line of more than {BLOCK:,} bytes; refused")
                rest = data[cut:]
                if cut:
                    yield data[:cut]
            if rest:
                yield rest + b"\n"
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file: {error}") from None
