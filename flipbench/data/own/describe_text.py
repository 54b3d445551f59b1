"""A draft of a data set as the YAML file that its user edits: the guesses, and what else could stand there."""

import os
from collections.abc import Iterator
from pathlib import Path

from flipbench import yamlfile
from flipbench.data.own.draft import Draft, FieldGuess, spelled
from flipbench.errors import UserError
from flipbench.printable import one_line

WIDE = 60
"""Columns of a line before its comment."""


def written(draft: Draft, beside: Path) -> str:
    """The text of the file.

    Args:
        beside: the folder that it will lie in, from which it names the files.

    Raises:
        UserError: there are more columns than such a file may list.
    """
    text = "".join(f"{line.rstrip()}\n" for line in _lines(draft, beside))
    if len(text.encode()) > yamlfile.MOST_BYTES:
        count = len(draft.fields) + len(draft.left_out)
        raise UserError(f"{draft.name}: {count:,} columns are more than a description may list")
    return text


def _lines(draft: Draft, beside: Path) -> Iterator[str]:
    rows = f"all {draft.rows:,} rows" if draft.whole else f"the first {draft.rows:,} rows"
    yield f"# Guessed by 'flipbench data describe' from {rows}: check it, and edit what is not so."
    yield f"dataset: {spelled(draft.name)}"
    yield f"title: {spelled(draft.name)}"
    yield "# citation: whom to cite"
    yield "# licence: what use is allowed"
    yield from _files(draft, beside)
    yield from _format(draft)
    yield ""
    yield from _label(draft)
    yield from _roles(draft)
    yield from _order(draft)
    yield ""
    yield "# clean: false would leave texts as they are; else HTML entities, tags and doubly encoded letters are mended"
    yield "# In order, as models see them. Beside its column a field may have"
    yield "#   words: what a prompt calls it          side: user, item or context"
    yield "#   buckets: of numbers, {quantiles: 10}, {log: 2} or {edges: [0, 10]}, fitted on training rows alone"
    yield '#   many: "|", what separates several values, of which take: first, or all as one text'
    yield "fields:"
    for field in draft.fields:
        yield _commented(f"  - {_field(field)}", field.why)
    for name, why in draft.left_out:
        yield _commented(f"  # - {_quoted(name)}", why)


def _files(draft: Draft, beside: Path) -> Iterator[str]:
    source = draft.source
    yield "files:"
    if len(source.interactions) == 1:
        yield f"  interactions: {_path(next(iter(source.interactions.values())), beside)}"
    else:
        yield "  interactions:"
        for part, path in source.interactions.items():
            yield f"    {part}: {_path(path, beside)}"
    for side, table in (("user", source.users), ("item", source.items)):
        if table:
            yield f"  {side}s: {{file: {_path(table, beside)}, key: {spelled(draft.keys[side])}}}"


def _format(draft: Draft) -> Iterator[str]:
    options = {}
    if draft.separator:
        options["separator"] = '"\\t"' if draft.separator == "\t" else f'"{draft.separator}"'
    if draft.encoding != "utf-8":
        options["encoding"] = draft.encoding
    if draft.source.typed:
        options["types"] = "true"
    if options:
        listed = ", ".join(f"{key}: {value}" for key, value in options.items())
        yield f"format: {{{listed}}}"


def _label(draft: Draft) -> Iterator[str]:
    label = draft.label
    if label.rule is None:
        yield _commented(f"label: {spelled(label.column)}", label.why)
        return
    rule = f"label: {{column: {spelled(label.column)}, positive: {spelled(label.rule)}}}"
    yield _commented(rule, label.why)
    yield "# with drop: [3] beside it, rows whose value is 3 are left out, as the paper does with MovieLens-1M"


def _roles(draft: Draft) -> Iterator[str]:
    for what, role in (("user", draft.user), ("item", draft.item), ("time", draft.time)):
        if role:
            yield _commented(f"{what}: {spelled(role.column)}", role.why)
        else:
            why = next(why for kind, _, why in draft.notes if kind == what)
            yield _commented(f"# {what}: COLUMN", why)


def _order(draft: Draft) -> Iterator[str]:
    if draft.order:
        why = next(why for kind, _, why in draft.notes if kind == "order")
        yield _commented(f"order: {draft.order}", why)
    else:
        ties = ", ".join(spelled(role.column) for role in (draft.user, draft.item) if role)
        yield f"# ties: [{ties}] would order the rows of one time by these, instead of as in the file"
    why = next(why for kind, _, why in draft.notes if kind == "split")
    yield _commented(f"split: {draft.split}", why)


def _field(field: FieldGuess) -> str:
    options = "".join(f", {key}: {value}" for key, value in field.options.items())
    return f"{{column: {spelled(field.column)}{options}}}"


def _path(path: Path, beside: Path) -> str:
    """A path from the description's folder, or an absolute one where there is none."""
    try:
        return spelled(Path(os.path.relpath(path.resolve(), beside.resolve())).as_posix())
    except ValueError:  # another drive of Windows
        return spelled(path.resolve().as_posix())


def _quoted(name: str) -> str:
    return spelled(name) if name.isprintable() else repr(name)


def _commented(line: str, comment: str) -> str:
    return f"{line:{WIDE}}  # {one_line(comment)}" if comment else line
