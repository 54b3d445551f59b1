"""A suite's figures inside the page, with their numbers as tables."""

from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import version
from io import BytesIO
from platform import machine
from typing import Any
from zlib import ZLIB_RUNTIME_VERSION

import pandas as pd
from PIL import Image

from flipbench.paper.names import dataset_name

_KINDS = {
    "forest": ("Differences", "The reference minus each other row, in AUC and in logloss, with 95 % intervals"),
    "cost": ("Cost against AUC", "AUC of each row against the minutes that one run takes"),
    "calibration": ("Calibration", "For each row, clicked minus predicted share in ten bins of predicted probability"),
    "tuning": ("Search", "Best validation figure so far against the number of points tried, a line for each row"),
    "sweep": ("Sensitivity", "AUC and logloss along each setting that the rows vary"),
    "embeddings": ("Embeddings", "Features along the first two singular vectors, and how they fill their space"),
    "alignment": ("Alignment", "Similarity of each field masked in the text with each field masked in the table"),
}
"""Title and what is to be seen, by kind of figure."""

_NUMBER = r"-?[\d.]+(e[+-]\d+)?|-?inf|nan"
DRAWN_BY = "pictures-drawn-by"
"""Name of the page's line that holds :func:`drawn_by`."""


def drawn_by() -> str:
    """All that the bytes of pictures depend on beside what they show: elsewhere only their numbers can be compared."""
    libraries = (f"{name} {version(name)}" for name in ("matplotlib", "Pillow", "fonttools", "numpy"))
    return ", ".join([*libraries, f"zlib {ZLIB_RUNTIME_VERSION}", machine()])


def shown_figure(name: str, files: Mapping[str, bytes], suite: str) -> dict[str, Any]:
    """One ``.png`` of :func:`flipbench.report.figures.figure_files` with its numbers, as the page shows them.

    Of the numbers what all records share is left out, and keys are cut to the digits that name a folder.
    """
    with Image.open(BytesIO(files[name])) as picture:
        width, height = picture.size
    content = BytesIO(files[name.removesuffix("png") + "csv"])
    numbers = pd.read_csv(content, dtype=str, keep_default_na=False)
    title, shows = _KINDS[kind_of(name, suite)]
    if numbers["dataset"].nunique() == 1:
        title += f", {dataset_name(numbers['dataset'].iloc[0])}"
    numbers = numbers.drop(columns=[n for n in ("dataset", "test") if n in numbers and numbers[n].nunique() == 1])
    if "run" in numbers:
        numbers["run"] = numbers["run"].str[:12]
    numbers.columns = numbers.columns.str.replace("_", " ")
    return {
        "title": title,
        "shows": shows,
        "source": b64encode(files[name]).decode(),
        "width": width // 2,  # drawn with 200 dots an inch
        "height": height // 2,
        "columns": list(numbers.columns),
        "words": [name for name in numbers if not numbers[name].str.fullmatch(_NUMBER).all()],
        "records": list(numbers.itertuples(index=False)),
    }


def kind_of(name: str, suite: str) -> str:
    """What a suite's figure shows, by its file's name; empty for other files."""
    kind = name.removeprefix(f"{suite}-").partition("-")[0].partition(".")[0]
    return kind if kind in _KINDS else ""
