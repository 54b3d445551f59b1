"""A suite's figures inside the page, with their numbers as tables."""

from base64 import b64encode
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from platform import machine
from zlib import ZLIB_RUNTIME_VERSION

import pandas as pd
from PIL import Image

from flipbench.errors import UserError
from flipbench.paper import dataset_name
from flipbench.report.html.elements import Html, grid, join, plural, tag

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


DRAWN_BY = "pictures-drawn-by"
"""Name of the page's line that holds :func:`drawn_by`."""


def drawn_by() -> str:
    """All that the bytes of pictures depend on beside what they show: elsewhere only their numbers can be compared."""
    libraries = (f"{name} {version(name)}" for name in ("matplotlib", "Pillow", "fonttools", "numpy"))
    return ", ".join([*libraries, f"zlib {ZLIB_RUNTIME_VERSION}", machine()])


def figures(paths: Iterable[Path], suite: str) -> Html:
    """Of the files of :func:`flipbench.report.figures.write_figures`, the pictures with their numbers.

    Raises:
        UserError: a file cannot be read.
    """
    return join((_figure(path, suite) for path in paths if path.suffix == ".png"), "\n")


def _figure(path: Path, suite: str) -> Html:
    kind = kind_of(path, suite)
    try:
        with Image.open(path) as picture:
            width, height = picture.size
        source = b64encode(path.read_bytes()).decode()
        numbers = pd.read_csv(path.with_suffix(".csv"), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the figure or its numbers cannot be read: {error}") from None
    title, seen = _KINDS[kind]
    if numbers["dataset"].nunique() == 1:
        title += f", {dataset_name(numbers['dataset'].iloc[0])}"
    shown = tag(
        "img",
        src=f"data:image/png;base64,{source}",
        alt=f"{seen}. The same numbers stand in the table that follows.",
        width=width // 2,  # drawn with 200 dots an inch
        height=height // 2,
    )
    records = tag("details", tag("summary", f"{plural(len(numbers), 'record')} behind it"), _records(numbers))
    return join([tag("h3", title), tag("figure", shown, tag("figcaption", f"{seen}."), records)])


def kind_of(path: Path, suite: str) -> str:
    """What a suite's figure shows, by its file's name; empty for other files."""
    kind = path.stem.removeprefix(f"{suite}-").partition("-")[0]
    return kind if kind in _KINDS else ""


def _records(numbers: pd.DataFrame) -> Html:
    """What all records share is left out; keys are cut to the digits that name a folder."""
    shared = [name for name in ("dataset", "test") if name in numbers and numbers[name].nunique() == 1]
    shown = numbers.drop(columns=shared)
    if "run" in shown:
        shown["run"] = shown["run"].str[:12]
    shown.columns = shown.columns.str.replace("_", " ")
    words = [name for name in shown if not shown[name].str.fullmatch(_NUMBER).all()]
    return grid("Numbers of the figure", list(shown.columns), shown.itertuples(index=False), words, sort=True)


_NUMBER = r"-?[\d.]+(e[+-]\d+)?|-?inf|nan"
