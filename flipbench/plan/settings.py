"""What a method file declares beside its equation: settings with their source, what must hold between them, and a grid.

Nothing here imports torch, so that listing and planning stay instant.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from flipbench.errors import UserError, nearest, shorten

Value = bool | int | float | str | list[int]
Source = Literal["paper", "code", "guess"]


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both of them valid."""

    low: float
    high: float


ValidValues = Range | tuple[str, ...]
"""The range of a number, or the choices of a text."""


class Valid:
    """Valid values that many settings share."""

    LEARNING_RATE = Range(1e-12, 10.0)
    PENALTY = Range(0.0, 1e3)  # weight decay, embedding L2
    RATIO = Range(1e-6, 1.0)  # a share that is not nothing
    SHARE = Range(0.0, 0.999)  # of units dropped, of steps that warm up
    ROWS = Range(1, 1 << 24)  # of a batch
    EPOCHS = Range(1, 100_000)
    WIDTH = Range(1, 1 << 16)
    LAYERS = Range(1, 64)
    PRECISION = ("float32", "bfloat16")


@dataclass(frozen=True)
class Setting:
    """A setting: its default, who says so, where, and what else it may be.

    ``paper``: printed in the FLIP paper (``where`` names the section). ``code``: read in a
    released implementation. ``guess``: neither says it; ``where`` gives the reason.

    Attributes:
        valid: the range of a number, or the choices of a text; empty where any value of the default's type will do.
        only_with: the value that another setting of the same method must have for this one to be read, as (name,
            value); elsewhere it is no part of a key. None where it is always read.
        unkeyed: of a setting that came later than the first results, the value that stands for what they had: with it
            the setting is no part of a key, so that they are found again. None where it is always part of one.
    """

    value: Value
    source: Source
    where: str
    valid: ValidValues = ()
    only_with: tuple[str, Value] | None = None
    unkeyed: Value | None = None

    def is_keyed(self, value: Value) -> bool:
        """Whether the setting with this value is part of a key."""
        return self.unkeyed is None or value != self.unkeyed


def Paper(value: Value, where: str, valid: ValidValues = (), **keyed: Any) -> Setting:  # noqa: N802 - reads as a tag
    return Setting(value, "paper", where, valid, **keyed)


def Code(value: Value, where: str, valid: ValidValues = (), **keyed: Any) -> Setting:  # noqa: N802
    return Setting(value, "code", where, valid, **keyed)


def Guess(value: Value, where: str, valid: ValidValues = (), **keyed: Any) -> Setting:  # noqa: N802
    return Setting(value, "guess", where, valid, **keyed)


Settings = Mapping[str, "Setting | Mapping[str, Setting]"]
"""By name; a pretraining's settings that a method declares otherwise stand under ``pretrain``."""
Grid = Mapping[str, list[Any]]
"""Search values by setting name; the source of each bound stands beside it in the method file."""

Axes = Mapping[str, Sequence[Value]]
"""Searched settings by dotted name, each with its grid's values and, where it is none of them, its declared one."""

Fits = Callable[[Mapping[str, Value]], bool]
"""Whether the settings of a point, by dotted name, go together."""

DECAY = Guess(
    "plateau",
    "a tenth after every epoch without a better validation AUC, as in every log of BARS; none in released ctr_base.py",
    ("none", "plateau"),
    unkeyed="none",
)
"""Of every method that has an ID-based model and is trained at a rate that does not follow a schedule of its own."""

MAX_EPOCHS = Guess(
    30, "so that early stopping alone decides; 10 in released ctr_base.py, 25 for FLIP, 20 for FLIP_ID", Valid.EPOCHS
)
"""Of the same methods."""

L2_GRID: list[Any] = [0.0, 1e-5, 1e-4, 3e-4, 1e-3, 5e-3, 1e-2, 5e-2]
"""Of ``embedding_l2``, for all that have it: BARS searches to .1 on MovielensLatest, and finds .005 to .01."""

EMBEDDING_L2 = Guess(1e-3, "best validation AUC of DCNv2 on MovieLens-1M over 0 to 5e-2 (suite l2)", Valid.PENALTY)
"""Of every method that has an ID-based model."""

TRAINING: dict[str, Setting] = {
    "learning_rate": Code(1e-3, "released ctr_base.py: Adam, 1e-3", Valid.LEARNING_RATE),
    "embedding_l2": EMBEDDING_L2,
    "batch_size": Paper(256, "V-A4", Valid.ROWS),
    "decay": DECAY,
    "max_epochs": MAX_EPOCHS,
    "patience": Code(3, "released ctr_base.py: early stopping on AUC", Valid.EPOCHS),
    "oov": Guess(
        "random",
        "released code: a feature that training never shows keeps its random start; trained: one row a field stands "
        "for all of them, trained on 5 % of the ids",
        ("random", "trained"),
        unkeyed="random",
    ),
    "precision": Code(
        "float32", "released ctr_base.py; bfloat16: matrix products by autocast, all else float32", Valid.PRECISION
    ),
}
"""How an ID-based model is trained: settings that every one of them has beside its own."""

RATE_GRID: list[Any] = [1e-4, 5e-4, 1e-3, 5e-3]
"""Of the learning rate of an ID-based model, alone or beside a PLM: the upper part of V-A4's range (1e-5 to 5e-3)."""

PLM_RATE_GRID: list[Any] = [1e-5, 5e-5, 1e-4, 5e-4, 1e-3]
"""Of a PLM's learning rate: about the released 5e-5, up to the one rate of ClickPrompt's code."""

TRAINING_GRID: dict[str, list[Any]] = {
    "learning_rate": RATE_GRID,
    "embedding_l2": L2_GRID,
}
"""The shared part of every ID-based model's grid, one for all nine."""

