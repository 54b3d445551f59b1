"""What a prepared table holds, beside what the paper says it should."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from flipbench.data.dataset import Dataset, get, names
from flipbench.data.split import Rows, selection_rows, sizes, test_rows, training_rows, training_size
from flipbench.data.store import is_prepared, open_table
from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.protocol import Order, Validation

Number = int | float | str

SHOWN = 20
"""Entries of a list in a table's notes; the rest is counted."""


@dataclass(frozen=True)
class Line:
    """One quantity. ``expected`` is the paper's value (None: it gives none); ``reason`` explains a difference."""

    what: str
    ours: Number
    expected: Number | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """``equal``, ``differs: REASON`` or, with nothing to compare to, the empty string."""
        if self.expected is None:
            return ""
        if self.ours == self.expected:
            return "equal"
        return f"differs: {self.reason}" if self.reason else "differs"


@dataclass(frozen=True)
class CheckResult:
    """The quantities of a data set, in the order to show them."""

    name: str
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether every difference from the paper has its reason."""
        return all(line.verdict != "differs" for line in self.lines)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(what, ours, expected, verdict) as text."""
        return [(line.what, _text(line.ours), _text(line.expected), line.verdict) for line in self.lines]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "name": self.name,
            "ok": self.ok,
            "lines": [
                {"what": line.what, "ours": line.ours, "expected": line.expected, "verdict": line.verdict}
                for line in self.lines
            ],
        }


def check(name: str) -> CheckResult:
    """Count a prepared table, after verifying its checksums; that of a described data set is made if absent.

    Args:
        name: registered name, or the path of a file that describes a data set.

    Raises:
        UserError: unknown data set, not prepared, or changed since.
    """
    dataset, table = get(name), open_table(name)
    expected = dict(dataset.expected)
    if "samples" in expected:  # the paper: first 90 % train, last 10 % test
        expected["training rows"] = training_size(expected["samples"])
        expected["test rows"] = expected["samples"] - expected["training rows"]
    rate = float(np.mean(table.labels))
    entropy = round(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)), 4)
    counts = _counts(table) | _unseen(table, dataset.orders) | {"logloss of the base rate": entropy}
    lines = [Line(what, ours, expected.get(what), _reason(dataset, table, what)) for what, ours in counts.items()]
    return CheckResult(
        dataset.name, (*lines, *_notes(table), Line("fingerprint", table.fingerprint, dataset.fingerprint))
    )


def table_one() -> list[tuple[str, Line | None]]:
    """The paper's Table I with ours: (title, line) for every data set of the paper and quantity; None: not prepared."""
    lines: list[tuple[str, Line | None]] = []
    for dataset in (get(name) for name in names()):
        if dataset.expected and not is_prepared(dataset.name):
            lines.append((dataset.title, None))
        elif dataset.expected:
            table = open_table(dataset.name)
            ours = _counts(table)
            for what, expected in dataset.expected.items():
                lines.append((dataset.title, Line(what, ours[what], expected, _reason(dataset, table, what))))
    return lines


def _reason(dataset: Dataset, table: Table, what: str) -> str:
    """Why a count may differ from the paper's: first of all, that the raw files were not whole."""
    if "partial" in table.meta:
        return f"partial copy: {table.meta['partial']}"
    return dataset.reasons.get(what, "")


def _notes(table: Table) -> list[Line]:
    """What ``prepare`` noted; a list has a line for each of its first entries."""
    lines = []
    for key, value in table.meta.items():
        what, entries = key.replace("_", " "), value if isinstance(value, list) else [value]
        lines += [Line(what, entry) for entry in entries[:SHOWN]]
        lines += [Line(what, f"and {len(entries) - SHOWN:,} more")] if len(entries) > SHOWN else []
    return lines


def _counts(table: Table) -> dict[str, Number]:
    of_field, (training, fitted) = np.diff(table.offsets), sizes(table)
    counts: dict[str, Number] = {
        "samples": len(table),
        "fields": len(table.fields),
        "features": table.num_features - 1,
        "positives": int(np.sum(table.labels)),
    }
    for side, column in _identifiers(table).items():
        counts[side] = int(of_field[column])
    if table.users is not None:
        counts["users"] = len(np.unique(table.users))
    given = {"validation rows": training - fitted} if fitted < training else {}
    return {**counts, "training rows": training, **given, "test rows": len(table) - training}


def _identifiers(table: Table) -> dict[str, int]:
    """The columns that identify users and items, where there are such."""
    if table.layout is None:
        return {"users": table.user_column, "items": table.item_column}
    both = {"users": table.layout.user, "items": table.layout.item}
    return {side: column for side, column in both.items() if column is not None}


def _unseen(table: Table, orders: tuple[Order, ...]) -> dict[str, Number]:
    """What is new to the model in each part that is scored: by time, or for each order where none is the true one.

    Of the test part that is what no training row has, of a validation part what no row has that is fitted beside it.
    """
    shares: dict[str, Number] = {}
    for order in orders[:1] if orders[0] == "chronological" else orders:
        parts: dict[str, tuple[Rows, Rows]] = {"test": (training_rows(table, order), test_rows(table, order))}
        for validation in get_args(Validation):
            with suppress(UserError):  # too few rows a user for one of the two
                parts[f"validation {validation}"] = selection_rows(table, order, "held-out", validation)
        for part, (fitted, scored) in parts.items():
            known = np.zeros(table.num_features, bool)
            known[fitted.ids] = True
            new = ~known[scored.ids]
            of_sides = {side: new[:, column] for side, column in _identifiers(table).items()} | {"features": new}
            what = f"unseen in {part}" + (f", order {order}" if order != "chronological" else "")
            listed = ", ".join(f"{side} {np.mean(share):.2%}" for side, share in of_sides.items())
            shares[what] = f"{listed} of {len(scored):,} rows"
    return shares


def _text(value: Number | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
