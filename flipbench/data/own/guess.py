"""Guesses about the columns of a table, from their names and a sample of its rows as text; each says why."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEW = 50
"""Different numbers that are kept as they are; more want buckets."""
REPEATS = 50
"""Rows of users or items seen before, from which it is judged whether a column describes them."""


def _listed(words: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in words.split("," if "," in words else " "))


USERS = _listed("user uid userid reviewer visitor visitorid customer member consumer reader viewer buyer account")
ITEMS = _listed(
    "item iid itemid movie movieid film book product productid isbn asin ad adgroup article news song track video game "
    "restaurant business sku poi photo"
)
IDENTIFIES = _listed("id ids number no idx index key code hash")
LABELS = _listed(
    "label, click, clicked, clk, is click, is clicked, target, y, like, liked, is like, purchase, purchased, "
    "conversion, converted, interacted, positive, watched, buy, bought, is attributed, response, long view"
)
RATINGS = _listed("rating ratings stars star score overall rate")
AVERAGES = _listed("average avg mean count num total max min std")
TIMES = _listed("time timestamp ts date datetime day hour created updated unixtime")
SPLITS = _listed("split part fold set subset partition")
PARTS = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "validation", "val", "va", "dev"),
    "test": ("test", "test", "te", "testing"),
}
"""Of a column that says the part; the test's by the spelling of training's."""
CODES = _listed("id ids code zip zipcode postcode postal hash key uuid category cat phone isbn")
AMOUNTS = _listed(
    "price amount count cnt num number quantity age duration length size views likes score rating average avg mean sum "
    "total income salary distance days hours minutes seconds pages year height weight popularity rank ratio rate"
)
PROSE = _listed("title name text description review summary comment headline abstract caption")

BINARY = {"0", "1", "0.0", "1.0", "true", "false"}
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
_UNKNOWN = "numbers that are sorted as they are"
_UNITS = ((1e8, 1e10, "seconds"), (1e11, 1e13, "milliseconds"), (1e14, 1e16, "microseconds"))


def words_of(name: str) -> list[str]:
    """The words of a column's name: ``user_id``, ``userId`` and ``User-ID`` alike are user, id."""
    return re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


class Column:
    """What a sample shows of a column; missing values are empty text, and no values."""

    def __init__(self, name: str, values: "pd.Series[str]") -> None:
        self.name, self.words, self.values = name, words_of(name), values
        self.known = values[values.str.strip() != ""]
        self.empty = len(values) - len(self.known)
        self.distinct = self.known.drop_duplicates()
        numbers = pd.to_numeric(self.distinct, errors="coerce").to_numpy(float)
        self.numeric = bool(len(numbers)) and bool(np.isfinite(numbers).all())
        self.integer = self.numeric and bool(self.distinct.str.fullmatch(r"-?\d+").all())

    @property
    def numbers(self) -> NDArray[np.float64]:
        """All known values of a numeric column."""
        return np.asarray(pd.to_numeric(self.known), np.float64)

    def named(self, *groups: Iterable[str]) -> bool:
        """Whether a word of the name is in one of the groups."""
        return any(word in group for group in groups for word in self.words)

    def shown(self, most: int = 3) -> str:
        """A few of its values, for people."""
        return ", ".join(repr(value)[1:-1][:30] for value in self.distinct[:most])


@dataclass(frozen=True)
class Role:
    """A column that is the label, the user, the item or the time, and why.

    Attributes:
        rule: for a label that is no 0/1 column, which numbers are positive.
    """

    column: str
    why: str
    rule: str | None = None


Columns = Mapping[str, Column]


def label(columns: Columns) -> Role | None:
    """A 0/1 column with a label's name, else a rating, else the only 0/1 column."""
    binary = [column for column in columns.values() if len(column.distinct) and _is_binary(column)]
    for name in LABELS:
        for column in binary:
            if " ".join(column.words) == name:
                return Role(column.name, f"a column of {column.shown(2)} with a label's name{_classes(column)}")
    for column in columns.values():
        if column.numeric and column.named(RATINGS) and not column.named(AVERAGES):
            return rated(column)
    if len(binary) == 1:
        return Role(binary[0].name, f"the only column of 0 and 1{_classes(binary[0])}")
    return None


def as_label(column: Column) -> Role | None:
    """The label that the user named; None where no rule makes one of it."""
    if _is_binary(column):
        return Role(column.name, f"as you say{_classes(column)}")
    return rated(column) if column.numeric else None


def rated(column: Column) -> Role:
    """Positive above the middle of the scale: above 3 of 5, above 5 of 10, above half of what is more."""
    top, positive = float(column.numbers.max()), 3.0
    if top > 5:
        positive = 5 if top <= 10 else top // 2
    share = float(np.mean(column.numbers > positive))
    scale = f"a rating from {column.numbers.min():g} to {top:g}"
    return Role(column.name, f"{scale}, above {positive:g} in {share:.0%} of the rows", rule=f"> {positive:g}")


def _is_binary(column: Column) -> bool:
    return bool(len(column.distinct)) and set(column.distinct.str.strip().str.lower()) <= BINARY


def _classes(column: Column) -> str:
    ones = column.known.str.strip().str.lower().isin(["1", "1.0", "true"]).mean()
    if ones in (0, 1):
        return f", of which the sample has {column.shown(1)} alone"
    return f", positive in {ones:.1%} of the rows"


