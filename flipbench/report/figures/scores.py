"""Figures 6 and 7, and those that the paper lacks: what scores depend on, differ by, cost, and are worth."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from flipbench.paper.names import dataset_name, family, row_name
from flipbench.paper.values import paper_value
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.settings import flatten
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.collect import finished_cells, run_of, with_ancestors
from flipbench.report.columns import METRIC_NAMES
from flipbench.report.figures import style
from flipbench.report.figures.style import Picture
from flipbench.report.settings import varied_settings
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

MOST_NAMES = 12
"""Beside points; of more than these they would cover each other."""

_SETTING_NAMES = {
    "pretrain.text_mask_ratio": ("Share of fields masked", "masked in the text"),
    "pretrain.table_mask_ratio": ("Share of fields masked", "masked in the table"),
    "pretrain.temperature": ("Temperature τ", "temperature"),
}
"""What a swept setting is called on the axis, and as one of several curves."""


def sweep(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figures 6 and 7: AUC and logloss along each setting that the rows vary, the others as most rows have them."""
    swept = varied_settings(plan)
    finished = {dataset: cells for dataset, cells in finished_cells(plan, store) if len(cells) > 1}
    if not finished:
        return
    ticks = sorted({x for values in swept.values() for x in values})
    log = ticks[0] > 0 and ticks[-1] / ticks[0] >= 10
    evidence = Evidence(store)
    numbers = pd.concat([_along(dataset, cells, swept, evidence) for dataset, cells in finished.items()])
    if numbers.empty:  # what varies is on other data sets
        return
    figure = style.new(style.COLUMN * min(2, len(finished)), 3.0)
    panels = figure.subplots(2, len(finished), squeeze=False, sharex=True)
    for column, (dataset, cells) in zip(panels.T, finished.items(), strict=True):
        runs = numbers[numbers["dataset"] == dataset]
        for axes, metric in zip(column, get_args(Metric), strict=True):
            _sweep_curves(axes, runs, metric, list(swept), 0.0 if log else 0.012 * (ticks[-1] - ticks[0]))
            _paper_point(axes, cells, next(iter(swept)), dataset, metric)
            style.light_grid(axes, "y")
        column[0].set_title(dataset_name(dataset))
        if log:
            column[0].set_xscale("log")
        column[-1].set_xticks(ticks, [f"{x:g}" for x in ticks], minor=False)
        column[-1].minorticks_off()
        titles = {_SETTING_NAMES.get(name, (name, ""))[0] for name in swept}
        column[-1].set_xlabel(titles.pop() if len(titles) == 1 else "Value of the setting")
    for axes, metric in zip(panels[:, 0], get_args(Metric), strict=True):
        axes.set_ylabel(METRIC_NAMES[metric] + (" (nats)" if metric == "logloss" else ""))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=1 if len(finished) == 1 else 3)
    style.note(figure, style.over_seeds([len(c.evaluations) for cells in finished.values() for c in cells]))
    yield Picture("sweep", figure, numbers)


def _along(dataset: str, cells: list[Cell], swept: Mapping[str, list[float]], evidence: Evidence) -> pd.DataFrame:
    """The runs along each swept setting, of the rows whose other swept settings are those of most rows."""
    settings = pd.DataFrame([flatten(cell.settings or {}) for cell in cells])[list(swept)]
    usual = pd.Series({name: max(settings[name], key=list(settings[name]).count) for name in swept})
    curves = []
    for name in swept:
        others = [other for other in swept if other != name]
        along = settings[(settings[others] == usual[others]).all(axis="columns")].drop_duplicates(name, keep="last")
        for index, value in along[name].sort_values().items() if len(along) > 1 else ():
            cell = cells[index]
            curves += [
                {"dataset": dataset, "setting": name, "value": float(value), "row": cell.method.label,
                 "seed": run.seed, "auc": run.auc, "logloss": run.logloss, "run": run.key}
                for run in (run_of(stage, evidence) for stage in cell.evaluations)
            ]  # fmt: skip
    return pd.DataFrame(curves)


def _sweep_curves(axes: Axes, runs: pd.DataFrame, metric: Metric, swept: list[str], apart: float) -> None:
    """A curve a setting, each ``apart`` from the one before, so that their bars do not cover each other."""
    for name, curve in runs.groupby("setting", sort=False):
        index = swept.index(str(name))
        colour, marker, line = style.SERIES[index % len(style.SERIES)]
        points = curve.groupby("value")[metric].agg(["mean", "std"])
        errors = points["std"].fillna(0)
        axes.errorbar(points.index + apart * index, points["mean"], yerr=errors if errors.any() else None,
                      color=colour, marker=marker, linestyle=line,
                      label=_SETTING_NAMES.get(str(name), ("", str(name)))[1])  # fmt: skip


