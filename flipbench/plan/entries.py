"""What a suite's file is made of: its data sets, its rows, its search, its tests and where they go."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo

from flipbench.data import dataset as datasets
from flipbench.data.dataset import Dataset
from flipbench.errors import shorten
from flipbench.plan import registry
from flipbench.plan.schema import STRICT, Folder, Line, Name, SettingValues, check_name
from flipbench.plan.settings import shown
from flipbench.protocol import Order, Validation

MOST = 1000
"""Of seeds, and of points in a search."""


class _Strict(BaseModel):
    model_config = STRICT


class DataEntry(_Strict):
    """A data set and how it is used."""

    name: Annotated[str, AfterValidator(lambda name: name if datasets.is_file(name) else check_name(name))]
    """Registered name, which ``flipbench list datasets`` shows; or the path of a YAML file that describes your own,
    relative to the suite's."""
    order: Order = "chronological"
    """Row order before the split: one that the data set has, by default its own where a file describes it; ``random``
    leaks the future and shows by how much."""
    users: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the users that take part, with all their rows, chosen once and for all; below 1 for a short run that
    no figure of the paper is comparable with."""
    settings: SettingValues = {}
    """Settings for every method on this data set that has them (batch_size 2048 on GoodReads, say)."""
    rows: dict[str, SettingValues] = {}
    """Settings of single rows on this data set, by label."""
    validation: Validation | None = None
    """Instead of the suite's."""
    refit: bool | None = None
    """Instead of the suite's."""
    published: Name | None = None
    """Numbers of another source than the paper to print beside ours (``recbole-ml-1m``): a key of
    ``flipbench/paper/others.yaml``, of the same data set and order."""

    @property
    def dataset(self) -> Dataset:
        """The data set that is meant."""
        return datasets.get(self.name)

    @property
    def label(self) -> str:
        """The column's name: the data set's alone where its rows stand as it has them."""
        parts = [
            self.order if self.order != self.dataset.orders[0] else "",
            f"{100 * self.users:g}%-of-users" if self.users < 1 else "",
            self.validation or "",
            {None: "", True: "refit", False: "no-refit"}[self.refit],
        ]
        return "@".join([self.dataset.name, *filter(None, parts)])


class MethodEntry(_Strict):
    """A row: a method with its settings."""

    label: Name
    """The row's name; the method's own unless the suite gives another."""
    method: Name
    """Registered name; ``flipbench list models`` shows them."""
    settings: SettingValues = {}
    """What differs from the method file's declared settings."""
    named: str = ""
    """A named set of settings, by name or path, which ``settings`` go over: in a row ``settings: clickprompt-code``."""
    note: Line = ""
    """What a reader of the row's figures must know; stands under the table."""

    @property
    def is_floor(self) -> bool:
        """Whether its method is a rule that any model must beat."""
        return registry.get(self.method).kind == "floor"


class Tune(_Strict):
    """How settings are searched, the same budget for every method."""

    search: Literal["sobol", "tpe", "grid"] = "sobol"
    """``sobol``, ``tpe``: Optuna's quasi-random and TPE samplers over the method's declared grid and between its
    points, from fixed seeds, so that every method has the same number of points. ``grid``: the points of the grid
    alone, of which a small one has fewer."""
    budget: Annotated[int, Field(ge=1, le=MOST)]
    """Points that a method tries, the declared settings among them, each trained once on the selection part; of a
    larger grid as many are sampled by the seed 0."""
    round: Annotated[int, Field(ge=1, le=MOST)] = 4
    """Of ``tpe``: points asked at once, each round knowing the figures of those before; the number of workers does not
    matter."""
    select: Literal["auc", "logloss"] = "auc"
    """The validation metric that chooses."""


class Compare(_Strict):
    """How rows are compared, declared before anything has run."""

    reference: Name | None = None
    """The row that Rel.Impr is of."""
    test: Literal["user-bootstrap", "delong", "paired-t"] = "user-bootstrap"
    """The significance test of the reference against each row."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Its level."""
    margin: dict[Literal["auc", "logloss"], Annotated[float, Field(gt=0)]] = {"auc": 0.001, "logloss": 0.002}
    """Differences smaller than this count as equal to the paper's value."""


class Outputs(_Strict):
    """Where results and reports go, relative to the working directory."""

    results: Folder = "results"
    reports: Folder = "reports"


def _entries(items: Any, name_key: str) -> Any:
    """Accept ``name``, ``{name: {...}}`` and lists of either, as one flat list of mappings."""
    if not isinstance(items, list):
        return items
    flat: list[Any] = []
    for item in items:
        if isinstance(item, list):
            flat += _entries(item, name_key)
        elif isinstance(item, str):
            flat.append({name_key: item})
        elif isinstance(item, dict) and len(item) == 1 and name_key not in item:
            name, body = next(iter(item.items()))
            if not isinstance(body, dict | None):
                raise ValueError(f"'{shorten(name)}': expected a mapping, got {shown(body)}")
            flat.append({name_key: name, **(body or {})})
        else:
            flat.append(item)
    return flat


def columns(items: Any, info: ValidationInfo) -> Any:
    """Columns as mappings: a path from the suite's folder on, with the order that the file of it says."""
    entries = _entries(items, "name")
    if not isinstance(entries, list):
        return entries
    return [_described(e, info) if isinstance(e, dict) and isinstance(e.get("name"), str) else e for e in entries]


def _described(entry: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if not datasets.is_file(entry["name"]):
        return entry
    path = Path((info.context or {}).get("folder", ""), entry["name"]).absolute()
    return {"order": datasets.get(str(path)).orders[0], **entry, "name": str(path)}


def rows(items: Any) -> Any:
    entries = _entries(items, "label")
    if not isinstance(entries, list):
        return entries
    return [
        {
            "label": e["label"],
            "method": e.get("method", e["label"]),
            "note": e.get("note", ""),
            "named": e.get("settings", ""),
            "settings": {k: v for k, v in e.items() if k not in ("label", "method", "note", "settings")},
        }
        if isinstance(e, dict) and "label" in e
        else e
        for e in entries
    ]
