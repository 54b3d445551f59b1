"""Figures 2, 8 and 9: what pretraining has made of the embeddings, and of the match between text and table."""

from collections.abc import Iterator
from statistics import fmean, stdev
from typing import Any, cast

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from flipbench.paper import dataset_name, row_name
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.report.collect import failure_of
from flipbench.report.figures import style
from flipbench.report.figures.style import Picture
from flipbench.store.runs import DRAWN, Store

_GEOMETRY = {
    "mean_cosine": "Mean pairwise cosine",
    "effective_rank": "Effective rank",
    "first_share": "Share of the first\nsingular value",
}


def embeddings(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figures 2 and 8: the first run's features along the first two singular vectors, and every run's figures.

    The unit is the table's root mean square length: pretrainings differ in size, and a cone is a matter of directions.
    """
    for dataset, runs in _runs(plan, store, "embeddings"):
        across = min(4, len(runs))
        down = -(-len(runs) // across)
        figure = style.new(style.PAGE if across > 2 else style.COLUMN, 2.1 * down + 1.25)
        top, bottom = cast("tuple[SubFigure, SubFigure]", figure.subfigures(2, 1, height_ratios=[2.1 * down, 1.1]))
        panels = top.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
        for axes, (cell, stages) in zip(panels, runs, strict=False):
            _scatter(axes, row_name(cell.method.label), stages[0], store)
        for axes in panels[len(runs) :]:
            axes.set_axis_off()
        top.supxlabel("First singular vector (root mean square length of a feature = 1)", fontsize=7)
        top.supylabel("Second singular vector", fontsize=7)
        sides = panels[0].get_legend_handles_labels()
        top.legend(*sides, loc="outside upper center", ncols=2, markerscale=2.5, handletextpad=0.2)
        numbers = [record for cell, stages in runs for record in _geometry_of(cell, stages, store)]
        for axes, (name, title) in zip(bottom.subplots(1, 3, sharey=True), _GEOMETRY.items(), strict=True):
            _dots(axes, title, [[r[name] for r in numbers if r["row"] == c.method.label] for c, _ in runs])
            axes.set_yticks(range(len(runs)), [row_name(c.method.label) for c, _ in runs])
        below = style.over_seeds([len(s) for _, s in runs])
        text = f"{dataset_name(dataset)}. Above: seed {runs[0][1][0].seed}. Below: {below[0].lower()}{below[1:]}"
        bottom.supxlabel(text, fontsize=6, color=style.GREY)
        yield Picture(f"embeddings-{dataset}", figure, numbers)


def alignment(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figure 9: one row of the test set as the paper shows it, the mean over many, and how often the match is found."""
    for dataset, runs in _runs(plan, store, "alignment"):
        for cell, stages in runs:
            found = [store.metrics(stage) for stage in stages]
            drawn = _drawn(stages[0], store)
            fields = list(dict.fromkeys(drawn["table"]))  # in the table's order, as the matrices are
            figure = style.new(style.PAGE, 2.7)
            maps = figure.subplots(1, 3, width_ratios=[1, 1, 0.62])
            for axes, name, title in (
                (maps[0], "example", "One test row"),
                (maps[1], "mean", f"Mean of {found[0]['rows']:,} test rows"),
            ):
                _heat(axes, np.array(drawn[name]).reshape(len(fields), -1), fields, title)
            maps[0].set_ylabel("Field masked in the text")
            maps[1].tick_params(labelleft=False)
            _rates(maps[2], found, fields)
            right = style.over_seeds([len(stages)])
            text = f"{dataset_name(dataset)}, seed {stages[0].seed}. Boxes: highest of their row. Right: "
            style.note(figure, text + right[0].lower() + right[1:])
            label = "" if len(runs) == 1 else f"-{cell.method.label.replace('/', '_')}"
            yield Picture(f"alignment{label}-{dataset}", figure, list(_rates_of(stages, found)))


def _runs(plan: Plan, store: Store, what: str) -> Iterator[tuple[str, list[tuple[Cell, list[Stage]]]]]:
    """By data set: cells with finished runs of an inspection and no failed one, of the seeds that all have."""
    for dataset in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [(c, [s for s in c.inspections if s.role == what]) for c in plan.cells if c.data.label == dataset]
        cells = [(c, stages) for c, stages in cells if not any(failure_of(stage, store) for stage in stages)]
        done = [(c, found) for c, stages in cells if (found := [s for s in stages if store.done(s)])]
        common = set.intersection(*({s.seed for s in stages} for _, stages in done)) if done else set()
        if common:
            yield dataset, [(c, [s for s in stages if s.seed in common]) for c, stages in done]


def _drawn(stage: Stage, store: Store) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq  # starts a thread, after which no process is forked

    store.check(stage, DRAWN)
    found: dict[str, list[Any]] = pq.read_table(store.folder(stage) / DRAWN).to_pydict()
    return found


def _geometry_of(cell: Cell, stages: list[Stage], store: Store) -> Iterator[dict[str, Any]]:
    for stage in stages:
        found = store.metrics(stage)
        yield {
            "row": cell.method.label,
            "dataset": cell.data.label,
            "seed": stage.seed,
            "mean_cosine": found["mean_cosine"],
            "effective_rank": found["effective_rank"],
            "first_share": found["singular_shares"][0],
            "second_share": found["singular_shares"][1],
            "features": found["features"],
            "unseen": found["unseen"],
            "run": stage.key,
        }


def _scatter(axes: Axes, title: str, stage: Stage, store: Store) -> None:
    drawn, found = _drawn(stage, store), store.metrics(stage)
    x, y = np.array([drawn["x"], drawn["y"]]) / found["rms_norm"]
    side = np.array(drawn["side"])
    axes.axhline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    axes.axvline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    for name, colour, marker in (("user", style.BLUE, "o"), ("item", style.ORANGE, "^")):
        own = side == name
        axes.scatter(x[own], y[own], s=2.2, c=colour, marker=marker, linewidths=0, alpha=0.7, label=f"{name} features",
                     rasterized=len(x) > 500)  # fmt: skip
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)