def _paper_point(axes: Axes, cells: list[Cell], setting: str, dataset: str, metric: Metric) -> None:
    """The paper's value of its own setting, the only point of these figures that it prints."""
    cell = next((c for c in cells if c.method.label == "flip"), None)
    printed = paper_value("table2", "flip", dataset, metric)
    if cell is not None and cell.settings is not None and printed is not None:
        x = flatten(cell.settings)[setting]
        axes.plot([x], [printed], "*", color=style.BLACK, markersize=6, markerfacecolor="white", label="paper")


def forest(plan: Plan, store: Store) -> Iterator[Picture]:
    """Differences of the declared reference from every other row, with their intervals by the declared test."""
    compare, evidence = plan.suite.compare, Evidence(store)
    for dataset, cells in finished_cells(plan, store):
        reference = next((cell for cell in cells if cell.method.label == compare.reference), None)
        if reference is None:
            continue
        name, seeds = reference.method.label, len(reference.evaluations)
        test = compare.test if seeds > 1 or compare.test != "paired-t" else "user-bootstrap"
        others = {
            other.method.label: found
            for other in cells
            if other is not reference
            and (found := evidence.differences(reference.evaluations, other.evaluations, test))
        }
        if not others:
            continue
        numbers = pd.DataFrame(
            {"dataset": dataset, "metric": metric, "row": name, "against": other, "value": d.value,
             "low": d.low, "high": d.high, "p": d.p, "test": d.test, "seeds": seeds}
            for metric in get_args(Metric) for other, found in others.items() for d in [found[metric]]
        )  # fmt: skip
        figure = style.new(style.COLUMN * 1.35, 0.16 * len(others) + 1.0)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, get_args(Metric), strict=True):
            _intervals(axes, numbers[numbers["metric"] == metric], metric, compare.margin[metric])
        panels[0].set_yticks(range(len(others)), [style.plain(row_name(other)) for other in others])
        panels[0].set_ylim(len(others) - 0.5, -0.5)
        panels[1].tick_params(axis="y", length=0)
        figure.suptitle(f"{style.plain(row_name(name))} minus each row, {dataset_name(dataset)}", fontsize=7.5)
        luck = f"over {seeds} seeds" if seeds > 1 else "of one seed: the luck of the test rows alone"
        style.note(figure, f"95 % intervals ({test}) {luck}.\nGrey band: differences that count as none.")
        yield Picture(f"forest-{dataset}", figure, numbers)


def _intervals(axes: Axes, differences: pd.DataFrame, metric: Metric, margin: float) -> None:
    """A line a row: blue where the reference is better beyond luck, red where it is worse, else grey."""
    axes.axvspan(-margin, margin, color="#EDEDED", linewidth=0)
    axes.axvline(0, color=style.GREY, linewidth=0.6)
    value, low, high = (differences[name].to_numpy() for name in ("value", "low", "high"))
    side = (low > 0).astype(int) - (high < 0)
    gain = 1 if metric == "auc" else -1
    for sign, colour, marker in ((gain, style.BLUE, "o"), (-gain, style.VERMILION, "s"), (0, style.GREY, "D")):
        rows = np.flatnonzero(side == sign)
        axes.errorbar(value[rows], rows, xerr=[(value - low)[rows], (high - value)[rows]], fmt=marker, color=colour)
    unit = " (nats)" if metric == "logloss" else ""
    axes.set_xlabel(f"Δ {METRIC_NAMES[metric]}{unit}, {'higher' if metric == 'auc' else 'lower'} is better")
    axes.locator_params(axis="x", nbins=4)
    style.light_grid(axes, "x")


