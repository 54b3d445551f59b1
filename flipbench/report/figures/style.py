"""How every figure looks, and how it is saved: the same bytes from the same numbers.

Sizes are of a two-column page; colours are Okabe and Ito's, distinct without colour vision, and every series has a
marker or a line style of its own, so that it is distinct in grey.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from flipbench.printable import one_line

COLUMN, PAGE = 3.45, 7.1
"""Width in inches of a column and of a page."""

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
GREY, FAINT = "#595959", "#BFBFBF"
SERIES: tuple[tuple[str, str, Any], ...] = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", "-."),
    (BLACK, "D", ":"),
    (PURPLE, "v", (0, (5, 1))),
    (ORANGE, "P", (0, (3, 1, 1, 1, 1, 1))),
    (SKY, "X", (0, (1, 1))),
)
"""Colour, marker and line of the series of a plot, in order; with more, they repeat."""

_STYLE: Any = {
    "mathtext.fontset": "dejavusans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "errorbar.capsize": 2,
    "grid.linewidth": 0.4,
    "grid.color": "#E3E3E3",
    "axes.axisbelow": True,
    "pdf.fonttype": 42,  # letters stay letters
    "figure.dpi": 200,
}


@dataclass(frozen=True)
class Picture:
    """A figure to be saved.

    Attributes:
        name: what it shows, and of which data set (``calibration-movielens-1m``).
        figure: drawn.
        numbers: what its marks stand for, a row each, so that nobody has to read them off.
    """

    name: str
    figure: Figure
    numbers: pd.DataFrame


@contextmanager
def styled() -> Iterator[None]:
    """A region in which figures are made and saved, whatever the reader's own matplotlib settings say."""
    with mpl.rc_context():
        mpl.rcdefaults()  # DejaVu Sans, which comes with matplotlib
        mpl.rcParams.update(_STYLE)
        yield


def new(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, that makes room for its labels by itself."""
    return Figure(figsize=(width, height), layout="constrained")


def note(figure: Figure, text: str) -> None:
    """One small line under the figure: what the bars are, and of how many runs."""
    figure.supxlabel(text, fontsize=6, color=GREY)


def plain(name: str) -> str:
    """A name as matplotlib draws it letter by letter: it takes what stands between two dollar signs for a formula."""
    return one_line(name).replace("$", r"\$")


def light_grid(axes: Axes, axis: Any = "both") -> None:
    axes.grid(True, axis=axis)
    axes.tick_params(length=0 if axis == "both" else 2.5)


def label_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write a name beside each point (x, y, name), at the first of some places inside where it covers nothing.

    The axes' limits must be final.
    """
    figure = cast("Figure", axes.get_figure(root=True))
    figure.draw_without_rendering()  # lays it out
    size, pixels = 6.0, figure.dpi / 72
    places = axes.transData.transform([(x, y) for x, y, _ in points]) / pixels  # in points, as the sizes
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in places]
    left, right = axes.bbox.x0 / pixels, axes.bbox.x1 / pixels
    for (x, y), (px, py, name) in zip(places, points, strict=True):
        width = 0.6 * size * len(name)
        shifts = [(dx, dy) for dy in (5, -5, 0, 11, -11, 17, -17) for dx in (5, -5 - width, -width / 2) if dx or dy]
        boxes = [Bbox.from_bounds(x + dx, y + dy - size / 2, width, size) for dx, dy in shifts]
        inside = [i for i, box in enumerate(boxes) if left < box.x0 and box.x1 < right]
        free = next((i for i in inside if not boxes[i].count_overlaps(taken)), (inside or [0])[0])
        taken.append(boxes[free])
        far = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(name, (px, py), xytext=shifts[free], textcoords="offset points", fontsize=size, va="center",
                      arrowprops=far if abs(shifts[free][1]) > 5 else None, in_layout=False)  # fmt: skip


def over_seeds(counts: Sequence[int]) -> str:
    """What error bars are, for cells of so many runs."""
    if max(counts, default=0) < 2:
        return "One seed: no spread known."
    least, most = min(counts), max(counts)
    return f"Mean ± sample standard deviation over {most if least == most else f'{least} to {most}'} seeds."


def encoded(picture: Picture) -> dict[str, bytes]:
    """A picture as ``pdf`` and ``png``, and its numbers as ``csv``, by ending.

    No date, no version, no path is in them: equal numbers give equal bytes.
    """
    files = {}
    picture.figure.draw_without_rendering()
    picture.figure.set_layout_engine("none")  # laid out once: both files have everything in the same place
    for ending, fields in _METADATA.items():
        stream = io.BytesIO()
        picture.figure.savefig(stream, format=ending, metadata=dict.fromkeys(fields))
        files[ending] = stream.getvalue()
    numbers = picture.numbers.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    return {**files, "csv": numbers.encode()}


_METADATA = {"pdf": ("CreationDate", "ModDate", "Producer", "Creator"), "png": ("Software",)}
"""What matplotlib writes into a file beside the picture, all left out."""
