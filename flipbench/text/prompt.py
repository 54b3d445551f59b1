"""A row as text: ``field is value.`` for every field (paper, section III-B, eq. 3).

The paper gives no exact wording. Pieces stand in the table's field order, joined by one space, without markers
around the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flipbench.data.store import values
from flipbench.data.table import Field, Table
from flipbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 1 << 14
"""Features that are Python strings at a time."""


def opening(field: Field) -> str:
    """What stands before a value: ``movie id is `` (with the space)."""
    return f"{field.words} is "


def piece(field: Field, value: str) -> str:
    """One field's part of the prompt: ``movie id is 1193.``"""
    return f"{opening(field)}{value}."


def verbalize(field: Field, values: Sequence[str]) -> list[str]:
    """The values in the prompt's words."""
    words = dict(field.verbalizer)
    return [words.get(value, value) for value in values] if words else list(values)


def halves(table: Table) -> tuple[list[int], list[int]]:
    """The columns of the user, with those of the row's context, and those of the item: where a prompt has two halves.

    Raises:
        UserError: one of them would say nothing.
    """
    item = [f for f, field in enumerate(table.fields) if field.side == "item"]
    user = [f for f in range(len(table.fields)) if f not in item]
    if not user or not item:
        side = "item" if user else "user"
        raise UserError(f"{table.name}: no field describes the {side}, and the prompt has a part for each side")
    return user, item


def sentence(fields: Sequence[Field], row: Sequence[str]) -> str:
    """The whole prompt of a row of values, one a field."""
    return " ".join(piece(field, *verbalize(field, [value])) for field, value in zip(fields, row, strict=True))


def sentences(table: Table, ids: NDArray[np.integer[Any]]) -> list[str]:
    """The prompts [n] of some rows of feature ids [n, F]."""
    texts = values(table).take(ids.ravel() - 1).to_pylist()
    width = len(table.fields)
    return [sentence(table.fields, texts[start : start + width]) for start in range(0, len(texts), width)]


def value_chunks(table: Table, field: int) -> Iterator[list[str]]:
    """A field's values in the prompt's words and the order of their ids, at most :data:`CHUNK` at a time."""
    texts = values(table)
    first, last = int(table.offsets[field]) - 1, int(table.offsets[field + 1]) - 1
    for start in range(first, last, CHUNK):
        yield verbalize(table.fields[field], texts.slice(start, min(CHUNK, last - start)).to_pylist())
