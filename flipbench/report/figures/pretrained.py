"""Figures 2, 8 and 9: what pretraining has made of the embeddings, and of the match between text and table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from flipbench.errors import DamagedError
from flipbench.paper.names import dataset_name, row_name
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.report.collect import failure_of
from flipbench.report.figures import style
from flipbench.report.figures.style import Picture
from flipbench.store.manifest import DRAWN
from flipbench.store.runs import Store

_GEOMETRY = {
    "mean_cosine": "Mean pairwise cosine",
    "effective_rank": "Effective rank",
    "first_share": "Share of the first\nsingular value",
}
_WAYS = {"text_to_table": "text → table", "table_to_text": "table → text"}


def embeddings(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figures 2 and 8: the first run's features along the first two singular vectors, and every run's figures.

    The unit is the table's root mean square length: pretrainings differ in size, and a cone is a matter of directions.
    """
    for dataset, runs in _inspected(plan, store, "embeddings"):
        across = min(4, len(runs))
        down = -(-len(runs) // across)
        figure = style.new(style.PAGE if across > 2 else style.COLUMN, 2.1 * down + 1.25)
        top, bottom = cast("tuple[SubFigure, SubFigure]", figure.subfigures(2, 1, height_ratios=[2.1 * down, 1.1]))
        panels = top.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
        for axes, (cell, stages) in zip(panels, runs, strict=False):
            _scatter(axes, style.plain(row_name(cell.method.label)), stages[0], store)
        for axes in panels[len(runs) :]:
            axes.set_axis_off()
        top.supxlabel("First singular vector (root mean square length of a feature = 1)", fontsize=7)
        top.supylabel("Second singular vector", fontsize=7)
        sides = panels[0].get_legend_handles_labels()
        top.legend(*sides, loc="outside upper center", ncols=2, markerscale=2.5, handletextpad=0.2)
        numbers = pd.DataFrame([_geometry(cell, stage, store) for cell, stages in runs for stage in stages])
        for axes, (name, title) in zip(bottom.subplots(1, 3, sharey=True), _GEOMETRY.items(), strict=True):
            _dots(axes, title, numbers.groupby("row", sort=False)[name])
            axes.set_yticks(range(len(runs)), [style.plain(row_name(c.method.label)) for c, _ in runs])
        below = style.over_seeds([len(s) for _, s in runs])
        text = f"{dataset_name(dataset)}. Above: seed {runs[0][1][0].seed}. Below: {below[0].lower()}{below[1:]}"
        bottom.supxlabel(text, fontsize=6, color=style.GREY)
        yield Picture(f"embeddings-{dataset}", figure, numbers)


def alignment(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figure 9: one row of the test set as the paper shows it, the mean over many, and how often the match is found."""
    for dataset, runs in _inspected(plan, store, "alignment"):
        for cell, stages in runs:
            numbers = pd.concat([_match_rates(stage, store) for stage in stages])
            drawn = _drawn(stages[0], store, "text", "table", "example", "mean")
            fields = drawn["table"].unique()  # in the table's order, as the matrices are
            figure = style.new(style.PAGE, 2.7)
            maps = figure.subplots(1, 3, width_ratios=[1, 1, 0.62])
            titles = {"example": "One test row", "mean": f"Mean of {numbers['rows'].iloc[0]:,} test rows"}
            for axes, (name, title) in zip(maps[:2], titles.items(), strict=True):
                cosines = drawn.pivot(index="text", columns="table", values=name).loc[fields, fields]
                _heat(axes, cosines, title)
            maps[0].set_ylabel("Field masked in the text")
            maps[1].tick_params(labelleft=False)
            _rates(maps[2], numbers, list(fields))
            right = style.over_seeds([len(stages)])
            text = f"{dataset_name(dataset)}, seed {stages[0].seed}. Boxes: highest of their row. Right: "
            style.note(figure, text + right[0].lower() + right[1:])
            label = "" if len(runs) == 1 else f"-{cell.method.label}"
            yield Picture(f"alignment{label}-{dataset}", figure, numbers)


def _inspected(plan: Plan, store: Store, what: str) -> Iterator[tuple[str, list[tuple[Cell, list[Stage]]]]]:
    """By data set: cells with finished runs of an inspection and no failed one, of the seeds that all have."""
    for dataset in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [(c, [s for s in c.inspections if s.role == what]) for c in plan.cells if c.data.label == dataset]
        cells = [(c, stages) for c, stages in cells if not any(failure_of(stage, store) for stage in stages)]
        done = [(c, finished) for c, stages in cells if (finished := [s for s in stages if store.done(s)])]
        common = set.intersection(*({s.seed for s in stages} for _, stages in done)) if done else set()
        if common:
            yield dataset, [(c, [s for s in stages if s.seed in common]) for c, stages in done]


@contextmanager
def _as_left(stage: Stage, store: Store) -> Iterator[None]:
    """Where the files of an inspection are read; raises DamagedError for figures or columns that are not there."""
    try:
        yield
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        said = str(error).splitlines() or [""]
        raise DamagedError(f"{store.folder(stage)}: not what '{stage.role}' leaves ({said[0]})") from None


def _drawn(stage: Stage, store: Store, *columns: str) -> pd.DataFrame:
    """What an inspection has stored to be drawn."""
    store.check(stage, DRAWN)
    with _as_left(stage, store):
        return pd.read_parquet(store.folder(stage) / DRAWN)[[*columns]]


def _geometry(cell: Cell, stage: Stage, store: Store) -> dict[str, str | float]:
    """A run's row of the numbers beside the picture."""
    metrics = store.metrics(stage)
    with _as_left(stage, store):
        return {
            "row": cell.method.label,
            "dataset": cell.data.label,
            "seed": stage.seed,
            "mean_cosine": metrics["mean_cosine"],
            "effective_rank": metrics["effective_rank"],
            "first_share": metrics["singular_shares"][0],
            "second_share": metrics["singular_shares"][1],
            "features": metrics["features"],
            "unseen": metrics["unseen"],
            "run": stage.key,
        }


def _scatter(axes: Axes, title: str, stage: Stage, store: Store) -> None:
    drawn, metrics = _drawn(stage, store, "side", "x", "y"), store.metrics(stage)
    with _as_left(stage, store):
        unit = float(metrics["rms_norm"])
    axes.axhline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    axes.axvline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    for side, colour, marker in (("user", style.BLUE, "o"), ("item", style.ORANGE, "^")):
        features = drawn[drawn["side"] == side]
        axes.scatter(features["x"] / unit, features["y"] / unit, s=2.2, c=colour, marker=marker, linewidths=0,
                     alpha=0.7, label=f"{side} features", rasterized=len(drawn) > 500)  # fmt: skip
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)


def _dots(axes: Axes, title: str, samples: "pd.api.typing.SeriesGroupBy[str, float]") -> None:
    """A row's mean, printed too, with its standard deviation, and every run as a small grey dot."""
    for place, (_, sample) in enumerate(samples):
        axes.plot(sample, [place] * len(sample), ".", color=style.FAINT, markersize=3, zorder=1)
        axes.errorbar(sample.mean(), place, xerr=sample.std(), fmt="o", color=style.BLUE, zorder=2)
        axes.text(1.02, place, f"{sample.mean():#.3g}", transform=axes.get_yaxis_transform(), va="center", fontsize=6)
    axes.set_xlabel(title)
    axes.set_ylim(len(samples) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(axis="y", length=0)
    style.light_grid(axes, "x")


def _heat(axes: Axes, cosines: pd.DataFrame, title: str) -> None:
    image = axes.imshow(cosines, cmap="cividis", interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, label="Cosine")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.ax.locator_params(nbins=4)
    for f, best in enumerate(cosines.to_numpy().argmax(axis=1)):
        outline = [effects.withStroke(linewidth=1.8, foreground="black")]
        axes.add_patch(Rectangle((best - 0.4, f - 0.4), 0.8, 0.8, fill=False, edgecolor="white", linewidth=0.9,
                                 path_effects=outline))  # fmt: skip
    names = [field.replace("_", " ") for field in cosines.index]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Field masked in the table")
    axes.set_title(title)


def _rates(axes: Axes, numbers: pd.DataFrame, fields: list[str]) -> None:
    """How often the same field is found first, each way: mean and standard deviation over runs."""
    by_field = (100 * numbers.set_index("field")[list(_WAYS)]).groupby("field", sort=False)
    means, errors = by_field.mean(), by_field.std().fillna(0)
    for shift, (way, words), (colour, marker, _) in zip((-0.14, 0.14), _WAYS.items(), style.SERIES, strict=False):
        label = f"{words}, all {means.loc['all', way]:.1f} %"
        xerr = errors.loc[fields, way] if numbers["seed"].nunique() > 1 else None
        axes.errorbar(means.loc[fields, way], np.arange(len(fields)) + shift, xerr=xerr, fmt=marker, color=colour,
                      label=label)  # fmt: skip
    chance = 100 * numbers["chance"].iloc[0]
    axes.axvline(chance, color=style.GREY, linewidth=0.8, linestyle=":", label=f"chance {chance:.1f} %")
    axes.set_yticks(range(len(fields)), [field.replace("_", " ") for field in fields])
    axes.set_ylim(len(fields) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("Same field found first (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=1, borderaxespad=0.2, labelspacing=0.2)
    style.light_grid(axes, "x")


def _match_rates(stage: Stage, store: Store) -> pd.DataFrame:
    """A run's rows of the numbers beside the picture: all fields together, then each."""
    metrics = store.metrics(stage)
    ways = {"text_to_table": "top1_text", "table_to_text": "top1_table"}
    with _as_left(stage, store):
        rates = {way: {"all": metrics[name], **metrics[f"{name}_of"]} for way, name in ways.items()}
        numbers = pd.DataFrame(rates).rename_axis("field").reset_index()
        numbers.insert(0, "dataset", stage.dataset)
        numbers.insert(1, "seed", stage.seed)
        return numbers.assign(chance=metrics["chance"], rows=metrics["rows"], run=stage.key)
