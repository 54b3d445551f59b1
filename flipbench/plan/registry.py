"""Methods, pretrainings and inspections by name: entry points, and what each declares, without importing torch.

A class declares ``version``, ``settings`` and so on in its body. Where that can be read from the source file's syntax
tree for certain it is, so that ``list``, ``plan`` and ``status`` answer at once; everything else is imported, slower
but just as valid (:mod:`flipbench.plan.declarations`).
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from flipbench import plugins
from flipbench.errors import UserError, described, nearest, shorten
from flipbench.places import Source
from flipbench.plan.declarations import check_declared, read_declarations
from flipbench.plan.settings import (
    PRETRAIN,
    TRAINING,
    TRAINING_GRID,
    TRAINING_RULES,
    Rules,
    Setting,
    Settings,
    Value,
    flatten,
    nest,
)
from flipbench.plan.unregistered import Unregistered
from flipbench.plan.unregistered import unregistered as find_unregistered

T = TypeVar("T")

GROUPS = {
    "floor": "flipbench.floors",
    "id": "flipbench.id_models",
    "plm": "flipbench.plm_methods",
    "hybrid": "flipbench.hybrid_methods",
}
"""Entry-point group by kind of method: a floor, an ID-based model, a PLM alone, or the last two together."""

PRETRAININGS = "flipbench.pretrainings"
"""Entry-point group of the pretrainings that methods name."""

INSPECTIONS = "flipbench.inspections"
"""Entry-point group of what can be measured of a pretraining."""

_METHOD = ("version", "settings", "grid", "flavours", "pretraining", "rules", "switches")
_DEFAULTS: dict[str, Any] = {"grid": {}, "flavours": {}, "pretraining": "", "rules": (), "switches": (), "needs": ()}
_INSPECTION = ("version", "settings", "pretrainings", "needs")


@dataclass(frozen=True)
class Declaration:
    """What is known of a method, or of a pretraining, before its code runs.

    Attributes:
        name: registered name. kind: one of :data:`GROUPS`; empty for a pretraining. target: ``module:Class``.
        summary: first docstring line.
        version: raised by its author when results change.
        settings: what a run of it is determined by, with the sources of the defaults; a pretraining's under
            ``pretrain``.
        grid: search values by setting.
        flavours: other defaults under a name that the setting ``flavour`` chooses.
        pretraining: registered name of the pretraining that it starts from; empty for none.
        rules: what must hold between the settings.
        switches: of a pretraining, the settings that leave nothing to pretrain on where all of them are off.
    """

    name: str
    kind: str
    target: str
    summary: str
    version: int
    settings: Settings
    grid: Mapping[str, Any]
    flavours: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pretraining: str = ""
    rules: Rules = ()
    switches: Sequence[str] = ()

    @property
    def guesses(self) -> list[str]:
        """Dotted names of the settings that neither the paper nor released code states."""
        flat: dict[str, Setting] = flatten(self.settings)
        return sorted(name for name, setting in flat.items() if setting.source == "guess")

    def problem(self, settings: Mapping[str, Any]) -> str:
        """How settings do not go together, those of the pretraining included; empty where they do."""
        problems = (rule.problem(settings) for rule in self.rules)
        if first := next(filter(None, problems), ""):
            return first
        if self.pretraining and (inner := pretraining(self.pretraining).problem(settings[PRETRAIN])):
            return f"{PRETRAIN}.{inner}"
        return ""

    def is_on(self, settings: Mapping[str, Any]) -> bool:
        """Of a pretraining, whether its settings leave anything to pretrain on."""
        return not self.switches or any(settings[name] for name in self.switches)

    def load(self) -> type:
        """The class itself (imports torch)."""
        return load(self.name, self.target)


@dataclass(frozen=True)
class Inspection:
    """What is known of an inspection before its code runs.

    Attributes:
        version: raised by its author when figures change.
        settings: how much is looked at.
        pretrainings: registered names of those that it can measure.
        needs: their switches that must be on.
    """

    name: str
    target: str
    version: int
    settings: Mapping[str, Value]
    pretrainings: Sequence[str]
    needs: Sequence[str] = ()

    def load(self) -> type:
        """The class itself (imports torch)."""
        return load(self.name, self.target)


def load(name: str, target: str) -> type:
    """The class at ``module:Class``."""
    loaded: type = EntryPoint(name, target, "").load()
    return loaded


def names(kind: str | None = None) -> list[str]:
    """Registered method names, in registration order."""
    return list(_methods(kind))


def unregistered(name: str) -> Unregistered | None:
    """What is left to do for an own model of that name in the working folder; None where it is known, or not there."""
    known = _methods(None)
    return None if name in known else find_unregistered(name, GROUPS["id"], {target for _, target in known.values()})


def inspections() -> list[str]:
    """Registered names of what can be measured of a pretraining."""
    return list(_targets(INSPECTIONS))


@cache
def get(name: str) -> Declaration:
    """The declaration of a registered method.

    Raises:
        UserError: no such method, and names the nearest; several of the name, and names both; or it cannot be
            imported, or declares what it must not.
    """
    if found := unregistered(name):
        raise UserError(f"{found.problem} ({found.place})")
    kind, target = _entry(name, _methods(None), "model", *GROUPS.values())
    declared = Declaration(name, kind, target, *_read(name, "model", target, _METHOD))
    settings, grid, rules = declared.settings, declared.grid, declared.rules
    if kind == "id":
        settings, grid, rules = {**TRAINING, **settings}, {**TRAINING_GRID, **grid}, [*TRAINING_RULES, *rules]
    if declared.pretraining:
        changed: Any = settings.get(PRETRAIN, {})
        inner = {**pretraining(declared.pretraining).settings, **changed}
        settings = {PRETRAIN: inner, **{n: s for n, s in settings.items() if n != PRETRAIN}}
    declared = replace(declared, settings=settings, grid=grid, rules=rules)
    try:
        declared.problem(nest({name: setting.value for name, setting in flatten(settings).items()}))
    except Exception as error:  # of a user's rule
        raise UserError(f"model '{name}' ({target}) declares rules that fail: {described(error)}") from error
    return declared


@cache
def pretraining(name: str) -> Declaration:
    """The declaration of a registered pretraining.

    Raises:
        UserError: as :func:`get`.
    """
    target = _entry(name, _targets(PRETRAININGS), "pretraining", PRETRAININGS)
    return Declaration(name, "", target, *_read(name, "pretraining", target, _METHOD))


def version_of(name: str) -> int:
    """The version of a registered method or pretraining; raises UserError where there is none of the name."""
    return (pretraining(name) if name in _targets(PRETRAININGS) else get(name)).version


@cache
def inspection(name: str) -> Inspection:
    """The declaration of a registered inspection.

    Raises:
        UserError: as :func:`get`.
    """
    target = _entry(name, _targets(INSPECTIONS), "inspection", INSPECTIONS)
    _, *declared = _read(name, "inspection", target, _INSPECTION)
    return Inspection(name, target, *declared)


@cache
def _targets(group: str) -> dict[str, str]:
    return {point.name: point.value for point in plugins.registered(group)}


@cache
def _methods(kind: str | None) -> dict[str, tuple[str, str]]:
    """Kind and target by name."""
    groups = {k: group for k, group in GROUPS.items() if kind in (None, k)}
    return {name: (k, target) for k, group in groups.items() for name, target in _targets(group).items()}


def _entry(name: str, entries: Mapping[str, T], what: str, *groups: str) -> T:
    """What is registered under a name in groups that share their names; raises UserError where nothing or several."""
    if name not in entries:
        raise UserError(f"unknown {what} '{shorten(name)}'{nearest(name, entries)}")
    plugins.refuse_twice(name, groups, what)
    return entries[name]


def _read(name: str, what: str, target: str, attributes: Sequence[str]) -> list[Any]:
    """The summary of the class at ``target``, and what it declares, with defaults where it declares nothing."""
    try:
        with redirect_stdout(sys.stderr):  # what a user's module prints is none of our output
            summary, declared = read_declarations(target, attributes)
    except (Exception, SystemExit) as error:  # of a user's module, while it is imported
        said = str(error) if isinstance(error, ImportError | AttributeError) else described(error)
        place = f" ({found})" if (found := Source(target).of_error(error)) else ""
        raise UserError(f"{what} '{name}' ({target}) cannot be loaded: {said}{place}") from error
    if missing := next((a for a in attributes if a not in declared and a not in _DEFAULTS), None):
        raise UserError(f"{what} '{name}' ({target}) declares no '{missing}'")
    values = {attribute: declared.get(attribute, _DEFAULTS.get(attribute)) for attribute in attributes}
    try:
        check_declared(values, plain=what == "inspection")
    except UserError as error:
        raise UserError(f"{what} '{name}' ({target}) declares {error}") from None
    return [summary, *values.values()]
