"""The numbers that the paper prints (``tables.yaml``), by table, method, data set and metric."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from flipbench.errors import UserError, nearest
from flipbench.paper.names import TABLES
from flipbench.protocol import Metric


@cache
def load_tables() -> Mapping[str, Any]:
    """The whole of ``tables.yaml``. Read it, do not change it: it is parsed once."""
    tables: dict[str, Any] = yaml.safe_load(files("flipbench.paper").joinpath("tables.yaml").read_text("utf-8"))
    return tables


def paper_value(table: str, method: str, dataset: str, metric: Metric) -> float | None:
    """A number as printed, or None where the paper's table has no such cell.

    In Tables III to VI a row has two names: ``deepfm/flip_id``, ``roberta/flip``, ``deepfm/none``.

    Raises:
        UserError: the paper has no result table of that name.
    """
    value = _rows(table).get(method, {}).get(dataset, {}).get(metric)
    return None if value is None else float(value)


def paper_starred(table: str, method: str, dataset: str, metric: Metric) -> bool:
    """Whether the paper stars a number (p < 0.001). Raises UserError for an unknown table."""
    starred = _rows(table).get(method, {}).get(dataset, {}).get("starred", False)
    return bool(starred) if isinstance(starred, bool) else metric in starred


def paper_methods(table: str) -> list[str]:
    """The table's rows in the paper's order. Raises UserError for an unknown table."""
    return list(_rows(table))


def paper_datasets(table: str) -> list[str]:
    """The table's data sets in the paper's order. Raises UserError for an unknown table."""
    return list(dict.fromkeys(dataset for row in _rows(table).values() for dataset in row))


@cache
def _rows(table: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """method -> data set -> {auc, logloss, ...}, the two layouts of ``tables.yaml`` made one."""
    if table not in TABLES:
        raise UserError(f"the paper has no result table '{table}'{nearest(table, TABLES)}")
    rows = load_tables()[table]
    if "dataset" not in rows:
        return dict(rows)
    return {
        f"{group}/{name}": {rows["dataset"]: values}
        for group, members in rows["rows"].items()
        for name, values in members.items()
    }