DEEP: dict[str, Setting] = {
    "hidden": Paper([300, 300, 128], "V-A4"),
    "dropout": Code(0.0, "released ctr_base.py", Valid.SHARE),
    "batch_norm": Code(False, "released ctr_base.py; before the ReLU where it is on"),
}
"""The deep part that all models but AFM have."""

DEEP_GRID: dict[str, list[Any]] = {"dropout": [0.0, 0.2, 0.4], "batch_norm": [False, True]}
"""The deep part's search values (dropout: the range BARS searches, 0 to .6, at its better half)."""

TINYBERT = "huawei-noah/TinyBERT_General_4L_312D@34707a33cd59a94ecde241ac209bf35103691b43"
"""The PLM of the paper's main table."""


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names: ``{"pretrain": {"epochs": 5}}`` as ``{"pretrain.epochs": 5}``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`flatten` was given: dotted names as nested mappings."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *outer, last = name.split(".")
        inner = nested
        for each in outer:
            inner = inner.setdefault(each, {})
        inner[last] = value
    return nested


class Rule(Protocol):
    """What must hold between settings; a method file declares its own as ``rules``."""

    def problem(self, settings: Mapping[str, Any]) -> str:
        """What is wrong with the settings, ``NAME: ...; nearest: ...``; empty where nothing is."""
        ...


@dataclass(frozen=True)
class Divides:
    """The whole number ``part`` divides ``whole``, or ``instead`` where ``whole`` is 0."""

    part: str
    whole: str
    instead: str = ""

    def problem(self, settings: Mapping[str, Any]) -> str:
        name = self.whole if settings[self.whole] or not self.instead else self.instead
        part, whole = settings[self.part], settings[name]
        if part > 0 and whole % part == 0:
            return ""
        near = min((n for n in range(1, whole + 1) if whole % n == 0), key=lambda n: abs(n - part))
        return f"{self.part}: {part} does not divide {name} {whole}; nearest: {near}"


@dataclass(frozen=True)
class Halves:
    """All but the last of the widths ``name`` are even where ``where`` is on."""

    name: str
    where: str

    def problem(self, settings: Mapping[str, Any]) -> str:
        odd = [width for width in settings[self.name][:-1] if width % 2]
        if not (settings[self.where] and odd):
            return ""
        return f"{self.name}: {odd[0]} cannot be split in half ({self.where} is on); nearest: {odd[0] + 1}"


@dataclass(frozen=True)
class AtLeast:
    """``name`` is ``least`` or more: always, or where the setting ``where`` is there and on."""

    name: str
    least: int
    reason: str
    where: str = ""

    def problem(self, settings: Mapping[str, Any]) -> str:
        if settings[self.name] >= self.least or (self.where and not settings.get(self.where)):
            return ""
        return f"{self.name}: {settings[self.name]} is below {self.least}: {self.reason}; nearest: {self.least}"


@dataclass(frozen=True)
class TakesPrefix:
    """Where the setting ``form`` is ``prefix``, the PLM's attention takes keys and values from outside.

    Of a PLM in a local folder; one of the hub is looked at when it is loaded.
    """

    form: str

    def problem(self, settings: Mapping[str, Any]) -> str:
        from flipbench.text.source import PREFIXABLE, architecture

        given = flatten(settings)
        kind = architecture(str(given["plm"])) if given[self.form] == "prefix" else ""
        if kind in ("", *PREFIXABLE):
            return ""
        return f"{self.form}: 'prefix' does not work with PLM '{given['plm']}': '{kind}' takes none; nearest: prompt"


Rules = Sequence[Rule]


def check_rules(rules: Rules, settings: Mapping[str, Any]) -> None:
    """Raises UserError where settings do not go together: names the one to change, and its nearest valid value."""
    for rule in rules:
        if problem := rule.problem(settings):
            raise UserError(problem)


TRAINING_RULES: Rules = [AtLeast("batch_size", 2, "batch_norm needs rows to compare", where="batch_norm")]
"""Of every ID-based model."""

PRETRAIN = "pretrain"
"""The setting whose value is a mapping: the settings of the pretraining, which belong to its key alone."""


def shown(given: Any) -> str:
    """A value as an error line repeats it."""
    if isinstance(given, Mapping):
        return "a mapping"
    if isinstance(given, list) and any(isinstance(item, list | Mapping) for item in given):
        return "a list"
    if given is None or isinstance(given, bool):
        return {None: "nothing", True: "true", False: "false"}[given]
    return shorten(repr(given))


def check_value(where: str, value: Value, setting: Setting) -> Value:
    """``value`` in the type of the setting's default, and one of its valid values.

    Raises:
        UserError: another type, or not valid; begins with ``where``.
    """
    default, valid = setting.value, setting.valid
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    if type(value) is not type(default):
        raise UserError(f"{where}: expected {_TYPE_WORDS[type(default)]}, got {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is no finite number")
    if isinstance(value, list) and not _are_widths(value):
        most = f"{Valid.LAYERS.high:g} whole numbers from 1 to {Valid.WIDTH.high:g}"
        raise UserError(f"{where}: expected up to {most}, got {shown(value)}")
    if isinstance(valid, tuple) and valid and value not in valid:
        raise UserError(f"{where}: unknown '{shorten(str(value))}'{nearest(str(value), valid)}")
    if isinstance(valid, Range) and isinstance(value, int | float) and not valid.low <= value <= valid.high:
        raise UserError(f"{where}: {value} is not between {valid.low:g} and {valid.high:g}")
    return value


def _are_widths(values: list[Any]) -> bool:
    """Whether they are the widths of layers."""
    return 0 < len(values) <= Valid.LAYERS.high and all(type(v) is int and 0 < v <= Valid.WIDTH.high for v in values)


_TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list of numbers"}
