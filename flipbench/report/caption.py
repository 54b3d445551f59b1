"""The sentences under a table, and the signature that says which runs it was made from."""

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import get_args

from flipbench.paper.names import TABLES, dataset_name, method_name, row_name
from flipbench.protocol import Metric, Validation
from flipbench.report.cells import Comparison, SuiteResults
from flipbench.report.columns import METRIC_NAMES, SYMBOLS, TableCell, TableMetric
from flipbench.report.settings import Unstated
from flipbench.stats.equivalence import Outcome, Verdict
from flipbench.stats.power import EQUIVALENCE_LEVEL, POWER, Reach

VALIDATION: dict[Validation, str] = {
    "known-users": "the last third of the training rows of a third of the users",
    "last-ninth": "the last ninth of the training rows",
    "given": "the validation part that the data set gives",
}
"""The rows that choices are made on, in words."""

PROTOCOLS = {
    "held-out": "Protocol held-out: choices (epochs, tuned settings) were made on {validation}, {scored}.",
    "as-released": "Protocol as-released, like the authors' code: test rows were used for selection, "
    "which flatters every AUC and logloss here.",
}

TESTS = {
    "user-bootstrap": "paired bootstrap over users and t over seeds",
    "delong": "DeLong's test (AUC) or z over rows (logloss) and t over seeds",
    "paired-t": "paired t over seeds",
}
"""How a test is named in a caption."""

OUTCOMES: dict[Outcome, str] = {"out-of-reach": "out of reach (endless seeds at the spread seen would not settle it)"}
"""Verdicts that a legend explains in more than their name."""


STATUSES = {
    "not-run": "—: not run, or no value.",
    "partial": "k/n runs: incomplete, no mean and no rank.",
    "failed": "failed k/n: k of n runs failed, so no mean and no rank.",
}
"""What stands in a cell without a mean, in the order of the captions."""


def legend(
    cells: Iterable[TableCell],
    grouped: bool = False,
    best: str = "in bold",
    second: str = "underlined",
    baseline: str = "marked ~",
    star: str = "*",
) -> tuple[str, ...]:
    """What the marks of a table mean, those that it has; ``best`` to ``star`` are how the format shows each."""
    cells = list(cells)
    marks = {cell.mark for cell in cells}
    lines = []
    if "best" in marks:
        column = "group and column" if grouped else "column"
        lines.append(f"Best per {column} {best}" + (f", second {second}." if "second" in marks else "."))
    if any(cell.best_baseline for cell in cells):
        lines.append(f"Best baseline {baseline}.")
    if any(cell.starred for cell in cells):
        lines.append(f"{star}: significantly better than the best row it is tested against; the paper's as printed.")
    shown = {cell.verdict.outcome for cell in cells if cell.symbol and cell.verdict}
    if shown:
        words = ", ".join(f"{symbol} {OUTCOMES.get(o, o)}" for o, symbol in SYMBOLS.items() if o in shown)
        lines.append(f"Against the paper: {words}.")
    return tuple(lines)


