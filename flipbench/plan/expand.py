"""From a suite to its stages: what has to be computed, in what order, under which keys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flipbench.errors import UserError, nearest, shorten
from flipbench.identity import canonical
from flipbench.plan import registry
from flipbench.plan.entries import MOST, DataEntry, MethodEntry
from flipbench.plan.registry import Declaration
from flipbench.plan.schema import check_folder
from flipbench.plan.search import Search, TrialMetric
from flipbench.plan.search import search as search_points
from flipbench.plan.settings import Value, check_value, flatten, nest
from flipbench.plan.stage import DataCondition, Stage, evaluation_stage, inspection_stage, selection_stage
from flipbench.plan.suite import Suite


class FinishedRuns(Protocol):
    """What of a results folder decides which stages are still to run (:class:`flipbench.store.runs.Store`)."""

    def done(self, stage: Stage) -> bool: ...
    def has_weights(self, stage: Stage) -> bool: ...


@dataclass(frozen=True)
class Cell:
    """One method on one data set: the stages behind one number of a table.

    Attributes:
        trials: the search's stages; empty without a search.
        evaluations: one ``evaluate`` stage a seed; empty while the search has not chosen.
        settings: the settings of ``evaluations``; None while the search has not chosen.
        search: how the trials were chosen; None without a search.
        inspections: where the suite inspects, one stage a seed and thing to measure; there are no ``evaluations`` then.
    """

    method: MethodEntry
    data: DataEntry
    trials: tuple[Stage, ...]
    evaluations: tuple[Stage, ...]
    settings: Mapping[str, Any] | None
    search: Search | None = None
    inspections: tuple[Stage, ...] = ()

    @property
    def ends(self) -> tuple[Stage, ...]:
        """The stages that everything else of the cell is run for."""
        return self.evaluations or self.inspections


@dataclass(frozen=True)
class Plan:
    """A suite's cells, data set by data set in the suite's order."""

    suite: Suite
    cells: tuple[Cell, ...]

    def stages(self) -> list[Stage]:
        """Every stage once, parents first."""
        stages: dict[str, Stage] = {}
        for cell in self.cells:
            for stage in (*cell.trials, *cell.ends):
                for each in _with_parents(stage):
                    _add(stages, each)
        return list(stages.values())

    def needed(self, store: FinishedRuns) -> list[Stage]:
        """The stages still to run, parents first: the unfinished, and parents whose weights they read."""
        stages: dict[str, Stage] = {}

        def need(stage: Stage) -> None:
            for parent in stage.parents.values():
                if not (store.has_weights(parent) if parent.leaves_weights else store.done(parent)):
                    need(parent)
            _add(stages, stage)

        for cell in self.cells:
            for stage in (*cell.trials, *cell.ends):
                if not store.done(stage):
                    need(stage)
        return list(stages.values())

    @property
    def choosing(self) -> bool:
        """Whether a search has yet to choose, so that further stages will follow."""
        return any(cell.settings is None for cell in self.cells)


def expand(suite: Suite, fingerprints: Mapping[str, str], trial_metric: TrialMetric) -> Plan:
    """The plan of a suite.

    Args:
        fingerprints: content fingerprint by data set name.
        trial_metric: what is known of a search's trials (see :func:`flipbench.store.runs.Store.trial_metric`).

    Raises:
        UserError: a setting has a value of the wrong type or out of range, settings do not go together, or a row has
            nothing to inspect; names the suite's file and the row.
    """
    cells = []
    for data in suite.data:
        for row in suite.methods:
            try:
                cells.append(_cell(suite, row, data, fingerprints[data.name], trial_metric))
            except UserError as error:
                problem = str(error).removeprefix(f"{row.method}: ")
                raise UserError(f"{suite.place}{row.label}: {problem}") from None
    return Plan(suite, tuple(cells))


def _cell(suite: Suite, row: MethodEntry, data: DataEntry, fingerprint: str, trial_metric: TrialMetric) -> Cell:
    declared = registry.get(row.method)
    fixed = suite.settings_of(row, data)
    settings = resolve(declared, fixed)
    condition = condition_of(suite, data, fingerprint)
    if suite.inspect:
        kinds = [(what, seed) for what in suite.inspect for seed in range(suite.seeds)]
        measured = tuple(inspection_stage(what, condition, declared, settings, seed) for what, seed in kinds)
        return Cell(row, data, (), (), settings, None, measured)
    search: Search | None = None
    best: Mapping[str, Any] | None = settings
    if suite.tune:
        search = search_points(
            suite.tune,
            _grid(declared),
            flatten(settings),
            fixed,
            lambda point: selection_stage(evaluation_stage(condition, declared, resolve(declared, point), 0)),
            trial_metric,
            lambda point: not declared.problem(nest(point)),
        )
        best = None if search.best is None else nest(search.points[search.best])
    seeds = range(0 if best is None else suite.seeds)
    evaluations = tuple(evaluation_stage(condition, declared, best or {}, seed) for seed in seeds)
    return Cell(row, data, search.trials if search else (), evaluations, best, search)


def _grid(declared: Declaration) -> dict[str, list[Value]]:
    """The search values by dotted name, each once and in the type of its setting: of 0 and 0.0 one is tried.

    Raises:
        UserError: a value that its setting cannot have, or no such setting.
    """
    known, grid = flatten(declared.settings), {}
    for name, values in flatten(declared.grid).items():
        if name not in known:
            raise UserError(f"grid: unknown setting '{name}'{nearest(name, known)}")
        typed = [check_value(f"grid: {name}", value, known[name]) for value in values]
        grid[name] = list({canonical(value): value for value in typed}.values())
    return grid


def condition_of(suite: Suite, data: DataEntry, fingerprint: str) -> DataCondition:
    """The data and protocol of the suite's cells on a data set."""
    return DataCondition(
        suite.protocol,
        data.dataset.name,
        fingerprint,
        data.order,
        data.users,
        *suite.selection_on(data),
        suite.versions,
    )