def identifier(columns: Columns, nouns: Iterable[str]) -> Role | None:
    """The column whose name identifies a user, or an item: ``user_id`` before ``user``."""
    nouns = list(nouns)
    for endings in (IDENTIFIES, [""]):
        for noun in nouns:
            for column in columns.values():
                first, rest = column.words[:1], column.words[1:]
                if first == [noun] and (rest[0] if rest else "") in endings and len(rest) <= 1:
                    return Role(column.name, f"by its name; {len(column.distinct):,} different ones")
    return None


def time(columns: Columns) -> Role | None:
    """A column with a time's name and values that are times or are many, else one of ISO dates and times."""
    candidates = [(column, unit) for column in columns.values() if not column.empty and (unit := _unit(column))]
    for column, unit in candidates:
        if all(word in TIMES for word in column.words):
            return Role(column.name, f"by its name; {unit}, such as {column.shown(1)}")
    for column, unit in candidates:
        if unit != _UNKNOWN and (column.named(TIMES) or unit.startswith("ISO")):  # no play_time of 7200
            return Role(column.name, f"{unit}, such as {column.shown(1)}")
    return None


def _unit(column: Column) -> str | None:
    """What the values of a time are in; None where they are no times."""
    if not len(column.distinct):
        return None
    if column.distinct.str.fullmatch(_ISO).all():
        return "ISO dates" if column.distinct.str.len().max() == 10 else "ISO dates and times"
    if not column.numeric:
        return None
    low, high = column.numbers.min(), column.numbers.max()
    for first, last, unit in _UNITS:
        if first <= low and high < last:
            return f"{unit} since 1970"
    if len(column.distinct) > FEW or low >= 19_000_000:
        return _UNKNOWN
    return None


def parts(columns: Columns) -> tuple[Role, dict[str, str]] | None:
    """A column that says train, valid or test, and its values by part."""
    for column in columns.values():
        values = {value.lower(): value for value in column.distinct} if len(column.distinct) <= 3 else {}
        named = {part: values[word] for part, words in PARTS.items() for word in words if word in values}
        full = len(named) == len(column.distinct) and not column.empty
        if full and "train" in named and (column.named(SPLITS) or len(named) > 1):
            told = f"its values are {column.shown()}"
            if "test" not in named:  # which may come after the sample
                at = PARTS["train"].index(named["train"].lower())
                named["test"] = _spelled_as(PARTS["test"][at], named["train"])
                told += " in the sample; that of test is a guess, and valid may have one too"
            return Role(column.name, told), named
    return None


def _spelled_as(word: str, other: str) -> str:
    """A word in the capitals of another."""
    return word.upper() if other.isupper() else word.capitalize() if other[0].isupper() else word


def gives_away(column: Column, labels: "pd.Series[str]") -> bool:
    """Whether the label follows from the column, whose values are few: a rating beside the click made of it."""
    if len(column.distinct) < 2 or len(column.distinct) * 20 > len(column.known) or labels.nunique() < 2:
        return False
    return bool((labels.groupby(column.values, sort=False).nunique() == 1).all())


def describes(column: Column, key: Column) -> bool:
    """Whether the column has one value for each user, or item, of the key, as far as the sample repeats them."""
    if len(column.distinct) < 2 or len(key.values) - len(key.distinct) < REPEATS:
        return False
    return bool((column.values.groupby(key.values, sort=False).nunique() == 1).all())


def needless(column: Column) -> str | None:
    """Why a column of the interactions is no field, if it is none."""
    if re.fullmatch(r"Unnamed: \d+", column.name):
        return "numbers the rows"
    if len(column.distinct) == 0:
        return "empty in the sample"
    if len(column.distinct) == 1 and not column.empty:
        return f"has one value in the sample, {column.shown()}"
    if len(column.values) > 2 * FEW and len(column.distinct) > 0.99 * len(column.values):
        return "has another value in every row"
    return None


def is_amount(column: Column, declared: bool | None = None) -> bool:
    """Whether the numbers are amounts, to be put into buckets, rather than ids or a few classes.

    Args:
        declared: what a format says of it.
    """
    if not column.numeric or len(column.distinct) <= FEW or declared is False:
        return False
    if declared or re.fullmatch(r"I\d+", column.name):
        return True
    if column.named(CODES) or re.fullmatch(r"C\d+", column.name):
        return False
    return not column.integer or column.named(AMOUNTS) or _heavy_tailed(column)


def buckets(column: Column) -> str:
    """Buckets for the amounts of a column, as a description spells them."""
    return "{log: 2}" if column.integer and _heavy_tailed(column) else "{quantiles: 10}"


def _heavy_tailed(column: Column) -> bool:
    numbers = column.numbers
    return bool(numbers.min() >= 0 and np.quantile(numbers, 0.99) >= 100 * max(1, np.median(numbers)))


def separator_within(column: Column) -> tuple[str, str] | None:
    """What separates several values in one, and such a value: pieces that are far fewer than what is made of them."""
    if column.numeric or column.named(PROSE):
        return None
    for separator in ("|", "^", ";", ","):
        several = column.distinct[column.distinct.str.contains(separator, regex=False)]
        if len(several) < max(1, 0.2 * len(column.distinct)):
            continue
        pieces = several.str.split(separator, regex=False).explode().str.strip()
        different = pieces.nunique()
        if separator in "|^" or (different * 2 <= len(several) and different * 5 <= len(pieces)):
            return separator, str(several.iloc[0])
    return None
