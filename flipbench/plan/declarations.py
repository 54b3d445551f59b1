"""What a class declares, read from its source's syntax tree where that is certain, else by importing it."""

import ast
import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from flipbench.errors import UserError
from flipbench.plan import settings

BASES = {
    "flipbench.models.id_model.IDModel",
    "flipbench.methods.floor.Floor",
    "flipbench.methods.base.PLMMethod",
    "flipbench.methods.base.PretrainingMethod",
    "flipbench.methods.base.InspectionMethod",
}
"""Classes that declare nothing themselves but what :data:`flipbench.plan.registry` takes for granted."""

REFLECTION = {"globals", "locals", "vars", "exec", "eval", "setattr", "delattr", "__import__", "__name__"}
"""Names by which a module may change a class without naming it."""

LITERAL = (
    ast.Constant, ast.Name, ast.Attribute, ast.Dict, ast.List, ast.Tuple, ast.Starred, ast.Subscript, ast.Call,
    ast.keyword, ast.UnaryOp, ast.BinOp, ast.unaryop, ast.operator, ast.expr_context,
)  # fmt: skip
"""What a declaration that is evaluated without its class may consist of: nothing that binds a name."""


def read_declarations(target: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The first docstring line of the class at ``module:Class``, and those of its ``attributes`` that it has.

    Defaults of :data:`BASES` may be left out.

    Raises:
        ImportError: no such module. AttributeError: no such class.
    """
    module, _, class_name = target.partition(":")
    declared = _from_source(module, class_name, attributes)
    if declared is None or module in sys.modules:  # looking for a module imports its package, and that perhaps it
        return _from_class(module, class_name, attributes)
    return declared


def _from_source(module: str, class_name: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """Declarations evaluated from the class body's assignments; None where anything else may have a say.

    Certain is a class at the top of its module, of one of :data:`BASES`, without decorator or keyword, that the rest of
    the module does not name; whose body holds functions and assignments to single names alone; and whose declarations
    are literals and calls of what the module imports from :mod:`flipbench.plan.settings` and uses for nothing else.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"no module '{module}'")
    if not spec.origin.endswith(".py"):
        return None
    names = _Names(ast.parse(Path(spec.origin).read_bytes(), spec.origin))
    node = next((node for node in names.classes if node.name == class_name), None)
    declared = _assigned(node, attributes) if node and names.leave_alone(node) else None
    if node is None or declared is None or not all(map(_is_literal, declared.values())):
        return None
    values = [value for each in names.classes for value in (_assigned(each, attributes) or {}).values()]
    scope = {**names.of_settings(values), "__builtins__": {}}
    try:
        evaluated = {
            name: eval(compile(ast.Expression(value), spec.origin, "eval"), scope)  # noqa: S307 - literals, see above
            for name, value in declared.items()
        }
    except Exception:  # a name from elsewhere, or a mistake, which importing reports
        return None
    return _first_line(ast.get_docstring(node, clean=False)), evaluated


def _assigned(node: ast.ClassDef, attributes: Sequence[str]) -> dict[str, ast.expr] | None:
    """What a class body assigns to ``attributes``; None where it may bind one of them otherwise."""
    assigned: dict[str, ast.expr] = {}
    watched = {*attributes, "__doc__"}
    for item in node.body:
        value: ast.expr | None = None
        match item:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                parts: list[ast.AST] = [value]
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                parts = [annotation, value] if value else [annotation]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name not in watched:
                parts = [*item.decorator_list, item.args]
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case _:
                return None
        if name in assigned or name == "__doc__" or any(used in watched for part in parts for used in _used(part)):
            return None
        if name in watched and value:
            assigned[name] = value
    return assigned


def _is_literal(value: ast.expr) -> bool:
    """Whether evaluating an expression changes nothing: it binds no name and calls no method."""
    parts = list(ast.walk(value))
    calls_names = all(isinstance(part.func, ast.Name) for part in parts if isinstance(part, ast.Call))
    return calls_names and all(isinstance(part, LITERAL) for part in parts)


