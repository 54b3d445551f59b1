"""Where in a plug-in's own source something went wrong or is written, as ``FILE:LINE``."""

import ast
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType


@dataclass(frozen=True)
class Source:
    """The source of the class at ``target`` (``module:Class``), which need not be importable."""

    target: str

    @property
    def package(self) -> str:
        """The modules that count as its own: its top-level package, or inside flipbench the package it is in."""
        module = self.target.partition(":")[0]
        return module.rpartition(".")[0] if module.startswith("flipbench.") else module.partition(".")[0]

    def of_error(self, error: BaseException) -> str:
        """The innermost own line that an error came through, or one of its causes; empty where there is none."""
        seen: set[int] = set()
        each: BaseException | None = error
        while each is not None and id(each) not in seen:
            seen.add(id(each))
            frames = [
                (f.f_code.co_filename, line) for f, line in traceback.walk_tb(each.__traceback__) if self._owns(f)
            ]
            if isinstance(each, SyntaxError) and each.filename and each.filename != "<string>":
                frames.append((each.filename, each.lineno or 1))
            if frames:
                return place(*frames[-1])
            each = each.__cause__ or each.__context__
        return ""

    def of_caller(self) -> str:
        """The own line that is running; empty where none is."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not self._owns(frame):
            frame = frame.f_back
        return place(frame.f_code.co_filename, frame.f_lineno) if frame else ""

    def of_text(self, formatted: str) -> str:
        """The innermost own line of a traceback that is text; empty where there is none."""
        files = {getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if self._is_own(name)}
        found = [line for line in re.findall(r'File "(.+?)", line (\d+)', formatted) if line[0] in files]
        return place(found[-1][0], int(found[-1][1])) if found else ""

    def of_class(self) -> str:
        """Where the class is defined; its file alone where it has no such class, empty where there is no file."""
        if self._file is None:
            return ""
        return place(self._file, self._class.lineno) if self._class else place(self._file)

    def of_name(self, *names: str) -> str:
        """Where the class defines or assigns the first of ``names`` that it does, as ``NAME =``, ``def NAME`` or
        ``self.NAME =``, or has it as a key of a mapping; else :meth:`of_class`."""
        for name in names:
            if self._file and self._class and (line := next(_lines_of(self._class, name), None)):
                return place(self._file, line)
        return self.of_class()

    @cached_property
    def _file(self) -> str | None:
        try:
            spec = importlib.util.find_spec(self.target.partition(":")[0])
        except (Exception, SystemExit):  # of the package around the module, which looking for it imports
            return None
        return spec.origin if spec and spec.origin and spec.origin.endswith(".py") else None

    @cached_property
    def _class(self) -> ast.ClassDef | None:
        try:
            tree = ast.parse(Path(self._file or "").read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        name = self.target.partition(":")[2]
        return next((node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name), None)

    def _owns(self, frame: FrameType) -> bool:
        return self._is_own(frame.f_globals.get("__name__") or "")

    def _is_own(self, module: str) -> bool:
        return module == self.package or module.startswith(self.package + ".")


def place(file: str | Path, line: int | None = None) -> str:
    """``FILE:LINE``, the file relative to the working folder where it is in it."""
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return str(shown) if line is None else f"{shown}:{line}"


def _lines_of(node: ast.ClassDef, name: str) -> Iterator[int]:
    """The lines in which a class binds a name, those of its body before those in its methods."""
    for part in [*node.body, *ast.walk(node)]:
        match part:
            case ast.FunctionDef(name=bound) if bound == name:
                yield part.lineno
            case ast.Assign(targets=targets) if any(_binds(target, name) for target in targets):
                yield part.lineno
            case ast.AnnAssign(target=target) if _binds(target, name):
                yield part.lineno
            case ast.Dict(keys=keys):
                yield from (key.lineno for key in keys if isinstance(key, ast.Constant) and key.value == name)


def _binds(target: ast.expr, name: str) -> bool:
    return any(
        name == (node.id if isinstance(node, ast.Name) else node.attr)
        for node in ast.walk(target)
        if isinstance(node, ast.Name | ast.Attribute)
    )
