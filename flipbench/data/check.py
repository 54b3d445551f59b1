"""What a prepared table holds, beside what the paper says it should."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flipbench.data.dataset import get
from flipbench.data.split import test_rows, training_rows, training_size
from flipbench.data.store import open_table
from flipbench.data.table import Table

Number = int | float | str


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
    """Count a prepared table, after verifying its checksums.

    Raises:
        UserError: unknown data set, not prepared, or changed since.
    """
    dataset, table = get(name), open_table(name)
    expected = dict(dataset.expected)
    if "samples" in expected:  # the paper: first 90 % train, last 10 % test
        expected["training rows"] = training_size(expected["samples"])
        expected["test rows"] = expected["samples"] - expected["training rows"]
    lines = [
        Line(what, ours, expected.get(what), dataset.reasons.get(what, "")) for what, ours in _counts(table).items()
    ]
    notes = [Line(what.replace("_", " "), ours) for what, ours in table.meta.items()]
    return CheckResult(name, (*lines, *notes, Line("fingerprint", table.fingerprint, dataset.fingerprint)))


def _counts(table: Table) -> dict[str, Number]:
    training, test = training_rows(table, "chronological"), test_rows(table, "chronological")
    sizes = np.diff(table.offsets)
    rate = float(np.mean(table.labels))
    return {
        "samples": len(table),
        "fields": len(table.fields),
        "features": table.num_features - 1,
        "positives": int(np.sum(table.labels)),
        "users": int(sizes[table.user_column]),
        "items": int(sizes[table.item_column]),
        "training rows": len(training),
        "test rows": len(test),
        "test rows of users unseen in training": _unseen(table, training.ids, test.ids, table.user_column),
        "test rows of items unseen in training": _unseen(table, training.ids, test.ids, table.item_column),
        "logloss of the base rate": round(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)), 4),
    }


def _unseen(table: Table, training: Any, test: Any, column: int) -> str:
    seen = np.zeros(table.num_features, bool)
    seen[training[:, column]] = True
    return f"{np.mean(~seen[test[:, column]]):.2%}"


def _text(value: Number | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
