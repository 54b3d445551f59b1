"""A package of a user's own model, written from the templates beside this file."""

import importlib.util
import keyword
import re
import sys
from pathlib import Path
from string import Template

from flipbench.atomic import write_files
from flipbench.errors import UserError, shorten
from flipbench.plan import registry

FILES = {
    "model.py.txt": "{name}.py",
    "pyproject.toml.txt": "pyproject.toml",
    "suite.yaml.txt": "{name}.yaml",
    "test_contract.py.txt": "test_{name}.py",
    "README.md.txt": "README.md",
}
"""By template, the file that is made of it."""

MOST_LETTERS = 60


def new_model(name: str, folder: str | Path | None = None) -> list[Path]:
    """Write the package of a model that learns at once, with the place for its equation; returns its files.

    Args:
        name: of model, module and suite: lower-case letters, digits and underscores. folder: ``name`` if None.

    Raises:
        UserError: the name is no such identifier, or taken by a model or a module; or the folder exists.
    """
    _check_name(name)
    target = Path(folder or name)
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: it exists; name another folder with --to DIR")
    values = {"name": name, "cls": "".join(part.capitalize() for part in name.split("_"))}
    here = Path(__file__).parent
    contents = {
        file.format(name=name): Template((here / template).read_text(encoding="utf-8")).substitute(values).encode()
        for template, file in FILES.items()
    }
    return write_files(target, contents, "the package")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or len(name) > MOST_LETTERS or keyword.iskeyword(name):
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        near = re.sub(r"^[0-9_]+", "", "_".join(words))[:MOST_LETTERS].rstrip("_")
        hint = f"; nearest: {near}" if len(near) > 1 and near != name else ""
        raise UserError(
            f"'{shorten(name)}' is no name of a model: expected 2 to {MOST_LETTERS} lower-case letters, digits and "
            f"underscores, a letter first, and no word of Python's{hint}"
        )
    if name in registry.names():
        raise UserError(f"'{name}' is registered already (flipbench list models); take another name")
    spec = importlib.util.find_spec(name)
    if name in sys.stdlib_module_names or (spec and spec.origin):  # a mere folder has no origin
        raise UserError(f"'{name}' is the name of a Python module that is there already; take another name")
