"""Reader of the files that a description names: columns block by block, then rows in their order, parts and features.

Memory does not grow with the length of texts: a row has a number for each of its values, and what tables of users and
items say is kept once an entity. Nothing of a row is left out in silence: a value that cannot be read is refused with
file, row and column, and what was dropped, looked up in vain or cleaned stands in the table's notes.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flipbench.data import json_lines, times
from flipbench.data.clean import Cleaner
from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.own.columns import header, nearest_of, shown
from flipbench.data.own.description import VERSION, Description, FieldSpec, Part, SideTable
from flipbench.data.own.raw_table import Codes, RawTable
from flipbench.data.own.values import DROPPED, as_features, labels_of, ranks_of
from flipbench.data.split import permutation
from flipbench.data.table import Field, Layout, Side
from flipbench.errors import UserError, nearest

Place = Literal["interactions", "users", "items"]
Rows = NDArray[np.intp]

PARTS: dict[Part, int] = {"train": 0, "valid": 1, "test": 2}
WORDS = {"train": "training", "valid": "validation", "test": "test"}


def read(raw: Path, allow_partial: bool = False, *, description: Description) -> Prepared:
    """The table that a description's files make. Where they lie stands in it, and partial files cannot be told.

    Raises:
        UserError: a file is missing or malformed, a column is missing, a value is not what the description says of
            its column, or a part is left with rows of one class or none; names file, row and column.
        OSError: nothing can be written.
    """
    d = description
    places = _places(d)
    rows = RawTable.read([path for path, _ in d.files], d.format, _interaction_columns(d, places), d.time)
    notes: dict[str, Any] = {"rows_read": len(rows)} | ({"blank_rows": rows.blank} if rows.blank else {})
    labels = labels_of(d.label, rows.values(d.label.column), _wrong(rows, d.label.column))[rows.codes(d.label.column)]
    if d.user:
        rows.refuse_empty(d.user)
    kept = np.flatnonzero(labels != DROPPED)
    if len(kept) < len(rows):
        notes["rows_dropped_by_label"] = len(rows) - len(kept)
    order, parts = _ordered(d, rows, kept, notes)
    layout = _layout(d, parts)
    training = _checked_parts(d, labels[order], layout)
    side_tables = [_Joined.of(d, place, table, places, rows, order, notes) for place, table in _side_tables(d)]
    columns = _Features(
        d, rows, {joined.place: joined for joined in side_tables}, places, order, order[training], Cleaner()
    )
    users = None if d.user is None or layout.user is not None else _numbered(rows, d.user, order)
    scratch = json_lines.scratch(d.name, VERSION, d.raw_files)
    try:
        ids, values = encode(columns.each(), scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Prepared(
        ids,
        labels[order],
        values,
        notes | columns.clean.meta(),
        scratch=scratch,
        fields=tuple(Field(spec.column, spec.words, _side_of(d, spec, places)) for spec in d.fields),
        layout=layout,
        users=users,
        times=None if rows.time is None else times.whole(rows.time[order]),
    )


def _numbered(rows: RawTable, column: str, order: Rows) -> Codes:
    """The users of the table's rows, numbered in the order of their names, whatever the order of the files."""
    ranks = ranks_of(rows.values(column))[rows.codes(column)[order]]
    return np.unique(ranks, return_inverse=True)[1].astype(np.int32)


def _wrong(table: RawTable, column: str) -> Any:
    return lambda code, what: table.wrong(column, code, what)


def _side_tables(d: Description) -> list[tuple[Place, SideTable]]:
    both: list[tuple[Place, SideTable | None]] = [("users", d.users), ("items", d.items)]
    return [(place, table) for place, table in both if table]


def _places(d: Description) -> dict[str, Place]:
    """Which table has each column of the description; the interactions where several have it.

    Raises:
        UserError: a column is in none of them.
    """
    names: dict[Place, list[str]] = {"interactions": header(d.files[0][0], d.format)}
    names |= {place: header(table.file, d.format) for place, table in _side_tables(d)}
    places: dict[str, Place] = {}
    of_interactions = [d.label.column, d.user, d.time, *d.ties, d.split.column]
    of_interactions += [table.key for _, table in _side_tables(d)]
    for column in (*filter(None, of_interactions), *(spec.column for spec in d.fields)):
        found = [place for place, columns in names.items() if column in columns]
        if not found or (column in of_interactions and found[0] != "interactions"):
            known = {
                name
                for place in names
                for name in names[place]
                if place == "interactions" or column not in of_interactions
            }
            others = [table.file.name for _, table in _side_tables(d)] if column not in of_interactions else []
            where = f" nor in {' or '.join(others)}" if others else ""
            raise UserError(f"{d.files[0][0]}: no column {shown(column)}{where}{nearest_of(column, known)}")
        places[column] = found[0]
    return places


