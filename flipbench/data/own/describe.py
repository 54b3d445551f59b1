"""Guesses what a file or folder holds as a data set, from its first rows, and how a description of it reads.

Nothing here is the last word: every guess says why, and the description is for its user to edit.
"""

import re
from pathlib import Path

from flipbench.data import dataset
from flipbench.data.own import describe_fields, guess, sample, sources
from flipbench.data.own.description import Format
from flipbench.data.own.draft import Draft, Tables, spelled, usable
from flipbench.data.own.guess import Column, Role
from flipbench.data.own.sample import SEPARATORS, Sample
from flipbench.data.own.sources import Source
from flipbench.errors import UserError, nearest, shorten


def describe(path: Path, label: str | None = None) -> Draft:
    """What a file or folder holds.

    Args:
        path: a CSV, TSV or Parquet file, a folder of RecBole's atomic files, or one with given parts.
        label: the column of the label, where it is known.

    Raises:
        UserError: a file is missing, damaged or no table, files do not go together, or no column looks like a label.
    """
    source = sources.find(path)
    tables = _read(source)
    role = _label(path, source, tables, label)
    shown = tables.interactions
    draft = Draft(source, _name(source.name), len(shown.rows), shown.whole, role)
    draft.note("files", source.kind, ", ".join(file.name for file in _files(source)))
    for note in source.notes:
        draft.note("files", "note", note)
    looked = "all of them" if shown.whole else f"the first of {shown.path.name}; the rest is not looked at"
    draft.note("rows", f"{draft.rows:,}", looked)
    _form(draft, tables.samples)
    draft.note("label", f"{role.column} {role.rule}" if role.rule else role.column, role.why)
    _keys(draft, tables)
    _roles(draft, tables)
    _order_and_split(draft, tables)
    describe_fields.add(draft, tables)
    if len(draft.fields) < 2:
        reasons = "; ".join(f"{name} {why}" for name, why in draft.left_out)
        raise UserError(f"{path}: fewer than two columns are left for fields: {shorten(reasons, 400)}")
    return draft


def _files(source: Source) -> list[Path]:
    return [file for file in (*source.interactions.values(), source.users, source.items) if file]


def _read(source: Source) -> Tables:
    samples = {part: sample.read(file, source.typed) for part, file in source.interactions.items()}
    first, *others = samples.values()
    for other in others:
        missing = [name for name in first.rows.columns if name not in other.rows.columns]
        if missing:
            raise UserError(f"{other.path}:1: no column '{shorten(missing[0])}', which {first.path.name} has")
    sides = {"user": source.users, "item": source.items}
    side_samples = {side: sample.read(file, source.typed) for side, file in sides.items() if file}
    types: dict[str, str] = {}
    for each in (first, *side_samples.values()):
        types |= dict(zip(each.rows.columns, each.types, strict=False))
    side_columns = {side: _columns(each) for side, each in side_samples.items()}
    return Tables(first, side_samples, _columns(first), side_columns, types)


def _columns(of: Sample) -> dict[str, Column]:
    return {name: Column(name, of.rows[name]) for name in of.rows.columns if usable(name)}


