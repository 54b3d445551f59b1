"""Figures 6 and 7, and those that the paper lacks: what scores depend on, differ by, cost, and are worth."""

from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import Any, get_args

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from flipbench.paper import dataset_name, family, paper_value, row_name
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.settings import Value
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.collect import run_of
from flipbench.report.figures import style
from flipbench.report.figures.parts import datasets, finished, varied
from flipbench.report.figures.style import Picture
from flipbench.report.significance import Evidence
from flipbench.report.table import METRIC_NAMES
from flipbench.store.runs import Store

MOST_NAMES = 12
"""Beside points; of more than these they would cover each other."""

_AXES = {
    "pretrain.text_mask_ratio": ("Share of fields masked", "masked in the text"),
    "pretrain.table_mask_ratio": ("Share of fields masked", "masked in the table"),
    "pretrain.temperature": ("Temperature τ", "temperature"),
}
"""What a swept setting is called on the axis, and as one of several curves."""


def sweep(plan: Plan, store: Store) -> Iterator[Picture]:
    """Figures 6 and 7: AUC and logloss along each setting that the rows vary, the others as in the first row of it."""
    axes_of = varied(plan)
    found = {data: cells for data in datasets(plan) if len(cells := finished(plan, store, data)) > 1}
    if not found:
        return
    figure = style.new(style.COLUMN * min(2, len(found)), 3.0)
    panels = figure.subplots(2, len(found), squeeze=False, sharex=True)
    numbers: list[dict[str, Any]] = []
    for column, (data, cells) in zip(panels.T, found.items(), strict=True):
        every = sorted({x for values in axes_of.values() for x in values})
        log = every[0] > 0 and every[-1] / every[0] >= 10
        for index, name in enumerate(axes_of):
            colour, marker, line = style.SERIES[index % len(style.SERIES)]
            curve = _curve(cells, name, list(axes_of))
            if len(curve) < 2:
                continue
            runs = {x: [run_of(stage, store) for stage in cell.evaluations] for x, cell in curve.items()}
            for axes, metric in zip(column, get_args(Metric), strict=True):
                samples = [[getattr(run, metric) for run in own] for own in runs.values()]
                means, errors = [fmean(s) for s in samples], [stdev(s) if len(s) > 1 else 0.0 for s in samples]
                apart = [x if log else x + 0.012 * index * (every[-1] - every[0]) for x in runs]
                axes.errorbar(apart, means, yerr=errors if any(errors) else None, color=colour, marker=marker,
                              linestyle=line, label=_AXES.get(name, ("", name))[1])  # fmt: skip
            numbers += [
                {"dataset": data, "setting": name, "value": x, "row": curve[x].method.label, "seed": run.seed,
                 "auc": run.auc, "logloss": run.logloss, "run": run.key}
                for x, own in runs.items() for run in own
            ]  # fmt: skip
        _paper_point(column, cells, axes_of, data)
        column[0].set_title(dataset_name(data))
        if log:
            column[0].set_xscale("log")
        column[-1].set_xticks(every, [f"{x:g}" for x in every], minor=False)
        column[-1].minorticks_off()
        titles = {_AXES.get(name, (name, ""))[0] for name in axes_of}
        column[-1].set_xlabel(titles.pop() if len(titles) == 1 else "Value of the setting")
        for axes in column:
            style.light_grid(axes, "y")
    for axes, metric in zip(panels[:, 0], get_args(Metric), strict=True):
        axes.set_ylabel(METRIC_NAMES[metric] + (" (nats)" if metric == "logloss" else ""))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=1 if len(found) == 1 else 3)
    style.note(figure, style.over_seeds([len(c.evaluations) for cells in found.values() for c in cells]))
    yield Picture("sweep", figure, numbers)


