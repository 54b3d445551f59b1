"""Which rows a data set's parts have, as 64-bit hashes that another group can compute from its own files.

A row's hash is BLAKE2b with a digest of 8 bytes, read as a big-endian number, of the UTF-8 text ``user NUL item NUL
time``: the identifiers as the raw files spell them, the time a decimal integer. What data do not have is left out:
without times ``user NUL item``. A part has two digests: the sum of its rows' hashes modulo 2^64, which no order
changes, and BLAKE2b of the hashes one after another, which only this order has. ``docs/row-hashes.md`` has it in ten
lines of pandas.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, get_args

import numpy as np
from numpy.typing import NDArray

from flipbench.atomic import replacing
from flipbench.data import split
from flipbench.data.dataset import RowDigest
from flipbench.data.store import times, values
from flipbench.data.table import Table
from flipbench.errors import UserError, nearest, shorten
from flipbench.protocol import Order, Validation

Hashes = NDArray[np.uint64]

TRAINING, TEST = "training", "test"
PARTS = (TRAINING, *(f"validation {validation}" for validation in get_args(Validation)), TEST)
"""A validation part's rows are training rows too."""

HEADER = ["part", "hash"]
CHUNK = 1 << 16
"""Rows that are hashed or written at a time."""


@dataclass(frozen=True)
class Difference:
    """Two groups' rows of one part; rows that occur several times count as often.

    Attributes:
        shared: rows that both have.
        ours: rows that only we have.
        theirs: rows that only they have.
        same_order: whether the shared ones come in the same order.
    """

    shared: int
    ours: int
    theirs: int
    same_order: bool

    @property
    def equal(self) -> bool:
        return self.same_order and not self.ours and not self.theirs


def hash_rows(table: Table) -> tuple[Hashes, tuple[str, ...]]:
    """[N] uint64, a hash a row in the table's order; and what of user, item and time is hashed, which data may lack.

    Raises:
        UserError: the table was prepared before times were kept beside it, or has neither users nor items.
    """
    moments, strings = times(table), values(table)
    columns = _identifiers(table)
    sides = []
    for column in columns.values():
        first, stop = int(table.offsets[column]), int(table.offsets[column + 1])
        names = [value.encode() for value in strings.slice(first - 1, stop - first).to_pylist()]
        sides.append((column, first, names))
    hashes = np.empty(len(table), np.uint64)
    for start in range(0, len(table), CHUNK):
        part = slice(start, start + CHUNK)
        texts = [[names[i] for i in (table.ids[part, column] - first).tolist()] for column, first, names in sides]
        if moments is not None:
            texts.append([b"%d" % time for time in moments[part].tolist()])
        rows = map(b"\0".join, zip(*texts, strict=True))
        digests = b"".join([hashlib.blake2b(row, digest_size=8).digest() for row in rows])
        hashes[part] = np.frombuffer(digests, ">u8")
    return hashes, (*columns, *["time"] * (moments is not None))


def _identifiers(table: Table) -> dict[str, int]:
    """The columns of user and item, of those that the table has."""
    if table.layout is None:
        return {"user": table.user_column, "item": table.item_column}
    columns = {"user": table.layout.user, "item": table.layout.item}
    found = {side: column for side, column in columns.items() if column is not None}
    if not found:
        raise UserError(f"{table.name}: neither 'user' nor 'item' of its description is a field: no row can be named")
    return found


def parts_of(table: Table, order: Order, hashes: Hashes) -> dict[str, Hashes]:
    """The hashes of each of the :data:`PARTS` that the data set has, in the part's order.

    Raises:
        UserError: unknown order.
    """
    # the split's own code says which rows: their numbers go through it in place of their labels
    numbered = replace(table, labels=np.arange(len(table)))  # type: ignore[arg-type]
    found = {TRAINING: split.training_rows(numbered, order)}
    for validation in get_args(Validation):
        with suppress(UserError):  # too few rows a user for known users, or no part given
            found[f"validation {validation}"] = split.selection_rows(numbered, order, "held-out", validation)[1]
    found[TEST] = split.test_rows(numbered, order)
    return {part: hashes[rows.labels] for part, rows in found.items()}


def digest(hashes: Hashes) -> RowDigest:
    """What identifies these rows."""
    in_order = hashlib.blake2b(hashes.astype(">u8").data, digest_size=8).hexdigest()
    return RowDigest(len(hashes), f"{int(hashes.sum(dtype=np.uint64)):016x}", in_order)


def compare(ours: Hashes, theirs: Hashes) -> Difference:
    """How many rows two parts share, whatever their order, and whether that is the same too."""
    mine, mine_count = np.unique(ours, return_counts=True)
    others, other_count = np.unique(theirs, return_counts=True)
    both, at_mine, at_others = np.intersect1d(mine, others, assume_unique=True, return_indices=True)
    shared = int(np.minimum(mine_count[at_mine], other_count[at_others]).sum())
    same_order = np.array_equal(ours[np.isin(ours, both)], theirs[np.isin(theirs, both)])
    return Difference(shared, len(ours) - shared, len(theirs) - shared, same_order)


def write(path: Path, parts: Mapping[str, Hashes]) -> None:
    """Write ``part,hash`` lines (16 hexadecimal digits), gzipped where the name ends in ``.gz``.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with replacing(path) as beside, _opened(beside, "w") as file:
            file.write(",".join(HEADER) + "\n")
            for part, hashes in parts.items():
                for start in range(0, len(hashes), CHUNK):
                    file.writelines(f"{part},{row:016x}\n" for row in hashes[start : start + CHUNK].tolist())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def read(path: Path) -> dict[str, Hashes]:
    """The hashes by part of a file such as :func:`write` makes, in its order; another group's may lack parts.

    Raises:
        UserError: missing, damaged, of another form, or with an unknown part.
    """
    found: dict[str, bytearray] = {}
    line = 1
    try:
        with _opened(path, "r") as file:
            rows = csv.reader(file)
            if next(rows, None) != HEADER:
                raise UserError(f"{path}:1: another header than {','.join(HEADER)}: no file of row hashes")
            for line, row in enumerate(rows, 2):
                part, text = row
                if len(row_hash := bytes.fromhex(text)) != 8:
                    raise ValueError
                if part not in found:
                    if part not in PARTS:
                        raise UserError(f"{path}:{line}: unknown part '{shorten(part)}'{nearest(part, PARTS)}")
                    found[part] = bytearray()
                found[part] += row_hash
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "a damaged gzip file"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    except (ValueError, csv.Error):
        raise UserError(f"{path}:{line}: not a part and a hash of 16 hexadecimal digits") from None
    if not found:
        raise UserError(f"{path}: no row in it")
    return {part: np.frombuffer(content, ">u8").astype(np.uint64) for part, content in found.items()}


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[str]]:
    """A text file, through gzip where its name ends so; without a time in it, so that equal rows are equal bytes."""
    with path.open(f"{mode}b") as raw:
        if path.suffix != ".gz":
            with io.TextIOWrapper(raw, "utf-8", newline="") as text:
                yield text
            return
        with gzip.GzipFile("", f"{mode}b", 6, raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as text:
            yield text