def resolve(declared: Declaration, given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings: the declared defaults, those of the flavour over them, and what is given over both.

    Values take the type of the declared default, so that ``1`` and ``1.0`` are one setting.

    Args:
        given: nested as in a suite, or by dotted names.

    Returns:
        All of its settings, nested as in a suite.

    Raises:
        UserError: an unknown setting, a value of the wrong type or out of range, or settings that do not go together.
    """
    known = flatten(declared.settings)
    settings: dict[str, Value] = {name: setting.value for name, setting in known.items()}
    flavour = str(given.get("flavour", settings.get("flavour", "")))
    if "flavour" in settings and flavour not in declared.flavours:
        raise UserError(f"{declared.name}: unknown flavour '{flavour}'{nearest(flavour, declared.flavours)}")
    for layer in (declared.flavours.get(flavour, {}), given):
        for name, value in flatten(layer).items():
            if name not in settings:
                raise UserError(f"{declared.name}: unknown setting '{shorten(name)}'{nearest(name, settings)}")
            settings[name] = check_value(f"{declared.name}: {name}", value, known[name])
    nested = nest(settings)
    if problem := declared.problem(nested):
        raise UserError(f"{declared.name}: {problem}")
    return nested


def narrow(suite: Suite, only: Iterable[str]) -> Suite:
    """The suite cut to the rows and columns that ``--only KEY=VALUE[,VALUE]`` names.

    Raises:
        UserError: an unknown key, a value that the suite does not have, or more runs than can be planned.
    """
    data, methods = list(suite.data), list(suite.methods)
    for choice in only:
        key, equals, text = choice.partition("=")
        told = f"--only {shorten(choice)}"
        values = [v for v in text.split(",") if v]
        if not equals or not values:
            raise UserError(f"{told}: expected KEY=VALUE[,VALUE]")
        if key == "dataset":
            _known(told, values, {name for d in suite.data for name in (d.label, d.dataset.name)})
            data = [d for d in data if d.label in values or d.dataset.name in values]
        elif key == "model":
            _known(told, values, {m.label for m in suite.methods} | {m.method for m in suite.methods})
            methods = [m for m in methods if m.label in values or m.method in values]
        elif key == "kind":
            _known(told, values, registry.GROUPS)
            methods = [m for m in methods if registry.get(m.method).kind in values]
        else:
            raise UserError(f"{told}: unknown key '{shorten(key)}'{nearest(key, ['dataset', 'model', 'kind'])}")
    if not data or not methods:
        raise UserError("--only leaves nothing of the suite")
    cut = suite.model_copy(update={"data": data, "methods": methods})
    cut.check_size()
    return cut


def _known(told: str, values: Iterable[str], valid: Iterable[str]) -> None:
    valid = set(valid)
    for value in values:
        if value not in valid:
            raise UserError(f"{told}: the suite has no '{shorten(value)}'{nearest(value, valid)}")


def _add(stages: dict[str, Stage], stage: Stage) -> None:
    """Each stage once; of a selection that one child scores, the form that leaves its weights."""
    if stage.key not in stages or stage.is_scored:
        stages[stage.key] = stage


def _with_parents(stage: Stage) -> Iterator[Stage]:
    for parent in stage.parents.values():
        yield from _with_parents(parent)
    yield stage


def with_options(suite: Suite, seeds: int | None, protocol: str | None, results: str | None) -> Suite:
    """The suite with what the command line sets.

    Raises:
        UserError: ``seeds`` is not positive or too large, or ``results`` names no folder.
    """
    update: dict[str, Any] = {}
    if seeds is not None:
        if seeds < 1:
            raise UserError(f"--seeds {seeds}: must be at least 1")
        if seeds > MOST:
            raise UserError(f"--seeds {seeds}: must be at most {MOST}")
        update["seeds"] = seeds
    if protocol is not None:
        update["protocol"] = protocol
    if results is not None:
        try:
            update["outputs"] = suite.outputs.model_copy(update={"results": check_folder(results)})
        except ValueError as error:
            raise UserError(f"--results: {error}") from None
    return suite.model_copy(update=update)