def forest(plan: Plan, store: Store) -> Iterator[Picture]:
    """Differences of the declared reference from every other row, with their intervals by the declared test."""
    compare, evidence = plan.suite.compare, Evidence(store)
    for data in datasets(plan):
        cells = {cell.method.label: cell for cell in finished(plan, store, data)}
        reference = cells.pop(compare.reference or "", None)
        if reference is None or not cells:
            continue
        figure = style.new(style.COLUMN * 1.35, 0.16 * len(cells) + 1.0)
        panels = figure.subplots(1, 2, sharey=True)
        numbers = []
        for axes, metric in zip(panels, get_args(Metric), strict=True):
            test = compare.test if len(reference.evaluations) > 1 or compare.test != "paired-t" else "user-bootstrap"
            found = {
                n: evidence.difference(reference.evaluations, c.evaluations, metric, test) for n, c in cells.items()
            }
            margin = compare.margin[metric]
            axes.axvspan(-margin, margin, color="#EDEDED", linewidth=0)
            axes.axvline(0, color=style.GREY, linewidth=0.6)
            value, low, high = np.array([(d.value, d.low, d.high) for d in found.values()]).T
            side = (low > 0).astype(int) - (high < 0)
            gain = 1 if metric == "auc" else -1
            for which, colour, marker in ((gain, style.BLUE, "o"), (-gain, style.VERMILION, "s"), (0, style.GREY, "D")):
                own = np.flatnonzero(side == which)
                axes.errorbar(value[own], own, xerr=[(value - low)[own], (high - value)[own]], fmt=marker, color=colour)
            unit = " (nats)" if metric == "logloss" else ""
            axes.set_xlabel(f"Δ {METRIC_NAMES[metric]}{unit}, {'higher' if metric == 'auc' else 'lower'} is better")
            axes.locator_params(axis="x", nbins=4)
            style.light_grid(axes, "x")
            numbers += [
                {"dataset": data, "metric": metric, "row": reference.method.label, "against": name, "value": d.value,
                 "low": d.low, "high": d.high, "p": d.p, "test": d.test, "seeds": len(reference.evaluations)}
                for name, d in found.items()
            ]  # fmt: skip
        panels[0].set_yticks(range(len(cells)), [row_name(n) for n in cells])
        panels[0].set_ylim(len(cells) - 0.5, -0.5)
        panels[1].tick_params(axis="y", length=0)
        figure.suptitle(f"{row_name(reference.method.label)} minus each row, {dataset_name(data)}", fontsize=7.5)
        seeds = len(reference.evaluations)
        luck = f"over {seeds} seeds" if seeds > 1 else "of one seed: the luck of the test rows alone"
        style.note(figure, f"95 % intervals ({test}) {luck}.\nGrey band: differences that count as none.")
        yield Picture(f"forest-{data}", figure, numbers)


def cost(plan: Plan, store: Store) -> Iterator[Picture]:
    """AUC against what a run took on its machine, everything it was made from included."""
    for data in datasets(plan):
        cells = finished(plan, store, data)
        machines = {store.read(s, "env.json").get("device", "cpu") for cell in cells for s in cell.evaluations}
        if len(cells) < 2:
            continue
        crowded = len(cells) > MOST_NAMES
        figure = style.new(style.COLUMN * (1.35 if crowded else 1), 1.0 + 0.12 * len(cells) if crowded else 2.5)
        axes = figure.subplots()
        numbers, points = [], []
        by_family: dict[str, list[tuple[float, float, float | None, float | None]]] = {}
        for cell in cells:
            runs = [run_of(stage, store) for stage in cell.evaluations]
            spent = [_seconds(stage, store) / 60 for stage in cell.evaluations]
            aucs = [run.auc for run in runs]
            errors = (stdev(spent), stdev(aucs)) if len(runs) > 1 else (None, None)
            group = family(cell.method.label, cell.method.method)
            by_family.setdefault(group, []).append((fmean(spent), fmean(aucs), *errors))
            points.append((fmean(spent), fmean(aucs), row_name(cell.method.label)))
            numbers += [
                {"dataset": data, "row": cell.method.label, "seed": run.seed, "minutes": m, "auc": run.auc,
                 "run": run.key}
                for run, m in zip(runs, spent, strict=True)
            ]  # fmt: skip
        for index, (group, marks) in enumerate(by_family.items()):
            colour, marker, _ = style.SERIES[index % len(style.SERIES)]
            x, y, xerr, yerr = np.array(marks, dtype=float).T
            axes.errorbar(x, y, xerr=xerr, yerr=yerr, fmt=marker, color=colour, label=group, elinewidth=0.6, capsize=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.18, y=0.12)
        axes.set_xlabel("Minutes a run on " + " and ".join(m.upper() if m == "cpu" else m for m in sorted(machines)))
        axes.set_ylabel("AUC")
        axes.set_title(dataset_name(data))
        style.light_grid(axes)
        style.note(figure, style.over_seeds([len(c.evaluations) for c in cells]))
        if len(by_family) > 1:
            figure.legend(loc="outside upper center", ncols=len(by_family))
        if crowded:  # numbers in the order of minutes, and who they are beside the axes
            points.sort()
            key = "\n".join(f"{i}  {name}" for i, (_, _, name) in enumerate(points, 1))
            axes.text(1.04, 1, key, transform=axes.transAxes, va="top", fontsize=6, linespacing=1.3)
            points = [(x, y, str(i)) for i, (x, y, _) in enumerate(points, 1)]
        style.label_points(axes, points)
        yield Picture(f"cost-{data}", figure, numbers)


