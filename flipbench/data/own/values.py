"""What the different values of a column mean: labels, features, ranks. A column's rows are not looked at."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipbench.data.clean import UNKNOWN, Cleaner
from flipbench.data.own.buckets import in_words
from flipbench.data.own.columns import MANY, shown
from flipbench.data.own.description import FieldSpec, Label
from flipbench.errors import UserError

Wrong = Callable[[int, str], UserError]
"""What to raise of the value of a number."""

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
"""A whole number in the one way to write it."""

LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
DROPPED = 2

_HOLDS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq}


def labels_of(label: Label, values: Sequence[str], wrong: Wrong) -> NDArray[np.uint8]:
    """[V]: 0, 1 or :data:`DROPPED` of each value.

    Raises:
        UserError: a value is neither.
    """
    return np.array([_label(label, value, code, wrong) for code, value in enumerate(values)], np.uint8)


def _label(label: Label, text: str, code: int, wrong: Wrong) -> int:
    text = text.strip()
    number = number_of(text)
    if any(text == each or (number is not None and number == each) for each in label.drop):
        return DROPPED
    if not text:
        raise wrong(code, "is empty")
    if label.positive:
        if number is None:
            raise wrong(
                code, f"{shown(text)} is no number, and the label is one with {' '.join(map(str, label.positive))}"
            )
        sign, bound = label.positive
        return int(_HOLDS[sign](number, bound))
    if (known := LABELS.get(text.lower())) is None:
        rule = '; a rule makes one of it, as label: {column: rating, positive: "> 3"}' if number is not None else ""
        raise wrong(code, f"{shown(text)} is no 0 or 1, true or false{rule}")
    return known


def number_of(text: str) -> float | None:
    """A finite number, written as in most files; None for anything else."""
    if not re.fullmatch(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?\s*", text, re.ASCII):
        return None
    number = float(text)
    return number if abs(number) < float("inf") else None


def as_features(
    spec: FieldSpec,
    values: Sequence[str],
    occurs: NDArray[Any],
    training: NDArray[Any],
    clean: Cleaner | None,
    wrong: Wrong,
) -> tuple[list[str], bool]:
    """The feature of each value of a column, and whether all that occur are whole numbers, to be sorted as such.

    Args:
        occurs, training: [V], how many rows have each value, and how many of the training part.
        clean: None to leave texts as they are.

    Raises:
        UserError: a value that occurs is no number where the field needs one, or several where it has one.
    """
    there = (occurs > 0).tolist()
    if spec.buckets:
        numbers = [
            _number(value, code, wrong) if is_there else np.nan
            for code, (value, is_there) in enumerate(zip(values, there, strict=True))
        ]
        return in_words(spec.buckets, np.array(numbers), training), False
    texts = []
    for code, (value, is_there) in enumerate(zip(values, there, strict=True)):
        if not is_there:
            texts.append("")
        elif spec.many:
            texts.append(_joined(spec, value))
        elif MANY in value:
            raise wrong(code, 'has a list of values; give the field many: "|", and take: first or all')
        else:
            texts.append(value)
    whole = spec.numbers is not False and not spec.many
    if whole:
        other = next((c for c, text in enumerate(texts) if there[c] and not WHOLE.fullmatch(text)), None)
        if other is not None and spec.numbers and texts[other].strip():
            raise wrong(
                other, f"{shown(texts[other])} is no whole number as it is usually written; leave out 'numbers'"
            )
        whole = other is None
    if whole:
        return texts, True
    return clean.known(texts) if clean else [text or UNKNOWN for text in texts], False


def ranks_of(values: Sequence[str]) -> NDArray[np.int64]:
    """[V]: the place of each value among the others, as numbers where all are."""
    whole = all(WHOLE.fullmatch(value) for value in values)
    order = sorted(range(len(values)), key=(lambda code: int(values[code])) if whole else (lambda code: values[code]))
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values))
    return ranks


def _number(value: str, code: int, wrong: Wrong) -> float:
    if not value.strip():
        return float("nan")
    if (number := number_of(value)) is None:
        raise wrong(code, f"{shown(value)} is no number, and the field has buckets")
    return number


def _joined(spec: FieldSpec, value: str) -> str:
    """The first of many values, or all of them as one text."""
    separator = MANY if MANY in value else spec.many
    parts = [part.strip() for part in value.split(separator)]
    parts = [part for part in parts if part]
    return ", ".join(parts) if spec.take == "all" else next(iter(parts), "")
