"""A digest of the code that makes a method what it is, from its source, without importing it.

A key holds a method's ``version``, which its author raises by hand. The digest tells where that was forgotten. It is no
part of the key, and stands beside a run's figures.

It covers the module that the method is registered with and, of what this imports, from module to module, whatever is
code of methods too:

- the modules of its own top-level package: of a plug-in its package, of a built-in method ``baselines``;
- ``baselines`` and the packages inside ``flipbench.methods`` (FLIP's is one), since a method may be built on another.

All else of flipbench is the engine, which has a version of its own
(:data:`flipbench.plan.stage.ENGINE_VERSION`), and other packages are the environment, which a run records by version.
Import statements are followed wherever they stand, in functions too; imports by computed names are not, nor data files.

Of each module its syntax tree counts, without docstrings and other statements that do nothing, and without what a
class declares as ``version`` and ``grid``: the one is compared before, and of the other a run's settings are a point.
Comments and formatting are no part of it. It is the same on every Python that reads the source.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path

from flipbench.plan import registry
from flipbench.plan.registry import Declaration, Inspection
from flipbench.plan.stage import Stage

_METHODS = "flipbench.methods."
_NOT_COUNTED = ("version", "grid")


@dataclass(frozen=True)
class Code:
    """The code of a method.

    Attributes:
        file: that of its own module. others: how many modules count beside it.
        digest: 64 hexadecimal digits.
    """

    file: Path
    others: int
    digest: str


def code_of(target: str, frozen: bool = False) -> Code | None:
    """The code of the class at ``module:Class``; None where its file is not found or cannot be read.

    Args:
        frozen: take each module as this process first saw it, as the interpreter does, whatever became of its file.
    """
    first, _, class_name = target.partition(":")
    own = first.partition(".")[0]
    waiting, modules = [first], dict[str, _Module]()
    look = _first_look if frozen else _look
    while waiting:
        name = waiting.pop()
        if name not in modules and (found := look(name)):
            modules[name], imported = found
            waiting += (each for each in imported if _is_of_methods(each, own))
    if first not in modules:
        return None
    lines = (f"{name} {module.digest}" for name, module in sorted(modules.items()))
    digest = hashlib.sha256("\n".join((class_name, *lines)).encode()).hexdigest()
    return Code(modules[first].file, len(modules) - 1, digest)


def methods_of(stage: Stage) -> list[tuple[Declaration | Inspection, int]]:
    """What is registered that decides a stage's result, and of which version: its method, and an ID-based model in it.

    Raises:
        UserError: as :func:`flipbench.plan.registry.get`.
    """
    found: list[tuple[Declaration | Inspection, int]] = []
    if stage.inspects:
        found.append((registry.inspection(stage.role), stage.spec["version"]))
        stage = stage.parents["pretrain"]
    declared = registry.pretraining(stage.method) if stage.role == "pretrain" else registry.get(stage.method)
    found.append((declared, stage.spec["version"]))
    if backbone := stage.spec.get("backbone"):
        found.append((registry.get(backbone["name"]), backbone["version"]))
    return found


def digests_that_run(stage: Stage) -> dict[str, str]:
    """The digest by method of the code that this process runs a stage with: to be asked before it is imported."""
    codes = {declared.name: code_of(declared.target, frozen=True) for declared, _ in methods_of(stage)}
    return {name: code.digest for name, code in codes.items() if code}


def _is_of_methods(module: str, own: str) -> bool:
    if module.startswith("flipbench."):
        return module.startswith(_METHODS) and "." in module.removeprefix(_METHODS)
    return module.partition(".")[0] in {own, "baselines"} - {"flipbench"}


@dataclass(frozen=True)
class _Module:
    """What counts of one file; ``imports`` as its statements have them: dots, module, names."""

    file: Path
    is_package: bool
    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...] = ()


def _look(name: str) -> tuple[_Module, tuple[str, ...]] | None:
    """A module as it is now, and the modules that it imports; None where it has no file."""
    spec = _spec(name)
    if spec is None or not spec.origin or not spec.has_location:
        return None
    file, is_package = Path(spec.origin), spec.submodule_search_locations is not None
    try:
        module = _read(file, is_package, (at := file.stat()).st_mtime_ns, at.st_size)
    except OSError:
        return None
    return module, tuple(_imported(name, module))


_first_look = cache(_look)


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is; unlike :func:`importlib.util.find_spec` this imports no package that it is in."""
    top, *parts = name.split(".")
    try:
        spec = find_spec(top)
    except (ValueError, ImportError):  # a module that was put there without one
        return None
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(part, spec.submodule_search_locations)
    return spec


@cache
def _read(file: Path, is_package: bool, changed: int, size: int) -> _Module:
    """What counts of a file as it is; when it was ``changed`` and its ``size`` tell one content from another."""
    content = file.read_bytes()
    try:
        tree = ast.parse(content, file) if file.suffix == ".py" else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        return _Module(file, is_package, hashlib.sha256(content).hexdigest())
    return _Module(file, is_package, meaning_of(tree), tuple(_import_statements(tree)))


def _import_statements(tree: ast.Module) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, ()


def _imported(name: str, module: _Module) -> Iterator[str]:
    """The modules that a module's import statements name.

    Of ``import a.b`` all of ``a``, ``a.b``, since the name ``a`` is bound; of ``from a import b`` the module ``a.b``
    where there is one, else ``a``, which has ``b``.
    """
    package = name if module.is_package else name.rpartition(".")[0]
    for dots, base, names in module.imports:
        if dots:
            try:
                base = resolve_name("." * dots + base, package)
            except ImportError:  # beyond the top, which fails when it runs
                continue
        for each in names:
            yield inner if _spec(inner := f"{base}.{each}") else base
        if not names:
            parts = base.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def meaning_of(tree: ast.Module) -> str:
    """SHA-256 of what a module's syntax tree means.

    :func:`ast.dump` writes one tree in several ways, by the version of Python. This walk leaves out what is empty,
    which is where they differ, and joins the parts of an f-string's text as they are printed.
    """
    digest = hashlib.sha256()
    for word in _words(tree):
        digest.update(word.encode() + b"\0")
    return digest.hexdigest()


def _words(tree: ast.Module) -> Iterator[str]:
    waiting: list[object] = [tree]
    while waiting:  # a stack of its own: sums of a thousand terms are as deep as they are long
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, ast.AST):
            waiting += reversed([f"({type(part).__name__}", *_fields(part), ")"])


def _fields(node: ast.AST) -> Iterator[object]:
    """The names and content of a node's fields that say anything, in their order."""
    if isinstance(node, ast.Constant):
        yield f"{type(node.value).__name__} {_literal(node.value)}"
        return
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "type_comment", "type_ignores", "simple"):
            continue
        if isinstance(node, ast.JoinedStr):
            value = _joined(value)
        elif isinstance(value, list) and name in ("body", "orelse", "finalbody"):
            value = [each for each in value if not _does_nothing(each, isinstance(node, ast.ClassDef))]
        parts = value if isinstance(value, list) else [value]
        if any(part is not None for part in parts) and not (name == "format_spec" and not _joined(value.values)):
            yield f".{name}"
            yield from (part if isinstance(part, ast.AST) else _literal(part) for part in parts)


def _does_nothing(statement: object, in_class: bool) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return in_class and name in _NOT_COUNTED
    return False


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, neighbouring texts as one."""
    joined: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and joined and isinstance(last := joined[-1], ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            joined.append(value)
    return joined


def _literal(value: object) -> str:
    return hex(value) if type(value) is int else ascii(value)
