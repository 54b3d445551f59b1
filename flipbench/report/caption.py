"""The sentences under a table, and the signature that says which runs it was made from."""

import hashlib

from flipbench.paper.names import TABLES, method_name
from flipbench.report.cells import SuiteResults

PROTOCOLS = {
    "held-out": "Protocol held-out: choices (epochs, tuned settings) were made on the last ninth of the training rows, "
    "the model was then fitted on all of them, and the test rows were scored once.",
    "as-released": "Protocol as-released, like the authors' code: test rows were used for selection, "
    "which flatters every AUC and logloss here.",
}


def caption(results: SuiteResults, statuses: set[str], compares: bool) -> tuple[str, ...]:
    """What a reader must know to read the table, but for how the best values are marked.

    Args:
        results: the suite's results.
        statuses: which kinds of cell the table has (:data:`flipbench.report.table.Status`).
        compares: whether the table shows the paper's values.
    """
    lines = [PROTOCOLS.get(results.protocol, f"Protocol {results.protocol}.")]
    orders = results.order.split("+")
    if len(orders) > 1:
        lines.append(f"Row order of the split differs by data set: {', '.join(orders)}.")
    elif results.order != "chronological":
        lines.append(f"Rows were split in {results.order} order, not by time.")
    if results.seeds == 1:
        lines.append("One seed: no spread known.")
    else:
        lines.append(f"Mean ± sample standard deviation over {results.seeds} seeds.")
    if results.reference:
        lines.append(f"Rel.Impr: relative AUC gain of {method_name(results.reference)} over the row, in %.")
    if compares and results.paper:
        recomputed = ", its Rel.Impr recomputed" if results.reference else ""
        lines.append(f"Under paper, or in grey: Table {TABLES[results.paper]} of arXiv 2310.19453{recomputed}.")
    if "not-run" in statuses:
        lines.append("—: not run, or no value.")
    if "partial" in statuses:
        lines.append("k/n runs: incomplete, no mean and no rank.")
    if "failed" in statuses:
        lines.append("failed k/n: k of n runs failed, so no mean and no rank.")
    return (*lines, *(" ".join(note.split()) for note in results.notes))


def signature(results: SuiteResults) -> str:
    """One short line to quote with a score; equal signatures mean the same runs on the same data.

    ``data`` is the fingerprint of each data set that has runs, in the suite's order; ``runs`` the
    SHA-256 of the sorted run keys. Modelled on sacrebleu's.
    """
    ran = {cell.dataset for cell in results.cells if cell.runs}
    prints = [results.versions.get(f"data/{dataset}", "unknown")[:8] for dataset in results.datasets if dataset in ran]
    keys = sorted(run.key for cell in results.cells for run in cell.runs)
    parts = {
        "flipbench": results.versions.get("flipbench", "unknown"),
        "protocol": results.protocol,
        "order": results.order,
        "seeds": str(results.seeds),
        "data": "+".join(prints) or "none",
        "torch": results.versions.get("torch", "unknown"),
        "runs": hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12] if keys else "none",
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