def cost(plan: Plan, store: Store) -> Iterator[Picture]:
    """AUC against what a run took on its machine, everything it was made from included."""
    evidence = Evidence(store)
    for dataset, cells in finished_cells(plan, store):
        if len(cells) < 2:
            continue
        numbers = pd.DataFrame(
            {"dataset": dataset, "row": cell.method.label, "seed": stage.seed, "minutes": _seconds(stage, store) / 60,
             "auc": run_of(stage, evidence).auc, "run": stage.key}
            for cell in cells for stage in cell.evaluations
        )  # fmt: skip
        means, errors = (numbers.groupby("row", sort=False)[["minutes", "auc"]].agg(how) for how in ("mean", "std"))
        crowded = len(cells) > MOST_NAMES
        figure = style.new(style.COLUMN * (1.35 if crowded else 1), 1.0 + 0.12 * len(cells) if crowded else 2.5)
        axes = figure.subplots()
        families = pd.Series({cell.method.label: family(cell.method.label, cell.method.method) for cell in cells})
        for index, (name, rows) in enumerate(families.groupby(families, sort=False).groups.items()):
            colour, marker, _ = style.SERIES[index % len(style.SERIES)]
            axes.errorbar(means.loc[rows, "minutes"], means.loc[rows, "auc"], xerr=errors.loc[rows, "minutes"],
                          yerr=errors.loc[rows, "auc"], fmt=marker, color=colour, label=style.plain(name),
                          elinewidth=0.6, capsize=1)  # fmt: skip
        _minutes_axis(axes, store, cells)
        axes.set_ylabel("AUC")
        axes.set_title(dataset_name(dataset))
        style.light_grid(axes)
        style.note(figure, style.over_seeds([len(c.evaluations) for c in cells]))
        if families.nunique() > 1:
            figure.legend(loc="outside upper center", ncols=families.nunique())
        points = [(mean.minutes, mean.auc, style.plain(row_name(str(mean.Index)))) for mean in means.itertuples()]
        if crowded:  # numbers in the order of minutes, and who they are beside the axes
            points.sort()
            key = "\n".join(f"{i}  {name}" for i, (_, _, name) in enumerate(points, 1))
            axes.text(1.04, 1, key, transform=axes.transAxes, va="top", fontsize=6, linespacing=1.3)
            points = [(x, y, str(i)) for i, (x, y, _) in enumerate(points, 1)]
        style.label_points(axes, points)
        yield Picture(f"cost-{dataset}", figure, numbers)


def _minutes_axis(axes: Axes, store: Store, cells: Iterable[Cell]) -> None:
    devices = {store.env(s).get("device", "cpu") for cell in cells for s in cell.evaluations}
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.18, y=0.12)
    axes.set_xlabel("Minutes a run on " + " and ".join(d.upper() if d == "cpu" else d for d in sorted(devices)))


def _seconds(stage: Stage, store: Store) -> float:
    """Measured time of a stage and of all that it was made from."""
    return math.fsum(float(store.env(each).get("seconds", 0.0)) for each in with_ancestors(stage).values())


def tuning(plan: Plan, store: Store) -> Iterator[Picture]:
    """Best validation figure so far against points tried, each method's in the order they were tried in."""
    if plan.suite.tune is None:
        return
    metric: Metric = plan.suite.tune.select
    for dataset in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [c for c in plan.cells if c.data.label == dataset and sum(map(store.done, c.trials)) > 1]
        if not cells:
            continue
        figure = style.new(style.COLUMN, 2.3)
        axes = figure.subplots()
        searches = []
        for index, cell in enumerate(cells):
            values = [np.nan if (best := store.trial_metric(t, metric)) is None else best for t in cell.trials]
            searches.append(_search(axes, cell, values, metric, index).assign(dataset=dataset))
        axes.set_xlabel("Points tried; the first is the declared settings")
        axes.set_ylabel(f"Validation {METRIC_NAMES[metric]}")
        axes.set_title(dataset_name(dataset))
        axes.locator_params(axis="x", integer=True)
        style.light_grid(axes, "y")
        figure.legend(loc="outside lower center", ncols=4)
        yield Picture(f"tuning-{dataset}", figure, pd.concat(searches)[["dataset", "row", "point", metric, "run"]])


def _search(axes: Axes, cell: Cell, values: list[float], metric: Metric, index: int) -> pd.DataFrame:
    """One method's curve, and its trials."""
    colour, marker, line = style.SERIES[index % len(style.SERIES)]
    tried = np.arange(1, len(values) + 1)
    best = np.fmax.accumulate(values) if metric == "auc" else np.fmin.accumulate(values)
    axes.step(tried, best, where="post", color=colour, linestyle=line)
    axes.plot(tried, values, marker, color=colour, markersize=2.5, alpha=0.6)
    axes.plot([], [], color=colour, marker=marker, linestyle=line, label=style.plain(row_name(cell.method.label)))
    return pd.DataFrame({"row": cell.method.label, "point": tried, metric: values, "run": [t.key for t in cell.trials]})