def _interaction_columns(d: Description, places: dict[str, Place]) -> list[str]:
    """The columns that are kept as text."""
    needed = [d.label.column, d.user, *d.ties, d.split.column, *(table.key for _, table in _side_tables(d))]
    needed += [spec.column for spec in d.fields if places[spec.column] == "interactions"]
    return list(dict.fromkeys(filter(None, needed)))


def _side_of(d: Description, spec: FieldSpec, places: dict[str, Place]) -> Side:
    """What a field describes."""
    if spec.side:
        return spec.side
    keys = {place: table.key for place, table in _side_tables(d)}
    if places[spec.column] == "users" or spec.column in (d.user, keys.get("users")):
        return "user"
    if places[spec.column] == "items" or spec.column in (d.item, keys.get("items")):
        return "item"
    return "context"


def _layout(d: Description, parts: tuple[int, int, int] | None) -> Layout:
    columns = [spec.column for spec in d.fields]
    user, item = (columns.index(name) if name in columns else None for name in (d.user, d.item))
    if parts or d.split.shares is None:
        return Layout(user, item, d.user is not None, parts=parts)
    return Layout(user, item, d.user is not None, *d.split.shares)


def _ordered(
    d: Description, rows: RawTable, kept: Rows, notes: dict[str, Any]
) -> tuple[Rows, tuple[int, int, int] | None]:
    """The rows in the table's order, and how many each part has where shares do not say it.

    By part, then by time, then by the columns that order ties, then as in the files.
    """
    part = _parts(d, rows, kept)
    keys: list[NDArray[Any]] = [] if part is None else [part]
    time = None if rows.time is None else rows.time[kept]
    if time is not None:
        same = np.ones(max(0, len(time) - 1), bool) if part is None else part[1:] == part[:-1]
        if (same & (time[1:] < time[:-1])).any():
            notes["sorted"] = f"rows were not in the order of '{d.time}' and were sorted"
        keys.append(time)
        keys += [ranks_of(rows.values(tie))[rows.codes(tie)[kept]] for tie in d.ties]
    order = kept[np.lexsort(keys[::-1])] if keys else kept
    if time is not None and len(kept) and rows.time is not None and rows.time_kind:
        first, last = time.min(), time.max()
        notes |= {"first_time": times.shown(rows.time_kind, first), "last_time": times.shown(rows.time_kind, last)}
    if d.split.by == "time" and rows.time is not None:
        part = _parts_by_time(d, rows, rows.time[order])
    if part is None:
        return order, None
    counts = np.bincount(part, minlength=len(PARTS)).tolist()
    return order, (counts[0], counts[1], counts[2])


def _parts(d: Description, rows: RawTable, kept: Rows) -> NDArray[np.int8] | None:
    """The part of each row, where its file or a column says it."""
    if d.split.by == "files":
        of_files = [PARTS[part] for _, part in d.files if part]
        return np.repeat(np.array(of_files, np.int8), rows.sizes)[kept]
    if d.split.by != "column" or d.split.column is None:
        return None
    known, column = dict(d.split.values), d.split.column
    rows.refuse_empty(column)
    of_value = []
    for code, value in enumerate(rows.values(column)):
        if value not in known:
            raise rows.wrong(column, code, f"{shown(value)} is no part{nearest(value, known)}")
        of_value.append(PARTS[known[value]])
    return np.array(of_value, np.int8)[rows.codes(column)[kept]]


