"""The plan of the house: which layer may import which, and no file that imports itself through others."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [
    {"printable"},
    {"errors"},
    {"plugins", "identity", "atomic", "yamlfile", "protocol", "memory", "metrics", "interrupts", "places"},
    {"data", "stats"},
    {"text", "paper"},
    {"plan"},
    {"store"},
    {"models"},
    {"train"},
    {"methods"},
    {"run"},
    {"cost"},
    {"schedule"},
    {"report"},
    {"api"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: a layer imports from its own rooms and from those below, never from those above."""

FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of flipbench and baselines by its dotted name; a package by its own."""
    found = {}
    for path in sorted([*ROOT.glob("flipbench/**/*.py"), *ROOT.glob("baselines/*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """The project's own modules that a module imports, at its top, in functions and for type checkers alike."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        wanted: list[str] = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted = [sub if sub in MODULES else node.module for sub in submodules]
        yield from (each for each in wanted if each in MODULES and each != name)


GRAPH = {name: sorted(set(imports(name))) for name in MODULES}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("flipbench.")])
def test_layers(name):
    above = [m for m in GRAPH[name] if m.startswith("flipbench.") and FLOOR[room(m)] > FLOOR[room(name)]]
    assert not above, f"{name} imports from above"
    assert not [m for m in GRAPH[name] if m.startswith("baselines")], "baselines are found by name alone"


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES if name.startswith("flipbench.")} <= FLOOR.keys()


def test_baselines_import_no_higher_than_methods():
    used = {room(m) for name in MODULES if name.startswith("baselines.") for m in GRAPH[name] if "." in m}
    assert max(FLOOR[each] for each in used if each in FLOOR) <= FLOOR["methods"]


def test_no_cycle_between_files():
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        state[name] = 1
        for other in GRAPH[name]:
            assert state.get(other) != 1, "import cycle: " + " -> ".join((*path[path.index(other) :], other))
            if other not in state:
                visit(other, (*path, other))
        state[name] = 2

    for name in MODULES:
        if name not in state:
            visit(name, (name,))


@pytest.mark.parametrize("layer", ["plan", "models", "train", "run", "store", "schedule", "cost", "text", "data"])
def test_flip_is_named_nowhere_but_at_home(layer):
    """FLIP is a method like any other; docstrings may cite it."""
    for name, path in MODULES.items():
        if name.split(".")[:2] == ["flipbench", layer]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not [m for m in GRAPH[name] if m.startswith("flipbench.methods.flip")], name
            docs = {
                id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
            }
            for node in ast.walk(tree):
                word = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
                if isinstance(word, str) and id(node) not in docs:
                    assert word.lower() not in ("flip", "flip_id", "flip_plm", "alignment"), (name, word)


def test_planning_imports_no_torch():
    """``flipbench.plan`` and what it reads answer at once."""
    for name in MODULES:
        if name.startswith("flipbench.plan"):
            tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
            modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
            names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
            assert not any(each.split(".")[0] in ("torch", "transformers") for each in [*modules, *names]), name


def test_functions_fit_a_screen():
    """60 lines at most, docstring included, or a reason in the line above."""
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                assert lines[node.lineno - 2].lstrip().startswith("# long:"), f"{name}: {node.name}"