def _name(text: str) -> str:
    """A data set's name made of a file's: a-z, 0-9 and -, and not a registered one."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "my-data"
    return f"my-{name}" if name in dataset.names() else name


def _label(path: Path, source: Source, tables: Tables, given: str | None) -> Role:
    columns = tables.columns
    if given is not None:
        if given not in columns:
            raise UserError(f"{path}: no column '{shorten(given)}'{nearest(given, columns)}")
        role = guess.as_label(columns[given])
        if role is None:
            raise UserError(f"{path}: column '{given}': is neither of 0 and 1 nor of numbers: {columns[given].shown()}")
        return role
    if source.config and source.config.label in columns:
        role = guess.as_label(columns[source.config.label])
        if role:
            return Role(role.column, f"as {source.config.path.name} says", role.rule)
    if role := guess.label(columns):
        return role
    listed = ", ".join(columns)
    hint = "no column looks like a label (0 and 1, or a rating); name it with --label"
    raise UserError(f"{tables.interactions.path}: {hint}; columns: {shorten(listed, 400)}")


def _form(draft: Draft, samples: list[Sample]) -> None:
    """What divides values, and the encoding, which all text files share."""
    texts = [each for each in samples if each.separator]
    if not texts:
        return
    first = texts[0]
    for other in texts[1:]:
        if other.separator != first.separator:
            names = [SEPARATORS[each.separator or ","] for each in (other, first)]
            raise UserError(f"{other.path}: values between {names[0]}s, in {first.path.name} between {names[1]}s")
    separator = first.separator or ","
    usual = Format().separator_of(first.path)
    draft.separator = separator if separator != usual else None
    draft.note("separator", SEPARATORS[separator], "gives each of the first lines as many values as the header")
    encodings = {each.encoding: each.path.name for each in texts if each.encoding != "ascii"}
    if len(encodings) > 1:
        listed = ", ".join(f"{name} in {encoding}" for encoding, name in encodings.items())
        raise UserError(f"{first.path.parent}: files in several encodings ({listed}): save them in UTF-8")
    draft.encoding = next(iter(encodings), "utf-8")
    why = "a guess: it is no UTF-8; look at letters beyond a to z"
    if draft.encoding in ("utf-8", "utf-16"):
        why = "the sample reads as it" if encodings else "the sample has plain letters alone"
    draft.note("encoding", draft.encoding, why)


def _keys(draft: Draft, tables: Tables) -> None:
    """The columns that join the tables of users and items."""
    for side, each in tables.sides.items():
        both = [name for name in tables.side_columns[side] if name in tables.columns]
        if not both:
            raise UserError(f"{each.path}: shares no column with {tables.interactions.path.name}, to be joined by")
        nouns = guess.USERS if side == "user" else guess.ITEMS
        role = guess.identifier({name: tables.columns[name] for name in both}, nouns)
        draft.keys[side] = role.column if role else both[0]
        draft.note(f"key of {side}s", draft.keys[side], f"a column of both {each.path.name} and the interactions")


def _roles(draft: Draft, tables: Tables) -> None:
    free = {name: column for name, column in tables.columns.items() if name != draft.label.column}
    found: dict[str, Role | None] = {}
    for side, nouns in (("user", guess.USERS), ("item", guess.ITEMS)):
        key = draft.keys.get(side)
        found[side] = Role(key, f"the key of {side}s") if key else guess.identifier(free, nouns)
        if role := found[side]:
            free.pop(role.column, None)
    config = draft.source.config
    if config and (role := found["item"]) and role.column not in config.fields:
        found["item"] = None
    draft.user, draft.item, draft.time = found["user"], found["item"], guess.time(free)
    without = {
        "user": "no column is called so; tests resample rows instead of users",
        "item": "no column is called so; there are no slices by popularity",
        "time": "no column has times",
    }
    for what, role in (("user", draft.user), ("item", draft.item), ("time", draft.time)):
        draft.note(what, role.column if role else "none", role.why if role else without[what])


def _order_and_split(draft: Draft, tables: Tables) -> None:
    taken = {role.column for role in (draft.label, draft.user, draft.item, draft.time) if role}
    named = guess.parts({name: column for name, column in tables.columns.items() if name not in taken})
    if len(draft.source.interactions) > 1:
        draft.split, why = "files", "the files are the parts"
    elif named:
        values = "".join(f", {part}: {spelled(value)}" for part, value in named[1].items())
        draft.split, why = f"{{column: {spelled(named[0].column)}{values}}}", named[0].why
        draft.left_out.append((named[0].column, "says which part a row is in"))
    else:
        why = "the last tenth in time" if draft.time else "a tenth drawn once and for all"
    if draft.time:
        draft.note("order", "by time", f"rows are sorted by {draft.time.column}")
        draft.left_out.append((draft.time.column, "is the time"))
    else:
        draft.order = "shuffled" if draft.split.startswith("{test") else "file"
        told = {"shuffled": "no time, and files are often sorted by user or label", "file": "no time; as the files are"}
        draft.note("order", draft.order, told[draft.order])
    draft.note("split", draft.split, why)
