"""From the paper's number to ours, one factor at a time, out of the runs that there are."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from flipbench.data import dataset as datasets
from flipbench.paper.values import paper_value
from flipbench.plan import registry
from flipbench.plan.expand import Cell
from flipbench.plan.settings import flatten, nest
from flipbench.plan.stage import is_refitted, validation_of
from flipbench.plan.suite import Suite
from flipbench.report.collect import run_of
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store

FACTORS = {
    "protocol": "epochs and settings selected on other rows",
    "split": "rows split in another order",
    "vocabulary": "the data prepared otherwise",
    "seed": "further seeds",
    "grid": "other settings",
}
"""What a run may differ in from ours, in the order of the ladder."""

BUDGET = 24
"""Points of the search that would fill the rung of other settings."""

_FIELDS = {"protocol": "protocol", "order": "split", "data": "vocabulary", "seed": "seed", "settings": "grid"}


@dataclass(frozen=True)
class Rung:
    """Runs that differ from ours in one factor.

    Attributes:
        factor: ``paper``, ``ours`` or one of :data:`FACTORS`. what: the other value, or values.
        auc: mean over its runs; None where there is none. low, high: least and greatest. runs: keys.
        step: ``auc`` less ours.
        command: where there is no run, a shell command that makes one; ``DIR`` is the reader's to fill in.
    """

    factor: str
    what: str
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    runs: tuple[str, ...] = ()
    step: float | None = None
    command: str = ""


def ladder(cell: Cell, suite: Suite, store: Store, file: str) -> list[Rung]:
    """The rungs of one cell: the paper's number, each factor, ours.

    Nothing is trained: a factor of which there is no run has no number, and names the command that would make one.
    Where a factor has several other values (other settings, say) each is a rung of its own.

    Args:
        suite: of the cell. file: how the user names it.

    Raises:
        DamagedError: a run's files were changed, or its predictions give other figures than it recorded.
    """
    evidence = Evidence(store)
    ours = [(stage.key, run_of(stage, evidence).auc) for stage in cell.evaluations if store.done(stage)]
    if not ours:
        return []
    mean = fmean(auc for _, auc in ours)
    printed = paper_value(suite.paper, cell.method.label, cell.data.label, "auc") if suite.paper else None
    rungs = [Rung("paper", "as printed", printed, step=None if printed is None else printed - mean)]
    others = _others(cell, evidence)
    for factor, words in FACTORS.items():
        by_value: dict[str, list[tuple[str, float]]] = {}
        for key, what, auc in others.get(factor, []):
            by_value.setdefault(what if factor != "seed" else words, []).append((key, auc))
        rungs += [_rung(factor, what, runs, mean) for what, runs in sorted(by_value.items())] or [
            Rung(factor, words, command=_command(factor, cell, suite, file))
        ]
    spec, settings = cell.evaluations[0].spec, "searched" if cell.trials else "declared"
    return [*rungs, _rung("ours", f"{spec['protocol']}, {spec['order']}, {settings} settings", ours, mean)]


def _rung(factor: str, what: str, runs: list[tuple[str, float]], ours: float) -> Rung:
    values = [auc for _, auc in runs]
    keys = tuple(sorted(key for key, _ in runs))
    return Rung(factor, what, fmean(values), min(values), max(values), keys, fmean(values) - ours)


def _others(cell: Cell, evidence: Evidence) -> dict[str, list[tuple[str, str, float]]]:
    """Finished runs of the same method and data set that differ in one factor: key, what differs, AUC."""
    first, planned, store = cell.evaluations[0], {stage.key for stage in cell.evaluations}, evidence.store
    others: dict[str, list[tuple[str, str, float]]] = {}
    for stage in store.finished(first.dataset, first.method, "evaluate"):
        spec, ours = _with_selection(stage.spec), _with_selection(first.spec)
        differs = {name for name in {*spec, *ours} if spec.get(name) != ours.get(name)}
        differs.discard("parents")  # follow from the rest
        if stage.key in planned or differs - _FIELDS.keys():
            continue
        if len(differs) > 1:  # a second seed of another setting belongs to that setting's rung
            differs -= {"seed"}
        if len(differs) == 1:
            name = differs.pop()
            auc = run_of(stage, evidence).auc
            others.setdefault(_FIELDS[name], []).append((stage.key, _what(name, ours, spec), auc))
    return others


def _with_selection(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification whose protocol says in one what epochs were selected on, and whether the model was refitted."""
    rest = {name: value for name, value in spec.items() if name not in ("validation", "refit")}
    if spec["protocol"] != "held-out":
        return rest
    refit = "refitted" if is_refitted(spec) else "not refitted"
    return {**rest, "protocol": f"held-out on {validation_of(spec)}, {refit}"}


def _what(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    if name == "settings":
        a, b = flatten(ours["settings"]), flatten(theirs["settings"])
        return ", ".join(f"{k} {b.get(k, 'default')}" for k in sorted({*a, *b}) if a.get(k) != b.get(k))
    return str(theirs[name]) if name == "protocol" else str(theirs[name])[:12]


def _command(factor: str, cell: Cell, suite: Suite, file: str) -> str:
    """What fills a factor's rung; empty where the data set has no other order."""
    run = ["flipbench", "run", file, "--only", f"dataset={cell.data.label}", "--only", f"model={cell.method.label}"]
    if factor == "vocabulary":
        return f"flipbench data import {cell.data.name} --from DIR && {shlex.join(run)}"
    if factor == "protocol":
        other = "held-out" if suite.protocol == "as-released" else "as-released"
        return shlex.join([*run, "--seeds", "1", "--protocol", other])
    if factor == "seed":
        return shlex.join([*run, "--seeds", str(suite.seeds + 1)])
    orders = [order for order in datasets.get(cell.data.name).orders if order != cell.data.order]
    if factor == "split" and not orders:
        return ""
    order = max(orders, key=lambda o: o == "random") if factor == "split" else cell.data.order
    validation, refit = suite.selection_on(cell.data)
    # JSON is YAML: one line is a suite of this one cell, at its settings
    document = {
        "suite": "gap",
        "title": f"{cell.method.label} on {cell.data.label}: {FACTORS[factor]}",
        "data": [{cell.data.name: {"order": order, "users": cell.data.users}}],
        "protocol": suite.protocol,
        "validation": validation,
        "refit": refit,
        "methods": [{cell.method.label: {"method": cell.method.method, **_set(cell, factor == "grid")}}],
        "outputs": suite.outputs.model_dump(),
    }
    if factor == "grid" and not cell.search:
        document["tune"] = {"search": "grid", "budget": BUDGET}
    return f"echo {shlex.quote(json.dumps(document, ensure_ascii=False))} > gap.yaml && flipbench run gap.yaml"


def _set(cell: Cell, free: bool) -> dict[str, Any]:
    """The cell's settings that are not as declared, nested as in a suite.

    Args:
        free: without those that a search chooses.
    """
    declared = registry.get(cell.method.method)
    known, searched = flatten(declared.settings), flatten(declared.grid) if free else ()
    used = flatten(cell.settings or {})
    return nest({n: v for n, v in used.items() if v != known[n].value and n not in searched})