class _Names:
    """A module's names: how often each is bound and used, functions' and classes' own included.

    Attributes:
        classes: at the top of the module.
        imported: full names of what it imports for certain, by the names that it gives them.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and not node.level]
        self.imported = {a.asname or a.name: f"{node.module}.{a.name}" for node in imports for a in node.names}
        self._bound, self._used, self._attributes = Counter[str](), Counter[str](), set[str]()
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=context):
                    self._used[name] += 1
                    self._bound[name] += not isinstance(context, ast.Load)
                case ast.Attribute(attr=name):
                    self._attributes.add(name)
                case ast.alias():
                    self._bound[(node.asname or node.name).partition(".")[0]] += 1
                case _:  # definitions, exceptions and patterns
                    self._bound.update(filter(None, (getattr(node, "name", None), getattr(node, "rest", None))))

    def leave_alone(self, node: ast.ClassDef) -> bool:
        """Whether a class is its body and one of :data:`BASES`: nothing in the module changes or replaces either."""
        base = ast.unparse(node.bases[0]) if len(node.bases) == 1 else ""
        as_base = sum(ast.unparse(other) == base for each in self.classes for other in each.bases)
        is_base = self.imported.get(base) in BASES and self._bound[base] == 1 and self._used[base] == as_base
        is_named = self._bound[node.name] > 1 or self._used[node.name] or node.name in self._attributes
        is_plain = not node.keywords and not node.decorator_list
        return is_base and is_plain and not is_named and not self._bound["*"] and not REFLECTION & self._used.keys()

    def of_settings(self, declarations: Iterable[ast.expr]) -> Mapping[str, Any]:
        """What comes from :mod:`flipbench.plan.settings`, is bound once and used in declarations alone."""
        declaring = Counter(name for value in declarations for name in _used(value))
        exported = {f"{settings.__name__}.{name}": value for name, value in vars(settings).items()}
        return {
            name: exported[origin]
            for name, origin in self.imported.items()
            if origin in exported and self._bound[name] == 1 and self._used[name] == declaring[name]
        }


def _used(tree: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _from_class(module: str, class_name: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    loaded = attrgetter(class_name)(importlib.import_module(module))
    return _first_line(loaded.__doc__), {name: getattr(loaded, name) for name in attributes if hasattr(loaded, name)}


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def check_declared(values: Mapping[str, Any], plain: bool = False) -> None:
    """Raises UserError where what a class declares is not what it must be: ``NAME: ...``.

    Args:
        plain: settings are values alone, as an inspection declares them.
    """
    version = values["version"]
    if type(version) is not int or version < 1:
        raise UserError(f"version: expected a whole number above 0, got {_shown(version)}")
    for name, kind, words in _SHAPES:
        if name in values and (
            not isinstance(values[name], kind) or (isinstance(values[name], str) and kind is not str)
        ):
            raise UserError(f"{name}: expected {words}, got {_shown(values[name])}")
    if plain:
        return
    for name, setting in _flat("settings", values["settings"]).items():
        _check_setting(f"settings: {name}", setting)
    for name, points in _flat("grid", values["grid"]).items():
        if not isinstance(points, list | tuple) or not points:
            raise UserError(f"grid: {name}: expected a list of values, got {_shown(points)}")
    for flavour, changes in values["flavours"].items():
        if not isinstance(changes, Mapping):
            raise UserError(f"flavours: {flavour}: expected values by setting, got {_shown(changes)}")
    if wrong := next((rule for rule in values["rules"] if not callable(getattr(rule, "problem", None))), None):
        raise UserError(f"rules: expected what has a method 'problem', got {_shown(wrong)}")
    if unknown := next((name for name in values["switches"] if name not in values["settings"]), None):
        raise UserError(f"switches: no setting {_shown(unknown)}")


_SHAPES: tuple[tuple[str, Any, str], ...] = (
    ("settings", Mapping, "settings by name"),
    ("grid", Mapping, "values by setting"),
    ("flavours", Mapping, "settings by flavour"),
    ("pretraining", str, "a name"),
    ("rules", Sequence, "a list of rules"),
    ("switches", Sequence, "a list of names"),
    ("pretrainings", Sequence, "a list of names"),
    ("needs", Sequence, "a list of names"),
)


def _flat(what: str, values: Mapping[Any, Any]) -> dict[str, Any]:
    for inner in (values, *(value for value in values.values() if isinstance(value, Mapping))):
        if wrong := next((name for name in inner if not isinstance(name, str)), None):
            raise UserError(f"{what}: expected names, got {_shown(wrong)}")
    return settings.flatten(values)


def _check_setting(where: str, setting: Any) -> None:
    if not isinstance(setting, settings.Setting):
        raise UserError(f"{where}: expected Paper(...), Code(...) or Guess(...), got {_shown(setting)}")
    if not isinstance(setting.value, bool | int | float | str | list):
        raise UserError(f"{where}: expected a number, a text, true, false or a list, got {_shown(setting.value)}")
    settings.check_value(where, setting.value, setting)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # of a user's class
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
