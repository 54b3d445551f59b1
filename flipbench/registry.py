"""Methods by name: entry points, and each method's declarations without importing torch.

A method class declares ``version``, ``settings`` and ``grid`` as literals. They are read from the
source file's syntax tree, so that ``list``, ``plan`` and ``status`` answer at once; a class whose
declarations are not literals is imported instead, slower but just as valid.
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from flipbench import method
from flipbench.errors import UserError, nearest
from flipbench.method import TRAINING, TRAINING_GRID, Setting, Value

GROUPS = {"id": "flipbench.id_models", "plm": "flipbench.plm_methods", "hybrid": "flipbench.hybrid_methods"}
"""Entry-point group by kind of method: an ID-based model, a PLM alone, or both."""


@dataclass(frozen=True)
class Declaration:
    """What is known of a method before its code runs.

    Attributes:
        name: registered name. kind: one of :data:`GROUPS`. target: ``module:Class``. summary: first docstring line.
        version: raised by its author when results change.
        settings: what a run of it is determined by, with the sources of the defaults.
        grid: search values by setting.
        flavours: other defaults under a name that the setting ``flavour`` chooses.
    """

    name: str
    kind: str
    target: str
    summary: str
    version: int
    settings: Mapping[str, Setting]
    grid: Mapping[str, list[Any]]
    flavours: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    @property
    def guesses(self) -> list[str]:
        """Names of the settings that neither the paper nor released code states."""
        return sorted(name for name, setting in self.settings.items() if setting.source == "guess")

    def load(self) -> type:
        """The class itself (imports torch)."""
        found: type = EntryPoint(self.name, self.target, GROUPS[self.kind]).load()
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
        summary, version, settings, grid, flavours = _from_source(target) or _from_class(target)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model '{name}' ({target}) cannot be loaded: {error}") from None
    if kind == "id":
        settings, grid = {**TRAINING, **settings}, {**TRAINING_GRID, **grid}
    return Declaration(name, kind, target, summary, version, settings, grid, flavours)


@cache
def _targets(kind: str | None) -> dict[str, tuple[str, str]]:
    return {
        point.name: (group_kind, point.value)
        for group_kind, group in GROUPS.items()
        if kind in (None, group_kind)
        for point in entry_points(group=group)
    }


_Declared = tuple[str, int, dict[str, Setting], dict[str, list[Any]], dict[str, dict[str, Value]]]


def _from_source(target: str) -> _Declared | None:
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
        if names and names[0] in ("version", "settings", "grid"):
            try:  # only flipbench.method's own names are in reach, no builtins
                code = compile(ast.Expression(item.value), spec.origin, "eval")  # type: ignore[attr-defined]
                found[names[0]] = eval(code, {"__builtins__": {}, **vars(method)})  # noqa: S307
            except NameError:
                return None
    if not {"version", "settings", "grid"} <= found.keys():
        return None
    return _first_line(ast.get_docstring(node)), found["version"], found["settings"], found["grid"], {}


def _from_class(target: str) -> _Declared:
    module, _, class_name = target.partition(":")
    cls = getattr(importlib.import_module(module), class_name)
    return _first_line(cls.__doc__), cls.version, dict(cls.settings), dict(cls.grid), getattr(cls, "flavours", {})


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]