def tuning(plan: Plan, store: Store) -> Iterator[Picture]:
    """Best validation figure so far against points tried, each method's in the order they were tried in."""
    if plan.suite.tune is None:
        return
    metric: Metric = plan.suite.tune.select
    best = np.fmax.accumulate if metric == "auc" else np.fmin.accumulate
    for data in datasets(plan):
        cells = [c for c in plan.cells if c.data.label == data and len([t for t in c.trials if store.done(t)]) > 1]
        if not cells:
            continue
        figure = style.new(style.COLUMN, 2.3)
        axes = figure.subplots()
        numbers = []
        for index, cell in enumerate(cells):
            values = [float(store.metrics(t)["best"][metric]) if store.done(t) else np.nan for t in cell.trials]
            colour, marker, line = style.SERIES[index % len(style.SERIES)]
            tried = np.arange(1, len(values) + 1)
            axes.step(tried, best(values), where="post", color=colour, linestyle=line)
            axes.plot(tried, values, marker, color=colour, markersize=2.5, alpha=0.6)
            axes.plot([], [], color=colour, marker=marker, linestyle=line, label=row_name(cell.method.label))
            numbers += [
                {"dataset": data, "row": cell.method.label, "point": i + 1, metric: v, "run": t.key}
                for i, (v, t) in enumerate(zip(values, cell.trials, strict=True))
            ]
        axes.set_xlabel("Points tried; the first is the declared settings")
        axes.set_ylabel(f"Validation {METRIC_NAMES[metric]}")
        axes.set_title(dataset_name(data))
        axes.locator_params(axis="x", integer=True)
        style.light_grid(axes, "y")
        figure.legend(loc="outside lower center", ncols=4)
        yield Picture(f"tuning-{data}", figure, numbers)


def _curve(cells: list[Cell], name: str, swept: list[str]) -> dict[float, Cell]:
    """Rows along one setting, the others of ``swept`` at what most rows have."""
    settings: list[Mapping[str, Value]] = [cell.settings or {} for cell in cells]
    usual = {other: max((s[other] for s in settings), key=[s[other] for s in settings].count) for other in swept}
    found = {
        float(s[name]): cell  # type: ignore[arg-type]
        for cell, s in zip(cells, settings, strict=True)
        if all(s[other] == usual[other] for other in swept if other != name)
    }
    return dict(sorted(found.items()))


def _paper_point(column: Any, cells: list[Cell], axes_of: Mapping[str, list[float]], data: str) -> None:
    """The paper's value of its own setting, the only point of these figures that it prints."""
    cell = next((c for c in cells if c.method.label == "flip"), None)
    if cell is None or cell.settings is None:
        return
    for axes, metric in zip(column, get_args(Metric), strict=True):
        printed = paper_value("table2", "flip", data, metric)
        if printed is not None:
            x = [float(cell.settings[name]) for name in axes_of]
            axes.plot(x[:1], [printed], "*", color=style.BLACK, markersize=6, markerfacecolor="white", label="paper")


def _seconds(stage: Stage, store: Store) -> float:
    """Measured time of a stage and of all that it was made from."""
    own = float(store.read(stage, "env.json")["seconds"])
    return own + sum(_seconds(parent, store) for parent in stage.parents.values())
