"""Named sets of settings: what one source runs each method at, on each data set, in a file that cites it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flipbench import yamlfile
from flipbench.data import dataset as datasets
from flipbench.errors import UserError, nearest, shorten
from flipbench.plan import registry
from flipbench.plan.schema import STRICT, Line, Name, first_of, words_of
from flipbench.plan.settings import check_value, flatten, nest

SHIPPED = Path(__file__).parent / "named"
"""The folder of the sets that come with flipbench."""

EVERYWHERE = "settings"
"""In a method's entry, the key of what holds on every data set; the other keys are data sets."""


class _File(BaseModel):
    """``training``: of every method that is listed. ``methods``: by name, :data:`EVERYWHERE` and by data set."""

    model_config = STRICT

    settings: Name
    source: Line
    training: dict[str, Any] = {}
    methods: dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class NamedSettings:
    """A set of settings under a name.

    Attributes:
        name: what a suite calls it. source: where it comes from, with its version.
        methods: by registered method, its settings by data set, nested as in a suite; :data:`EVERYWHERE` is the key
            of those on a data set that is not named.
    """

    name: str
    source: str
    methods: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def of(self, method: str, dataset: str) -> dict[str, Any]:
        """The settings of a method on a data set, both by registered name, nested as in a suite.

        Raises:
            UserError: no such method or data set, or the set has none for the method; names the nearest.
        """
        registry.get(method)
        datasets.get(dataset)
        if method not in self.methods:
            raise UserError(f"{self.name}: has no settings for '{method}'; it has: {', '.join(self.methods)}")
        by_data = self.methods[method]
        return dict(by_data.get(dataset, by_data[EVERYWHERE]))


def load(name: str) -> NamedSettings:
    """A set by the name of one that comes with flipbench, or by path.

    Every value is checked against what its method declares, on every data set that is named.

    Raises:
        UserError: no such set, or a mistake in it; names the file, the key and the nearest valid one.
    """
    path = _find(name)
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return _read(path)
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, *_version: int) -> NamedSettings:
    try:
        read = _File.model_validate(yamlfile.load(path))
    except ValidationError as error:
        problem, place = first_of(error)
        raise UserError(f"{path}: {'.'.join(place) or 'the file'}: {words_of(problem)}") from None
    if read.settings != path.stem:
        raise UserError(f"{path}: settings: '{read.settings}' differs from the file's name '{path.stem}'")
    try:
        methods = {method: _of_method(method, read.training, entry) for method, entry in read.methods.items()}
    except UserError as error:
        raise UserError(f"{path}: methods: {error}") from None
    return NamedSettings(read.settings, read.source, methods)


def available() -> list[str]:
    """Names of the sets that come with flipbench."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or yamlfile.exists(path):
        return path
    if name not in (shipped := available()):
        raise UserError(f"unknown settings '{shorten(name)}'{nearest(name, shipped)}")
    return SHIPPED / f"{name}.yaml"


def _of_method(
    method: str, training: Mapping[str, Any], entry: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """A method's settings on every data set that its entry names, and on all others."""
    declared = registry.get(method)
    known = flatten(declared.settings)
    shared = {**flatten(training), **flatten(entry.get(EVERYWHERE, {}))}
    by_data: dict[str, dict[str, Any]] = {}
    for dataset in (EVERYWHERE, *(name for name in entry if name != EVERYWHERE)):
        place = method if dataset == EVERYWHERE else f"{method}.{datasets.get(dataset).name}"
        values = {**shared, **flatten(entry.get(dataset, {}))}
        if unknown := next((name for name in values if name not in known), None):
            raise UserError(f"{place}: unknown setting '{shorten(unknown)}'{nearest(unknown, known)}")
        checked = {name: check_value(f"{place}: {name}", value, known[name]) for name, value in values.items()}
        if problem := declared.problem(nest({name: s.value for name, s in known.items()} | checked)):
            raise UserError(f"{place}: {problem}")
        by_data[dataset] = nest(checked)
    return by_data
