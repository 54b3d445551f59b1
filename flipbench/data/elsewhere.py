"""Data sets of packages that are not installed here, as a bundle describes them in a file beside its suite.

Results are verified and reported without the data, and so without the package that reads them: what a suite asks of
a data set then are its row orders, its counts and which content its runs are of.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from flipbench import yamlfile
from flipbench.data import dataset as datasets
from flipbench.data.dataset import Dataset
from flipbench.errors import UserError
from flipbench.protocol import Order

SUFFIX = ".datasets.json"
"""Instead of a suite's ``.yaml``."""


def described(fingerprints: Mapping[str, str]) -> bytes:
    """The file on those data sets, given by name with the fingerprint of their runs, that are not flipbench's own.

    Empty where all are.
    """
    documents = {}
    for name, fingerprint in fingerprints.items():
        if (package := datasets.package_of(name)) not in ("", "flipbench"):
            found = datasets.get(name)
            said = {"title": found.title, "orders": found.orders, "expected": dict(found.expected)}
            documents[name] = {**said, "fingerprint": fingerprint, "package": package}
    return f"{json.dumps(documents, indent=1, sort_keys=True)}\n".encode() if documents else b""


def read_beside(suite: Path) -> None:
    """Take note of the data sets that a file beside a suite's describes, for names that nothing is registered under.

    Raises:
        UserError: the file is there and no such description.
    """
    path = suite.with_name(suite.stem + SUFFIX)
    if not yamlfile.exists(path):
        return
    try:
        documents = json.loads(path.read_text(encoding="utf-8"))
        found = [_dataset(name, document) for name, document in documents.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: no description of data sets as a bundle has it ({error!r})") from None
    datasets.know(found)


def _dataset(name: str, document: Mapping[str, Any]) -> Dataset:
    orders, expected = document["orders"], document["expected"]
    if not orders or not {*orders} <= {*get_args(Order)}:
        raise ValueError(f"{name}: orders {orders}")
    return Dataset(
        name=name,
        title=str(document["title"]),
        citation="",
        licence="",
        fields=(),
        label="",
        reader="",
        files=("",),  # it is not generated
        orders=tuple(orders),
        expected={str(what): int(count) for what, count in expected.items()},
        fingerprint=str(document["fingerprint"]),
        package=str(document["package"]),
    )
