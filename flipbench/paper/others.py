"""The numbers that others than the paper publish (``others.yaml``), each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from flipbench.errors import UserError, nearest
from flipbench.protocol import Metric, Order


@dataclass(frozen=True)
class Published:
    """What one source publishes of one data set.

    Attributes:
        name: the column's heading.
        dataset, order: of the column that it may stand beside.
        where: the source. differs: a sentence on what is not as it is here.
        rows: ``auc``, ``logloss`` and the source's ``file`` by method.
    """

    name: str
    dataset: str
    order: Order
    where: str
    differs: str
    rows: Mapping[str, Mapping[str, Any]]

    def value(self, method: str, metric: Metric) -> float | None:
        """A number as published, or None where the source has none of the method."""
        found = self.rows.get(method, {}).get(metric)
        return None if found is None else float(found)


def published(key: str, dataset: str, order: Order) -> Published:
    """The numbers under a key of ``others.yaml``, to stand beside a column.

    Raises:
        UserError: there is no such key, or its numbers are of another data set or order.
    """
    if key not in (known := _load()):
        raise UserError(f"published: unknown '{key}'{nearest(key, known)}")
    of = known[key]
    if (of.dataset, of.order) != (dataset, order):
        raise UserError(f"published: '{key}' is of {of.dataset}, {of.order} order, not of {dataset}, {order} order")
    return of


@cache
def _load() -> Mapping[str, Published]:
    text = files("flipbench.paper").joinpath("others.yaml").read_text("utf-8")
    return {key: Published(**entry) for key, entry in yaml.safe_load(text).items()}
