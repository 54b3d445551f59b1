"""Calibration: whether rows that are given a probability are clicked as often."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.special import expit

from flipbench.paper.names import dataset_name, row_name
from flipbench.plan.expand import Plan
from flipbench.report.collect import finished_cells
from flipbench.report.figures import style
from flipbench.report.figures.style import Picture
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

BINS = 10
"""Of a calibration curve, with equally many rows each."""


def calibration(plan: Plan, store: Store) -> Iterator[Picture]:
    """How far the share of clicks is from the predicted probability: the first seed of each cell, in tenths of rows."""
    evidence = Evidence(store)
    for dataset, cells in finished_cells(plan, store):
        if not cells:
            continue
        curves: dict[str, pd.DataFrame] = {}
        for cell in cells:
            stage, row = cell.evaluations[0], cell.method.label
            predictions = evidence.predictions(stage)
            curve = reliability(predictions.labels, predictions.logits)
            curves[row] = curve.assign(dataset=dataset, row=row, seed=stage.seed, run=stage.key)
        names = ["dataset", "row", "seed", "bin", "expected", "observed", "standard_error", "run"]
        figure = small_multiples(curves, f"{dataset_name(dataset)}, first seed")
        yield Picture(f"calibration-{dataset}", figure, pd.concat(curves.values())[names])


def reliability(labels: ArrayLike, logits: ArrayLike) -> pd.DataFrame:
    """Tenths of the rows by rising probability: ``bin``, its mean probability (``expected``), its share of clicks
    (``observed``) and the binomial ``standard_error`` of that share.

    Not by :func:`sklearn.calibration.calibration_curve`: it cuts at quantiles, so that rows of equal probability fall
    into one bin and bins are no tenths, drops empty bins, and does not count rows, which the error needs.

    Args:
        labels: [N] bool. logits: [N].
    """
    rows = pd.DataFrame({"expected": expit(np.asarray(logits, np.float64)), "observed": np.asarray(labels, np.float64)})
    tenths = np.array_split(np.argsort(rows["expected"].to_numpy(), kind="stable"), BINS)
    curve = pd.DataFrame([rows.iloc[tenth].mean() for tenth in tenths])
    variance = curve["observed"] * (1 - curve["observed"])
    return curve.assign(bin=range(BINS), standard_error=np.sqrt(variance / [len(tenth) for tenth in tenths]))


def small_multiples(curves: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """A panel a row on common scales, four across."""
    across = min(4, len(curves))
    down = -(-len(curves) // across)
    figure = style.new(max(style.COLUMN, style.PAGE * across / 4), 1.4 * down + 0.75)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
    for place, (row, curve) in enumerate(curves.items()):
        axes = panels[place]
        gap = 100 * (curve["observed"] - curve["expected"])
        axes.axhline(0, color=style.GREY, linewidth=0.6)
        axes.errorbar(curve["expected"], gap, yerr=196 * curve["standard_error"], color=style.BLUE, marker="o",
                      markersize=2.6)  # fmt: skip
        axes.set_title(f"{style.plain(row_name(row))}\nECE {gap.abs().mean():.1f}", linespacing=1.1)
        axes.tick_params(labelbottom=place >= len(curves) - across)  # the lowest of each column
        style.light_grid(axes, "y")
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    panels[0].set_xlim(0, 1.03)  # room for a mark at 1
    panels[0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    panels[0].locator_params(axis="y", nbins=6)
    figure.suptitle(title, fontsize=7.5)
    figure.supylabel("Clicked minus predicted (points)", fontsize=7)
    notes = "Mean predicted probability of a click, in tenths of the rows", "bars: 95 % intervals; ECE: mean gap"
    figure.supxlabel(("; " if across > 2 else "\n").join(notes), fontsize=7)
    return figure
