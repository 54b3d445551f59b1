"""What is imported is declared in pyproject.toml, and what a user must install is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras):
    """Distributions that an installation with these extras brings."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in lines}


def imported(*folders):
    """Import names that are neither Python's nor ours, each with a file that has it."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    ours = {*sys.stdlib_module_names, "flipbench", "baselines", "benchmarks", *(file.stem for file in files)}
    found = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {top: file for name in names if (top := name.partition(".")[0]) not in ours}
    return found


@pytest.mark.parametrize(
    ("folders", "extras"), [(("flipbench", "baselines"), ("ray",)), (("tests", "benchmarks"), ("dev",))]
)
def test_every_import_is_of_a_declared_distribution(folders, extras):
    distributions, expected = packages_distributions(), declared(*extras)
    found = imported(*folders)
    undeclared = {
        name: str(file.relative_to(ROOT))
        for name, file in found.items()
        if not expected & {canonical(owner) for owner in distributions.get(name, [name])}
    }
    assert not undeclared
    assert {"torch", "numpy"} <= found.keys(), "imports were found at all"


def test_nothing_is_asked_of_a_user_that_nothing_imports():
    distributions = packages_distributions()
    used = {
        canonical(owner) for name in imported("flipbench", "baselines") for owner in distributions.get(name, [name])
    }
    assert declared() <= used


def test_the_pinned_versions_cover_what_is_declared():
    pinned = {canonical(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert declared(*PROJECT["optional-dependencies"]) <= pinned