def _dots(axes: Axes, title: str, samples: list[list[float]]) -> None:
    """A row's mean, printed too, with its standard deviation, and every run as a small grey dot."""
    for place, sample in enumerate(samples):
        axes.plot(sample, [place] * len(sample), ".", color=style.FAINT, markersize=3, zorder=1)
        error = stdev(sample) if len(sample) > 1 else None
        axes.errorbar(fmean(sample), place, xerr=error, fmt="o", color=style.BLUE, zorder=2)
        axes.text(1.02, place, f"{fmean(sample):#.3g}", transform=axes.get_yaxis_transform(), va="center", fontsize=6)
    axes.set_xlabel(title)
    axes.set_ylim(len(samples) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="y", length=0)
    style.light_grid(axes, "x")


def _heat(axes: Axes, matrix: Any, fields: list[str], title: str) -> None:
    image = axes.imshow(matrix, cmap="cividis", interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, label="Cosine")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.ax.locator_params(nbins=4)
    size = len(fields)
    for f in range(size):
        axes.add_patch(Rectangle((matrix[f].argmax() - 0.4, f - 0.4), 0.8, 0.8, fill=False, edgecolor="white",
                                 linewidth=0.9, path_effects=[effects.withStroke(linewidth=1.8, foreground="black")],
                                 ))  # fmt: skip
    names = [field.replace("_", " ") for field in fields]
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Field masked in the table")
    axes.set_title(title)


def _rates(axes: Axes, found: list[dict[str, Any]], fields: list[str]) -> None:
    for shift, key, way, (colour, marker, _) in zip(
        (-0.14, 0.14), ("top1_text", "top1_table"), ("text → table", "table → text"), style.SERIES, strict=False
    ):
        rates = [[100 * metrics[f"{key}_of"][field] for metrics in found] for field in fields]
        label = f"{way}, all {100 * fmean(metrics[key] for metrics in found):.1f} %"
        errors = [stdev(r) for r in rates] if len(found) > 1 else None
        places = np.arange(len(fields)) + shift
        axes.errorbar([fmean(r) for r in rates], places, xerr=errors, fmt=marker, color=colour, label=label)
    axes.axvline(100 * found[0]["chance"], color=style.GREY, linewidth=0.8, linestyle=":",
                 label=f"chance {100 * found[0]['chance']:.1f} %")  # fmt: skip
    axes.set_yticks(range(len(fields)), [field.replace("_", " ") for field in fields])
    axes.set_ylim(len(fields) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("Same field found first (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=1, borderaxespad=0.2, labelspacing=0.2)
    style.light_grid(axes, "x")


def _rates_of(stages: list[Stage], found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for stage, metrics in zip(stages, found, strict=True):
        for field in ("all", *metrics["top1_text_of"]):
            text, table = (
                (metrics["top1_text"], metrics["top1_table"])
                if field == "all"
                else (metrics["top1_text_of"][field], metrics["top1_table_of"][field])
            )
            yield {
                "dataset": stage.dataset,
                "seed": stage.seed,
                "field": field,
                "text_to_table": text,
                "table_to_text": table,
                "chance": metrics["chance"],
                "rows": metrics["rows"],
                "run": stage.key,
            }
