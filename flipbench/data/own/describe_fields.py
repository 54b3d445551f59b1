"""Guesses which columns of a data set are fields, in which order, and how each is read."""

from collections.abc import Iterator

import pandas as pd

from flipbench.data.own import guess
from flipbench.data.own.draft import Draft, FieldGuess, Tables, spelled, usable
from flipbench.data.own.guess import Column

Labels = "pd.Series[bool]"


def add(draft: Draft, tables: Tables) -> None:
    """Add the fields: users with what describes them, items likewise, then the rest as the file has it.

    Where FuxiCTR's configuration lists the fields, they are in its order.
    """
    taken = {draft.label.column, *(column for column, _ in draft.left_out)}
    draft.left_out += _unusable(tables)
    labels = _labels(draft, tables)
    for name, (column, joined) in _in_order(draft, tables).items():
        if name in taken:
            continue
        if why := _no_field(draft, tables, column, None if joined else labels):
            draft.left_out.append((name, why))
            continue
        side, because = (joined, "") if joined else _side(draft, tables, column)
        options = {"side": side} if side and because else {}
        draft.fields.append(_field(draft, tables, column, options, [because] if because else []))
    for each in draft.fields:
        told = ", ".join(f"{key} {value}" for key, value in each.options.items())
        draft.note(f"field {each.column}", told or "as it is", each.why)
    for name, why in draft.left_out:
        draft.note(f"column {name}", "no field", why)


def _unusable(tables: Tables) -> Iterator[tuple[str, str]]:
    """Columns that are not among those looked at."""
    for each in tables.samples:
        yield from ((name, "values of several parts, which no field can be") for name in each.nested)
        for name in each.rows.columns:
            if not usable(name):
                yield name, "its name is blank, or has a sign that cannot be printed"


def _in_order(draft: Draft, tables: Tables) -> dict[str, tuple[Column, str | None]]:
    """Every column with the side whose table has it; None for the interactions'."""
    columns: dict[str, tuple[Column, str | None]] = {}
    listed = [name for own in tables.side_columns.values() for name in own]
    for side, own in tables.side_columns.items():
        key = draft.keys[side]
        columns[key] = tables.columns[key], None
        for name, column in own.items():
            if name != key and (name in tables.columns or listed.count(name) > 1):
                draft.left_out.append((name, f"of {tables.sides[side].path.name}: another file has such a column too"))
            elif name != key:
                columns[name] = column, side
    columns = {**columns, **{name: (column, None) for name, column in tables.columns.items() if name not in columns}}
    if config := draft.source.config:
        for name in config.fields:
            if name not in columns:
                lacks = f"{config.path.name} lists '{name}', which {tables.interactions.path.name} has not"
                draft.note("files", "note", lacks)
        columns = {name: columns[name] for name in dict.fromkeys([*config.fields, *columns]) if name in columns}
    return columns


def _labels(draft: Draft, tables: Tables) -> "pd.Series[bool]":
    values = tables.columns[draft.label.column].values
    if draft.label.rule is None:
        return values.str.strip().str.lower().isin(["1", "1.0", "true"])
    above: pd.Series[bool] = pd.to_numeric(values, errors="coerce") > float(draft.label.rule.removeprefix("> "))
    return above


def _no_field(draft: Draft, tables: Tables, column: Column, labels: "pd.Series[bool] | None") -> str | None:
    """Why a column is no field, if it is none; ``labels`` of the rows where it is a column of the interactions."""
    if config := draft.source.config:
        return None if column.name in config.fields else f"not among the active features of {config.path.name}"
    if tables.types.get(column.name) == "float_seq":
        return "a vector of numbers, which no field can be"
    if column.name in draft.identifiers:
        return None
    if labels is None:
        return None if len(column.distinct) else "empty in the sample"
    if why := guess.needless(column):
        return why
    return "the label follows from it: a model would know the answer" if guess.gives_away(column, labels) else None


def _side(draft: Draft, tables: Tables, column: Column) -> tuple[str | None, str]:
    """What a column of the interactions describes, and why; no reason where a description says it by itself."""
    if column.name in draft.identifiers:
        return None, ""
    keys = {side: tables.columns[role.column] for side, role in (("user", draft.user), ("item", draft.item)) if role}
    for side, nouns in (("user", guess.USERS), ("item", guess.ITEMS)):
        if side in keys and column.words[:1] and column.words[0] in nouns:
            return side, "by its name"
    fits = [side for side, key in keys.items() if guess.describes(column, key)]
    if not fits:
        return None, ""
    side = max(fits, key=lambda each: len(keys[each].values) - len(keys[each].distinct))
    return side, f"each {side} has one value of it"


def _field(draft: Draft, tables: Tables, column: Column, options: dict[str, str], why: list[str]) -> FieldGuess:
    """How a field is read, and why; ``options`` and ``why`` are what is known of it."""
    declared = tables.types.get(column.name)
    many: str | None = None
    if config := draft.source.config:
        declared, many = config.fields[column.name]
    if declared == "sequence":
        many, what = many or " ", "a sequence there"
    elif declared == "token_seq":
        many, what = (None if column.named(guess.PROSE) else " "), "its type is token_seq"
    elif any(column.name in each.lists for each in tables.samples):
        many, what = ",", "a list"
    elif declared is None and (found := guess.separator_within(column)):
        many, what = found[0], f"such as {found[1]!r:.60}"
    if many:
        options = {**options, "many": spelled(many), "take": "first"}
        why = [*why, f"{what}; take: all makes one text of all"]
    elif guess.is_amount(
        column, {"numeric": True, "float": True, "categorical": False, "token": False}.get(declared or "")
    ):
        options = {**options, "buckets": guess.buckets(column)}
        low, high = column.numbers.min(), column.numbers.max()
        why = [*why, f"{len(column.distinct):,} different numbers from {low:g} to {high:g}"]
    elif (
        column.integer
        and len(column.distinct) > guess.FEW
        and declared is None
        and column.name not in draft.identifiers
    ):
        why = [*why, "whole numbers, taken for codes; amounts want buckets"]
    if column.empty:
        why = [*why, f"{column.empty / len(column.values):.0%} are empty: unknown"]
    return FieldGuess(column.name, options, "; ".join(why))
