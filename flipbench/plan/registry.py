"""Methods by name: entry points, and each method's declarations without importing torch.

A method class declares ``version``, ``settings`` and ``grid`` as literals. They are read from the
source file's syntax tree, so that ``list``, ``plan`` and ``status`` answer at once; a class whose
declarations are not literals is imported instead, slower but just as valid.
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from flipbench.errors import UserError, nearest
from flipbench.plan import settings as method
from flipbench.plan.settings import PRETRAIN, TRAINING, TRAINING_GRID, TRAINING_RULES, Rules, Setting, Value

GROUPS = {"id": "flipbench.id_models", "plm": "flipbench.plm_methods", "hybrid": "flipbench.hybrid_methods"}
"""Entry-point group by kind of method: an ID-based model, a PLM alone, or both."""

PRETRAININGS = "flipbench.pretrainings"
"""Entry-point group of the pretrainings that methods name."""


@dataclass(frozen=True)
class Declaration:
    """What is known of a method before its code runs.

    Attributes:
        name: registered name. kind: one of :data:`GROUPS`. target: ``module:Class``. summary: first docstring line.
        version: raised by its author when results change.
        settings: what a run of it is determined by, with the sources of the defaults.
        grid: search values by setting.
        flavours: other defaults under a name that the setting ``flavour`` chooses.
        pretraining: registered name of the pretraining that it starts from; empty for none.
        rules: what must hold between the settings.
    """

    name: str
    kind: str
    target: str
    summary: str
    version: int
    settings: Mapping[str, Setting]
    grid: Mapping[str, list[Any]]
    flavours: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    pretraining: str = ""
    rules: Rules = ()

    @property
    def guesses(self) -> list[str]:
        """Names of the settings that neither the paper nor released code states."""
        return sorted(name for name, setting in self.settings.items() if setting.source == "guess")

    def load(self) -> type:
        """The class itself (imports torch)."""
        found: type = EntryPoint(self.name, self.target, self.kind).load()
        return found


def names(kind: str | None = None) -> list[str]:
    """Registered method names, in registration order."""
    return list(_targets(kind))


@cache
def get(name: str) -> Declaration:
    """The declaration of a registered method.

    Raises:
        UserError: no such method; names the nearest.
    """
    targets = _targets(None)
    if name not in targets:
        raise UserError(f"unknown model '{name}'{nearest(name, targets)}")
    kind, target = targets[name]
    try:
        found = _declared(target)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model '{name}' ({target}) cannot be loaded: {error}") from None
    settings, grid, rules = found.settings, found.grid, found.rules
    if kind == "id":
        settings, grid, rules = {**TRAINING, **settings}, {**TRAINING_GRID, **grid}, [*TRAINING_RULES, *rules]
    if found.pretraining:
        first = {PRETRAIN + own: setting for own, setting in pretraining(found.pretraining).settings.items()}
        settings = {**first, **settings}
    return replace(found, name=name, kind=kind, settings=settings, grid=grid, rules=rules)


@cache
def pretraining(name: str) -> Declaration:
    """The declaration of a registered pretraining; its settings are named without ``pretrain.``.

    Raises:
        UserError: no such pretraining; names the nearest.
    """
    targets = {point.name: point.value for point in entry_points(group=PRETRAININGS)}
    if name not in targets:
        raise UserError(f"unknown pretraining '{name}'{nearest(name, targets)}")
    try:
        found = _declared(targets[name])
    except (ImportError, AttributeError) as error:
        raise UserError(f"pretraining '{name}' ({targets[name]}) cannot be loaded: {error}") from None
    return replace(found, name=name)


@cache
def _targets(kind: str | None) -> dict[str, tuple[str, str]]:
    return {
        point.name: (group_kind, point.value)
        for group_kind, group in GROUPS.items()
        if kind in (None, group_kind)
        for point in entry_points(group=group)
    }


def _declared(target: str) -> Declaration:
    """What the class at ``module:Class`` declares; its name and kind are not known here."""
    return _from_source(target) or _from_class(target)


_NAMES = ("version", "settings", "grid", "pretraining", "rules")
"""The declarations that a class body may hold as literals; those after the third have defaults."""


def _from_source(target: str) -> Declaration | None:
    """Declarations evaluated from the class body's own assignments; None where they are not literal."""
    module, _, class_name = target.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"no module '{module}'")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name), None)
    if node is None:
        return None
    found: dict[str, Any] = {}
    for item in node.body:
        names = [t.id for t in item.targets if isinstance(t, ast.Name)] if isinstance(item, ast.Assign) else []
        if names and names[0] in _NAMES:
            try:  # only flipbench.plan.settings's own names are in reach, no builtins
                code = compile(ast.Expression(item.value), spec.origin, "eval")  # type: ignore[attr-defined]
                found[names[0]] = eval(code, {**vars(method), "__builtins__": {}})  # noqa: S307
            except NameError:
                return None
    if not set(_NAMES[:3]) <= found.keys():
        return None
    return Declaration("", "", target, _first_line(ast.get_docstring(node)), **found)


def _from_class(target: str) -> Declaration:
    module, _, class_name = target.partition(":")
    cls = getattr(importlib.import_module(module), class_name)
    more = {name: getattr(cls, name) for name in ("flavours", "pretraining", "rules") if hasattr(cls, name)}
    summary = _first_line(cls.__doc__)
    return Declaration("", "", target, summary, cls.version, dict(cls.settings), dict(cls.grid), **more)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]