def caption(
    results: SuiteResults,
    statuses: Set[str],
    compares: bool,
    shown: Set[TableMetric],
    verdicts: Mapping[Metric, Sequence[Verdict]],
    left_out: Sequence[str] = (),
) -> tuple[str, ...]:
    """What a reader must know to read the table, but for how the best values are marked.

    Args:
        results: the suite's results.
        statuses: which kinds of cell the table has (:data:`flipbench.report.columns.Status`).
        compares: whether the table shows the paper's values.
        shown: what its columns are of.
        verdicts: all that it holds.
        left_out: data sets that it does not show, since nothing of them was run.
    """
    lines = [protocol_sentence(results.protocol, results.validations, results.refits)]
    orders = results.order.split("+")
    if len(orders) > 1:
        lines.append(f"Row order of the split differs by data set: {', '.join(orders)}.")
    elif results.order != "chronological":
        lines.append(f"Rows were split in {results.order} order, not by time.")
    lines.append(_spread(results))
    if results.compare.reference:
        lines.append(f"Rel.Impr: relative AUC gain of {method_name(results.compare.reference)} over the row, in %.")
    if compares and results.paper:
        recomputed = ", its Rel.Impr recomputed" if results.compare.reference else ""
        lines.append(f"Right of ours, the paper's: Table {TABLES[results.paper]} of arXiv 2310.19453{recomputed}.")
    if "share" in shown:
        words = "the way in AUC from the best floor (a rule that any model must beat) to the best row, in %"
        lines.append(f"{METRIC_NAMES['share']}: a row's share of {words}; negative below the floor.")
    for other in results.published.values():
        lines.append(f"Right of ours, {other.name}'s: {other.where}. {other.differs}")
    if results.comparisons:
        lines.append(
            f"Significance: p < {results.compare.alpha:g}, {TESTS[results.compare.test]}, Holm over "
            f"{len(results.comparisons) // 2} tests a metric."
        )
    if results.unclustered and results.compare.test == "user-bootstrap":
        where = ", ".join(dataset_name(dataset) for dataset in results.unclustered)
        lines.append(
            f"No column of users is declared for {where}: rows were resampled there, as if each were a user's."
        )
    lines += _resolvable(results)
    if compares and results.seeds > 1:
        margins = ", ".join(f"{margin:g} {metric}" for metric, margin in results.compare.margin.items())
        lines.append(
            f"Verdicts: two one-sided t-tests at 5 %, margin {margins}, on these test rows; the printed number counts "
            "as one run that its seed moves as much as ours do."
        )
        lines += _settled(verdicts)
    lines += _unstated(results)
    if left_out:
        names = [dataset_name(dataset) for dataset in left_out]
        between = "; " if any("," in name for name in names) else ", "
        lines.append(f"Not run here: {between.join(names)}.")
    lines += [words for status, words in STATUSES.items() if status in statuses]
    return (*lines, *(" ".join(note.split()) for note in results.notes))


def _spread(results: SuiteResults) -> str:
    if results.seeds == 1:
        judged = ", no star of ours, and every verdict against the paper is inconclusive" if results.paper else ""
        return f"One seed: no spread known{judged}."
    agree = any(cell.agrees(metric) for cell in results.cells for metric in get_args(Metric))
    unspread = ", without ± where all agree to the last bit" if agree else ""
    return f"Mean ± sample standard deviation over {results.seeds} seeds{unspread}."


def protocol_sentence(protocol: str, validations: Sequence[Validation], refits: Collection[bool]) -> str:
    """What the protocol of a table's columns means; where columns differ, their headers say which is which."""
    parts = " or ".join(VALIDATION[part] for part in validations)
    fitted: dict[tuple[bool, ...], str] = {
        (True,): "the model was then fitted on all training rows, and the test rows were scored once",
        (False,): "and the weights so chosen were scored once on the test rows",
    }
    some = (
        "the model was then fitted on all training rows but where a column says not, and the test rows were scored once"
    )
    scored = fitted.get(tuple(refits), some)
    return PROTOCOLS.get(protocol, f"Protocol {protocol}.").format(validation=parts, scored=scored)


def _resolvable(results: SuiteResults) -> Iterator[str]:
    """What the tests between rows can find, and for how many pairs equivalence can never be shown, by data set.

    Floors have no part in the ranges and counts: they are rules, and how near a model comes to one is not the question.
    """
    if not (compared := [c for c in results.comparisons if c.reach]):
        return
    tests = len(results.comparisons) // 2
    level = f"{results.compare.alpha:g}" + (f"/{tests}, Holm's strictest step" if tests > 1 else "")
    yield (
        f"{METRIC_NAMES['resolvable']}: smallest true difference in AUC from {_others(compared, results)} that this "
        f"test finds with power {POWER:g} at p < {level}, estimated from these {results.seeds} seeds; in brackets "
        "whatever the seeds, where that can be estimated."
    )
    models = [c for c in compared if not {c.row, c.against} & results.floors]
    without = ", pairs without floors" if len(models) < len(compared) else ""
    if models:
        yield (
            f"Equivalence of two rows: two one-sided tests at {100 * EQUIVALENCE_LEVEL:g} % each, unadjusted, power "
            f"{POWER:g}."
        )
    for dataset in dict.fromkeys(c.dataset for c in models):
        for metric, margin in results.compare.margin.items():
            here = [c.reach for c in models if c.reach and (c.dataset, c.metric) == (dataset, metric)]
            where = f"{METRIC_NAMES[metric]} on {dataset_name(dataset)}{without}"
            if here:
                yield f"{where}: {_range(here)}; {_never(here, margin)}."


