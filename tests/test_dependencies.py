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
    first = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            first |= {top: file for name in names if (top := name.partition(".")[0]) not in ours}
    return first


OWNERS = packages_distributions()  # reads the files of every package: seconds where there are many


def distributions(name):
    return {canonical(owner) for owner in OWNERS.get(name, [name])}


@pytest.mark.parametrize(
    ("folders", "extras"), [(("flipbench", "baselines"), ("mlflow", "ray")), (("tests", "benchmarks"), ("dev",))]
)
def test_every_import_is_of_a_declared_distribution(folders, extras):
    names, expected = imported(*folders), declared(*extras)
    assert {name: str(file) for name, file in names.items() if not expected & distributions(name)} == {}
    assert {"torch", "numpy"} <= names.keys(), "imports were found at all"


def test_nothing_is_asked_of_a_user_that_nothing_imports():
    assert declared() <= set().union(*map(distributions, imported("flipbench", "baselines")))


def test_the_pinned_versions_cover_what_is_declared():
    pinned = {canonical(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert declared(*PROJECT["optional-dependencies"]) <= pinned
