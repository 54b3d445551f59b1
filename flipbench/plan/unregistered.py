"""An own model in the working folder that no installed package registers: what is left to do."""

import ast
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipbench.places import place

MOST_FILES = 200
"""Python files that are looked at."""


@dataclass(frozen=True)
class Unregistered:
    """What is left to do for a model, and the ``FILE:LINE`` that shows that it is there."""

    problem: str
    place: str


def unregistered(name: str, group: str, known: Collection[str]) -> Unregistered | None:
    """What keeps a name in the working folder, or in the folder of that name, from being a model; None without a trace.

    Either its ``pyproject.toml`` registers it and is not installed (again), or a subclass of ``IDModel`` that could be
    meant is in no ``pyproject.toml``.

    Args:
        group: of entry points. known: targets (``module:Class``) that are registered under some name.
    """
    for folder in (Path(name), Path()):
        try:
            project = folder / "pyproject.toml"
            text = project.read_text(encoding="utf-8") if project.is_file() else ""
            if name in _registered(text, group):
                problem = f"'{name}' is registered there, and not installed since: pip install -e {folder}"
                return Unregistered(problem, place(project.absolute(), _line_of(name, text)))
            for file, line, cls in _classes(folder, name):
                if (target := f"{_module(file, folder)}:{cls}") in known:
                    continue
                entry = f'{name} = "{target}"'
                where = f'{project}, under [project.entry-points."{group}"], and install it again'
                problem = f"no entry point registers '{name}'; {cls} is there: add {entry} to {where}"
                return Unregistered(problem, place(file.absolute(), line))
        except (OSError, ValueError):  # of a name that no folder can have, a file in no UTF-8
            continue
    return None


def _registered(text: str, group: str) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(text).get("project", {}).get("entry-points", {}).get(group, {}))
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, ValueError):
        return {}


def _line_of(name: str, text: str) -> int:
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if re.match(rf"""\s*["']?{re.escape(name)}["']?\s*=""", line)), 1)


def _classes(folder: Path, name: str) -> Iterator[tuple[Path, int, str]]:
    """Subclasses of IDModel of that name, or in a file or package of it: (file, line, class)."""
    files = [file for pattern in ("*.py", "*/*.py", "src/*/*.py") for file in sorted(folder.glob(pattern))]
    for file in files[:MOST_FILES]:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            is_model = isinstance(node, ast.ClassDef) and any("IDModel" in ast.unparse(base) for base in node.bases)
            if is_model and isinstance(node, ast.ClassDef) and name in (_snake(node.name), file.stem, file.parent.name):
                yield file, node.lineno, node.name


def _module(file: Path, folder: Path) -> str:
    parts = list(file.relative_to(folder).with_suffix("").parts)
    return ".".join(part for number, part in enumerate(parts) if (number, part) != (0, "src"))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