def _parts_by_time(d: Description, rows: RawTable, time: NDArray[Any]) -> NDArray[np.int8]:
    """The part of each row, whose times are sorted."""
    part, starts = np.zeros(len(time), np.int8), []
    for key, value in (("valid", d.split.valid_from), ("test", d.split.test_from)):
        if value is None:
            continue
        found = times.one(value)
        if found is None or found[0] != rows.time_kind:
            raise UserError(f"{d.path}: split.{key}_from: '{value}' is not {rows.time_kind}, as '{d.time}' has them")
        starts.append(found[1])
        part[time >= found[1]] = PARTS["valid" if key == "valid" else "test"]
    if starts != sorted(starts):
        raise UserError(f"{d.path}: split.valid_from: lies after test_from")
    return part


def _checked_parts(d: Description, labels: NDArray[np.uint8], layout: Layout) -> Rows:
    """The training rows, validation among them, of labels in the table's order.

    Raises:
        UserError: a part has no rows, or rows of one class.
    """
    where = f"{d.files[0][0]}: column '{d.label.column}'"
    if not len(labels):
        raise UserError(f"{where}: no row is left")
    order = permutation(len(labels)) if d.order == "shuffled" else np.arange(len(labels))
    training, fitted = layout.sizes(len(labels))
    parts = {"train": order[:fitted], "valid": order[fitted:training], "test": order[training:]}
    for part, rows in parts.items():
        if part == "valid" and not d.gives_validation:
            continue
        if not len(rows):
            raise UserError(f"{d.path}: split: the {WORDS[part]} part has none of the {len(labels):,} rows")
        if (labels[rows] == labels[rows[0]]).all():
            found = f"all {len(rows):,} rows of the {WORDS[part]} part are {labels[rows[0]]}"
            raise UserError(f"{where}: {found}: there is nothing to tell apart")
    return order[:training]


@dataclass(frozen=True)
class _Joined:
    """A table of users or items, and [N] which of its rows belongs to each interaction; -1 for none."""

    place: Place
    table: RawTable
    row: Codes

    @classmethod
    def of(
        cls,
        d: Description,
        place: Place,
        side: SideTable,
        places: dict[str, Place],
        rows: RawTable,
        order: Rows,
        notes: dict[str, Any],
    ) -> "_Joined":
        """Read a table and look the interactions' keys up in it.

        Raises:
            UserError: as :meth:`RawTable.read`, or a key is empty or occurs twice.
        """
        columns = [spec.column for spec in d.fields if places[spec.column] == place]
        table = RawTable.read([side.file], d.format, list(dict.fromkeys([side.key, *columns])))
        table.refuse_empty(side.key)
        codes, keys = table.codes(side.key), table.values(side.key)
        first = np.full(len(keys), -1, np.int32)
        first[codes[::-1]] = np.arange(len(codes), dtype=np.int32)[::-1]
        again = np.flatnonzero(first[codes] != np.arange(len(codes)))
        if len(again):
            raise table.fault(side.key, int(again[0]), f"{shown(keys[codes[again[0]]])} occurs before")
        number = {key: int(row) for key, row in zip(keys, first.tolist(), strict=True)}
        of_value = np.array([number.get(key, -1) for key in rows.values(side.key)], np.int32)
        row = of_value[rows.codes(side.key)]
        if missing := int((row[order] < 0).sum()):
            notes[f"rows_of_unknown_{place}"] = missing
        return cls(place, table, row)


@dataclass(frozen=True)
class _Features:
    """Makes the columns of a table: ``order`` are its rows, ``training`` those of the training part."""

    d: Description
    rows: RawTable
    joined: dict[Place, _Joined]
    places: dict[str, Place]
    order: Rows
    training: Rows
    clean: Cleaner

    def each(self) -> Iterator[Column]:
        """Field by field; raises UserError where a value is not what its field needs."""
        for spec in self.d.fields:
            joined = self.joined.get(self.places[spec.column])
            table = joined.table if joined else self.rows
            values, codes = table.values(spec.column), table.codes(spec.column)
            if joined:  # a row that is missing says nothing
                values = [*values, ""]
                codes = np.append(codes, np.int32(len(values) - 1))[joined.row]
            occurs, training = (np.bincount(codes[rows], minlength=len(values)) for rows in (self.order, self.training))
            texts, integer = as_features(
                spec, values, occurs, training, self.clean if self.d.clean else None, _wrong(table, spec.column)
            )
            yield Column(codes[self.order], texts, integer)
            table.drop(spec.column)
