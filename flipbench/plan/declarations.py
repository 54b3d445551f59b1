"""What a class declares, read from its source's syntax tree where that is certain, else by importing it."""

import ast
import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flipbench.plan import settings

BASES = {"IDModel", "PLMMethod", "PretrainingMethod", "InspectionMethod"}
"""Classes that declare nothing themselves but what :data:`flipbench.plan.registry` takes for granted."""


def read_declarations(target: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The first docstring line of the class at ``module:Class``, and those of its ``attributes`` that it has.

    Raises:
        ImportError: no such module. AttributeError: no such class.
    """
    module, _, class_name = target.partition(":")
    return _from_source(module, class_name, attributes) or _from_class(module, class_name, attributes)


def _from_source(module: str, class_name: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """Declarations evaluated from the class body's assignments; None where anything else may have a say.

    Sure is a class at the top of its module, of one base that declares nothing and without decorators or keywords,
    whose body holds assignments, functions and classes alone, whose declarations use names of
    :mod:`flipbench.plan.settings` alone, and that nothing else in the module names but to define it or to refer to
    other attributes.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"no module '{module}'")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == class_name]
    if len(classes) != 1 or classes[0] not in tree.body or not _is_plain(classes[0]) or _is_changed(tree, class_name):
        return None
    names = _known_names(tree)
    declared: dict[str, Any] = {}
    for item in classes[0].body:
        if isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if item.value is None:
                continue
            name, value = item.target.id, item.value
        elif _binds(item, attributes):
            return None
        else:
            continue
        if name in attributes:
            if name in declared:
                return None
            try:  # only names of flipbench.plan.settings are in reach, no builtins
                code = compile(ast.Expression(value), spec.origin, "eval")
                declared[name] = eval(code, {**names, "__builtins__": {}})  # noqa: S307
            except NameError:
                return None
    return _first_line(ast.get_docstring(classes[0])), declared


def _is_plain(node: ast.ClassDef) -> bool:
    """Whether a class has one base that declares nothing, and nothing that could change it."""
    base = node.bases[0] if len(node.bases) == 1 else None
    return isinstance(base, ast.Name) and base.id in BASES and not node.keywords and not node.decorator_list


def _binds(item: ast.stmt, attributes: Iterable[str]) -> bool:
    """Whether a statement of a class body, no simple assignment, may bind one of the attributes."""
    if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return item.name in attributes
    return not (isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)))


def _is_changed(tree: ast.Module, class_name: str) -> bool:
    """Whether the module may change the class after its definition: binds it again or assigns to its attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            changed = any(isinstance(n, ast.Name) and n.id == class_name for n in ast.walk(node.value))
        elif isinstance(node, ast.Name):
            changed = node.id == class_name and not isinstance(node.ctx, ast.Load)
        else:
            calls = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            changed = calls and node.func.id in ("setattr", "delattr")  # type: ignore[attr-defined]
        if changed:
            return True
    return False


def _known_names(tree: ast.Module) -> Mapping[str, Any]:
    """What the module imports from :mod:`flipbench.plan.settings` and does not bind again."""
    imported: dict[str, Any] = {}
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == settings.__name__ and node in tree.body:
            imported |= {a.asname or a.name: getattr(settings, a.name) for a in node.names if hasattr(settings, a.name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            others |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            others.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            others.add(node.id)
    return {} if "*" in others else {name: value for name, value in imported.items() if name not in others}


def _from_class(module: str, class_name: str, attributes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    loaded = getattr(importlib.import_module(module), class_name)
    return _first_line(loaded.__doc__), {name: getattr(loaded, name) for name in attributes if hasattr(loaded, name)}


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]
