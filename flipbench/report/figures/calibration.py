"""Calibration: whether rows that are given a probability are clicked as often."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from flipbench.paper import dataset_name, row_name
from flipbench.plan import Plan
from flipbench.report.figures import style
from flipbench.report.figures.scores import datasets, finished
from flipbench.report.figures.style import Picture
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

BINS = 10
"""Of a calibration curve, with equally many rows each."""


def calibration(plan: Plan, store: Store) -> Iterator[Picture]:
    """How far the share of clicks is from the predicted probability: the first seed of each cell, in tenths of rows."""
    for data in datasets(plan):
        cells = finished(plan, store, data)
        if not cells:
            continue
        across = min(4, len(cells))
        down = -(-len(cells) // across)
        figure = style.new(style.PAGE * across / 4, 1.25 * down + 0.75)
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        numbers: list[dict[str, Any]] = []
        for axes, cell in zip(panels.flatten(), cells, strict=False):
            stage = cell.finals[0]
            found = Evidence(store).predictions(stage)
            expected, observed, error = reliability(found.labels, found.logits)
            gap = observed - expected
            axes.axhline(0, color=style.GREY, linewidth=0.6)
            axes.errorbar(expected, 100 * gap, yerr=196 * error, color=style.BLUE, marker="o", markersize=2.6)
            axes.set_title(f"{row_name(cell.method.label)}, ECE {100 * np.abs(gap).mean():.1f}")
            axes.set_xlim(0, 1.03)
            axes.set_xticks([0, 0.5, 1])
            style.light_grid(axes, "y")
            numbers += [
                {"dataset": data, "row": cell.method.label, "seed": stage.seed, "bin": i, "expected": float(e),
                 "observed": float(o), "standard_error": float(s), "run": stage.key}
                for i, (e, o, s) in enumerate(zip(expected, observed, error, strict=True))
            ]  # fmt: skip
        for place, axes in enumerate(panels.flatten()):
            axes.tick_params(labelbottom=place + across >= len(cells))
            if place >= len(cells):
                axes.set_axis_off()
        figure.suptitle(f"{dataset_name(data)}, first seed", fontsize=7.5)
        figure.supylabel("Clicked minus predicted (points)", fontsize=7)
        figure.supxlabel(
            "Mean predicted probability of a click, in tenths of the rows; bars: 95 % intervals; ECE: mean gap",
            fontsize=7,
        )
        yield Picture(f"calibration-{data}", figure, numbers)


def reliability(labels: Any, logits: Any) -> tuple[Any, Any, Any]:
    """Mean probability, share of clicks and its binomial standard error, each [:data:`BINS`], by rising probability.

    Args:
        labels: [N] bool. logits: [N].
    """
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    groups = np.array_split(np.argsort(p, kind="stable"), BINS)
    expected = np.array([p[g].mean() for g in groups])
    observed = np.array([labels[g].mean() for g in groups])
    return expected, observed, np.sqrt(observed * (1 - observed) / [len(g) for g in groups])