def _others(compared: Sequence[Comparison], results: SuiteResults) -> str:
    """What the column of resolvable differences measures each row from, in words."""
    best, reference = "the best row that it is tested against", results.compare.reference
    with_it = {row for c in compared if reference in (c.row, c.against) for row in (c.row, c.against)}
    if not reference or not with_it:
        return best
    without = [row_name(row) for row in dict.fromkeys(c.row for c in compared) if row not in with_it]
    return method_name(reference) + (f" (for {', '.join(without)}, from {best})" if without else "")


def _never(reaches: Sequence[Reach], margin: float) -> str:
    """For how many pairs no number of seeds would show equivalence, of those where that can be estimated."""
    known = [reach.margin_at_best for reach in reaches if not math.isnan(reach.margin_at_best)]
    if not known:
        return f"whether equivalence within {margin:g} is in reach is not estimable"
    never = sum(at_best > margin for at_best in known)
    counted = f"equivalence within {margin:g} is out of reach whatever the seeds for {never} of {len(known)} pairs"
    unknown = len(reaches) - len(known)
    return f"{counted}, not estimable for {unknown}" if unknown else counted


def _settled(verdicts: Mapping[Metric, Sequence[Verdict]]) -> Iterator[str]:
    """The smallest differences from printed numbers that become a verdict."""
    ranges = {metric: [v.reach for v in found if v.reach] for metric, found in verdicts.items()}
    if words := "; ".join(f"{METRIC_NAMES[metric]} {_range(found)}" for metric, found in ranges.items() if found):
        yield f"Smallest difference from the paper that becomes a verdict, with power {POWER:g}: {words}."


def _range(reaches: Sequence[Reach]) -> str:
    low, high = (f"{end(reach.difference for reach in reaches):.4f}" for end in (min, max))
    known = [reach.difference_at_best for reach in reaches if not math.isnan(reach.difference_at_best)]
    limit = f"up to {max(known):.4f} whatever the seeds" if known else "the limit whatever the seeds not estimable"
    return f"{low}{f' to {high}' if low != high else ''} with these seeds, {limit}"


def _unstated(results: SuiteResults) -> Iterator[str]:
    """How many settings of each row are not the paper's nor released code's; rows with equally many together."""
    kinds = {
        "guesses": "Settings that neither the paper nor released code states",
        "overridden": "Stated, but set otherwise here",
    }
    for kind, words in kinds.items():
        rows: dict[int, list[str]] = {}
        for row in results.methods:
            if count := len(getattr(results.unstated.get(row, Unstated()), kind)):
                rows.setdefault(count, []).append(row_name(row))
        if rows:
            counted = (f"{count} of {', '.join(names)}" for count, names in sorted(rows.items()))
            yield f"{words}: {'; '.join(counted)}."


def signature(results: SuiteResults) -> str:
    """One short line to quote with a score; equal signatures mean the same runs on the same data.

    ``data`` is the fingerprint of each data set that has runs, in the suite's order and each once; ``runs`` the
    SHA-256 of the sorted run keys. Modelled on sacrebleu's.
    """
    ran = {cell.dataset for cell in results.cells if cell.runs}
    prints = [results.versions.get(f"data/{dataset}", "unknown")[:8] for dataset in results.datasets if dataset in ran]
    keys = sorted(run.key for cell in results.cells for run in cell.runs)
    parts = {
        "flipbench": results.versions.get("flipbench", "unknown"),
        "protocol": results.protocol,
        **({"validation": "+".join(results.validations)} if results.protocol == "held-out" else {}),
        "order": results.order,
        "seeds": str(results.seeds),
        "data": "+".join(dict.fromkeys(prints)) or "none",
        "torch": results.versions.get("torch", "unknown"),
        "runs": hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12] if keys else "none",
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
