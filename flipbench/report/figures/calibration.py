"""Calibration: whether rows that are given a probability are clicked as often."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flipbench.paper import dataset_name, row_name
from flipbench.plan.expand import Plan
from flipbench.report.figures import style
from flipbench.report.figures.parts import datasets, finished
from flipbench.report.figures.style import Picture
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

BINS = 10
"""Of a calibration curve, with equally many rows each."""

WIDTH = 1.03
"""Of a panel: probabilities, and room for a mark at 1."""

Panel = tuple[str, Any, Any, Any]
"""A title; the marks' places, x and y, and half their intervals, each [:data:`BINS`]."""


def calibration(plan: Plan, store: Store) -> Iterator[Picture]:
    """How far the share of clicks is from the predicted probability: the first seed of each cell, in tenths of rows."""
    for data in datasets(plan):
        cells = finished(plan, store, data)
        if not cells:
            continue
        numbers: list[dict[str, Any]] = []
        panels: list[Panel] = []
        for cell in cells:
            stage = cell.evaluations[0]
            found = Evidence(store).predictions(stage)
            expected, observed, error = reliability(found.labels, found.logits)
            gap = observed - expected
            title = f"{row_name(cell.method.label)}\nECE {100 * np.abs(gap).mean():.1f}"
            panels.append((title, expected, 100 * gap, 196 * error))
            numbers += [
                {"dataset": data, "row": cell.method.label, "seed": stage.seed, "bin": i, "expected": float(e),
                 "observed": float(o), "standard_error": float(s), "run": stage.key}
                for i, (e, o, s) in enumerate(zip(expected, observed, error, strict=True))
            ]  # fmt: skip
        yield Picture(f"calibration-{data}", side_by_side(panels, f"{dataset_name(data)}, first seed"), numbers)


def side_by_side(panels: list[Panel], title: str) -> Figure:
    """The panels on common scales, four across, all in one axes: with axes of their own they take ten times as long."""
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure = style.new(max(style.COLUMN, style.PAGE * across / 4), 1.4 * down + 0.75)
    axes = figure.subplots()
    x, y, error = (np.array([panel[i] for panel in panels]) for i in (1, 2, 3))
    least, most = min(0.0, (y - error).min()), max(0.0, (y + error).max())
    room = 0.05 * (most - least)
    low, high = least - room, most + room
    at = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    ticks = [round(float(t), 6) + 0.0 for t in at if low <= t <= high]  # 0, not 1e-17 or -0

    index = np.arange(len(panels))
    left, zero = 1.18 * (index % across), -1.5 * (high - low) * (index // across)
    for t in ticks:
        axes.hlines(zero + t, left, left + WIDTH, style.FAINT, linewidth=0.3)
    axes.hlines(zero, left, left + WIDTH, style.GREY, linewidth=0.6)
    axes.hlines(zero + low, left, left + WIDTH, style.BLACK, linewidth=0.6, clip_on=False)
    axes.vlines(left, zero + low, zero + high, style.BLACK, linewidth=0.6, clip_on=False)

    end = ((0, 0), (0, 1))  # no line leads from a panel to the next
    x, y, error = (np.pad(v, end, constant_values=np.nan) for v in (x + left[:, None], y + zero[:, None], error))
    axes.errorbar(x.ravel(), y.ravel(), yerr=error.ravel(), color=style.BLUE, marker="o", markersize=2.6)
    for i, (name, *_) in enumerate(panels):
        axes.text(left[i] + WIDTH / 2, zero[i] + high + room, name, ha="center", linespacing=1.1)
    for i in index[-across:]:  # the lowest of each column
        for p in (0, 0.5, 1):
            axes.text(left[i] + p, zero[i] + low - 0.8 * room, f"{p:g}", ha="center", va="top", fontsize=6.5)

    axes.set_xlim(0, left.max() + WIDTH)
    axes.set_ylim(zero.min() + low, high)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    labels = [f"{t:g}".replace("-", "\N{MINUS SIGN}") for t in ticks]
    axes.set_yticks([t + row for row in zero[::across] for t in ticks], labels * down)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=7.5)
    figure.supylabel("Clicked minus predicted (points)", fontsize=7)
    text = "Mean predicted probability of a click, in tenths of the rows", "bars: 95 % intervals; ECE: mean gap"
    figure.supxlabel(("; " if across > 2 else "\n").join(text), fontsize=7)
    return figure


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
