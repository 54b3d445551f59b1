"""From run folders to what a report is made of."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from statistics import fmean

import flipbench
from flipbench.data import dataset as datasets
from flipbench.paper.names import dataset_name, row_name
from flipbench.paper.others import published
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.plan.suite import Suite
from flipbench.report.cells import CellRuns, Comparison, ScoredRun, SuiteResults
from flipbench.report.fairness import unequal
from flipbench.report.settings import unstated
from flipbench.report.significance import Evidence, comparisons, untested
from flipbench.store.runs import Store


def collect(plan: Plan, store: Store) -> SuiteResults:
    """The finished and failed runs of a plan's cells.

    Raises:
        UserError: as :func:`run_of`, or a run's test rows are not those of the others.
    """
    suite = plan.suite
    evidence = Evidence(store)
    cells = [(cell, _cell_runs(cell, evidence)) for cell in plan.cells]  # first of all: it checks the files
    ran = [(cell, runs) for cell, runs in cells if runs.runs or runs.failed]
    done = [stage for cell, _ in ran for stage in cell.evaluations if store.done(stage)]
    tested = comparisons(plan, evidence)
    for label in dict.fromkeys(cell.data.label for cell, _ in ran):
        stages = [stage for cell, _ in ran if cell.data.label == label for stage in cell.evaluations]
        evidence.check(tuple(filter(store.done, stages)))
    labels = {cell.data.label for cell, _ in ran}
    shown = [data for data in suite.data if data.label in labels] or suite.data  # as the table does
    validations, refits = zip(*map(suite.selection_on, shown), strict=True)
    torch = sorted({str(store.env(stage).get("torch", "unknown")) for stage in done})
    fingerprints = {f"data/{cell.data.label}": stage.spec["data"] for cell in plan.cells for stage in cell.evaluations}
    return SuiteResults(
        suite=suite.suite,
        title=suite.title,
        paper=suite.paper,
        protocol=suite.protocol,
        order="+".join(sorted({d.order for d in shown})),
        seeds=suite.seeds,
        compare=suite.compare,
        cells=tuple(runs for _, runs in ran),
        datasets=tuple(d.label for d in suite.data),
        methods=tuple(m.label for m in suite.methods),
        notes=(
            *_ceilings(done, store),
            *_other_data(plan, store),
            *_unequal(suite, [cell for cell, _ in ran]),
            *_row_notes(cell for cell, _ in ran),
            *_below_a_constant(ran, store),
            *_untested(plan, store, tested),
        ),
        versions={"flipbench": flipbench.__version__, "torch": "+".join(torch), **fingerprints},
        registered={m.label: m.method for m in suite.methods if m.label != m.method},
        comparisons=tested,
        unstated=unstated(cell for cell, _ in ran),
        validations=tuple(dict.fromkeys(validations)),
        refits=tuple(dict.fromkeys(refits)),
        floors=frozenset(m.label for m in suite.methods if m.is_floor),
        published={d.label: published(d.published, d.dataset.name, d.order) for d in suite.data if d.published},
        unclustered=tuple(d.label for d in shown if not d.dataset.clustered),
    )


def seeds_run(plan: Plan, store: Store) -> int | None:
    """How many seeds, counted from the first, every cell with any run has; None where one of them lacks the first.

    A failed run counts, so that a report cannot leave it out.
    """

    def tried(stage: Stage) -> bool:
        return store.done(stage) or failure_of(stage, store) is not None

    counts = [len(list(takewhile(tried, cell.evaluations))) for cell in plan.cells if any(map(tried, cell.evaluations))]
    return min(counts, default=0) or None


def finished_cells(plan: Plan, store: Store) -> Iterator[tuple[str, list[Cell]]]:
    """By data set, the cells all of whose runs are finished: a mean over survivors would mislead."""
    for dataset in dict.fromkeys(cell.data.label for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.data.label == dataset and cell.evaluations]
        yield dataset, [cell for cell in cells if all(map(store.done, cell.evaluations))]


def failure_of(stage: Stage, store: Store) -> str | None:
    """Why a stage has no result: its own recorded failure, or that of a stage it needs."""
    if store.done(stage):
        return None
    if failure := store.failure(stage):
        return f"{stage}: {failure['reason']}"
    return next((reason for p in stage.parents.values() if (reason := failure_of(p, store))), None)


def with_ancestors(stage: Stage) -> dict[str, Stage]:
    """A stage and all that it was made from by key, so that what several of them need counts once."""
    stages = {stage.key: stage}
    for parent in stage.parents.values():
        stages |= with_ancestors(parent)
    return stages


def _ceilings(done: list[Stage], store: Store) -> Iterator[str]:
    """What no model can exceed, on generated data whose truth is known."""
    first = {stage.dataset: stage for stage in reversed(done)}
    for dataset in sorted(first):
        bound = store.metrics(first[dataset]).get("bayes_auc")
        if bound is not None:
            yield f"{dataset_name(dataset)} is generated: on its test rows the true probabilities have AUC {bound:.4f}."


def _other_data(plan: Plan, store: Store) -> Iterator[str]:
    """Where runs are of fewer or more test rows than the paper's data set has: a partial copy, or some users."""
    first = {c.data.label: (c.data.name, s) for c in plan.cells for s in c.evaluations if store.done(s)}
    for label, (name, stage) in first.items():
        samples = datasets.get(name).expected.get("samples")
        rows = store.metrics(stage).get("rows")
        if samples and rows and rows != (wanted := samples - samples * 9 // 10):
            yield (
                f"{dataset_name(label)} has {rows:,} test rows here, the paper's {wanted:,}: other data, so that no "
                "figure of the paper is comparable with ours."
            )


def _unequal(suite: Suite, cells: Sequence[Cell]) -> Iterator[str]:
    """Where rows differ in what all should share, and the suite's reason."""
    lines: dict[str, list[str]] = defaultdict(list)
    for dataset in dict.fromkeys(cell.data.label for cell in cells):
        for name, rows in unequal(cell for cell in cells if cell.data.label == dataset).items():
            values = "; ".join(f"{value}: {', '.join(map(row_name, labels))}" for value, labels in rows.items())
            lines[f"Rows differ in {name} ({values}): {suite.unequal.get(name, 'the suite gives no reason')}"].append(
                dataset
            )
    for line, on in lines.items():
        where = "" if len(on) == len({cell.data.label for cell in cells}) else f" ({', '.join(map(dataset_name, on))})"
        yield f"{line.rstrip('.')}{where}."


def _row_notes(cells: Iterable[Cell]) -> Iterator[str]:
    notes = {cell.method.label: cell.method.note for cell in cells if cell.method.note}
    return (f"{row_name(label)}: {note.strip().rstrip('.')}." for label, note in notes.items())


def _untested(plan: Plan, store: Store, tested: Iterable[Comparison]) -> Iterator[str]:
    """Pairs of which the declared test has no value: one run under two names, say."""
    for row, other in untested(plan, store, tested):
        names = f"{row_name(row.method.label)} and {row_name(other.method.label)} on {dataset_name(row.data.label)}"
        yield f"Not tested against each other, because {plan.suite.compare.test} has no value there: {names}."


def _below_a_constant(ran: Iterable[tuple[Cell, CellRuns]], store: Store) -> Iterator[str]:
    """Rows whose probabilities are worth less than one and the same for every test row."""
    below: dict[str, list[str]] = defaultdict(list)
    for cell, runs in ran:
        stage = next(filter(store.done, cell.evaluations), None)
        if stage is None or stage.is_floor:
            continue
        metrics = store.metrics(stage)
        share = metrics["positives"] / metrics["rows"]
        constant = -sum(p * math.log(p) for p in (share, 1 - share) if p)
        mean = fmean(run.logloss for run in runs.runs)
        if mean > constant:
            what = f"{dataset_name(cell.data.label)}, of which the share of clicks alone has logloss {constant:.4f}"
            below[what].append(f"{row_name(cell.method.label)} {mean:.4f}")
    for what, rows in below.items():
        yield f"Worse than a constant prediction on {what}: {', '.join(rows)}."


def _cell_runs(cell: Cell, evidence: Evidence) -> CellRuns:
    store = evidence.store
    runs = [run_of(stage, evidence) for stage in cell.evaluations if store.done(stage)]
    failed = sum(failure_of(stage, store) is not None for stage in cell.evaluations)
    return CellRuns(cell.method.label, cell.data.label, tuple(runs), failed, len(cell.evaluations) or 1)


def run_of(stage: Stage, evidence: Evidence) -> ScoredRun:
    """A finished ``evaluate`` stage's figures, which are those that its predictions give.

    They are given as they were recorded: the last bits of a recomputed one may differ between processors, and a report
    is the same bytes on all of them.

    Raises:
        DamagedError: its files were changed, its predictions cannot be scored, or they give other figures.
    """
    evidence.scores(stage)
    metrics = evidence.store.metrics(stage)
    return ScoredRun(stage.key, stage.seed, float(metrics["auc"]), float(metrics["logloss"]))
