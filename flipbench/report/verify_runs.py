"""Whether finished runs are what they say: bytes, figures, epochs, test rows, and predictions of their own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from flipbench.data import split
from flipbench.data.store import holds, open_table
from flipbench.errors import DamagedError
from flipbench.plan.stage import Stage
from flipbench.report.scored import digest_of_rows
from flipbench.report.significance import Evidence
from flipbench.store.runs import Store, is_number


@dataclass(frozen=True)
class Mismatch:
    """What does not follow: ``where`` is a run folder, a file of one, or a report's file."""

    where: str
    what: str


def mismatch_of(error: DamagedError) -> Mismatch:
    where, _, what = str(error).partition(": ")
    return Mismatch(where, what)


def wrong_runs(done: Sequence[Stage], evidence: Evidence) -> Iterator[Mismatch]:
    """What is wrong with finished runs.

    Each by itself: the bytes of its files, its figures against its predictions, its epochs against its selection. Where
    all are right, together: labels and users against the prepared table where that is here, else against most other
    runs', and that none predicts what another one does.
    """
    alone = [mismatch for stage in done for mismatch in _wrong_in_run(stage, evidence)]
    scored = [stage for stage in done if stage.role == "evaluate"]
    yield from alone or (*_wrong_rows(scored, evidence), *_copied(scored, evidence))


def _wrong_in_run(stage: Stage, evidence: Evidence) -> Iterator[Mismatch]:
    """What is wrong with a finished run by itself, and with the runs that it was made from."""
    store, where = evidence.store, str(evidence.store.folder(stage))
    try:
        store.check(stage)
        if gone := [str(store.folder(parent)) for parent in stage.parents.values() if not store.done(parent)]:
            yield Mismatch(where, f"was made from {gone[0]}, which is missing")
            return
        if stage.role == "evaluate":
            evidence.scores(stage)
        for what in _wrong_epochs(stage, store):
            yield Mismatch(where, what)
    except DamagedError as error:
        yield mismatch_of(error)


def _wrong_epochs(stage: Stage, store: Store) -> Iterator[str]:
    """Where a run's number of epochs is not that of the training or selection before it, or its own history's."""
    recorded = store.metrics(stage)
    epochs = recorded.get("epochs")
    if stage.trains:
        best, history = store.best(stage), recorded.get("history")
        if not _is_history(history):
            yield "has no history of its epochs, counted from 0"
            return
        if best != (chosen := _best(history)):
            yield f"its best epoch is {best['epoch']}, and by its history {chosen['epoch']}"
        epochs = best["epoch"] + 1
    for name in ("select", "fit"):
        if (parent := stage.parents.get(name)) and epochs != (wanted := store.best(parent)["epoch"] + 1):
            yield f"is of {epochs} epochs, and its {parent.role} has {wanted}"


def _is_history(history: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Whether it is one record of figures an epoch, in their order."""
    return (
        isinstance(history, list)
        and len(history) > 0
        and all(isinstance(epoch, dict) and epoch.get("epoch") == i for i, epoch in enumerate(history))
        and all(value is None or is_number(value) for epoch in history for value in epoch.values())
    )


def _best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch of highest validation AUC, the first of equals; the last epoch without validation."""
    if history[-1].get("auc") is None:
        return history[-1]
    return max(history, key=lambda epoch: epoch.get("auc") or 0.0)


def _wrong_rows(scored: Sequence[Stage], evidence: Evidence) -> Iterator[Mismatch]:
    """Runs whose labels or users are not those of the prepared table; without one, not those of most runs."""
    alike: dict[tuple[str, Any, float], list[Stage]] = {}
    for stage in scored:
        alike.setdefault((stage.dataset, stage.spec["order"], stage.spec.get("users", 1.0)), []).append(stage)
    for (name, order, users), stages in alike.items():
        fingerprint = stages[0].spec["data"]
        found = {stage.key: evidence.scores(stage).test_rows for stage in stages}
        (wanted, _), *_ = Counter(found.values()).most_common(1)
        whose = "most other runs'"
        if holds(name, fingerprint):
            table = split.of_users(open_table(name, fingerprint=fingerprint), users)
            rows = split.test_rows(table, order)
            wanted, whose = digest_of_rows(rows.labels, rows.groups), f"those of {name} as prepared here"
            bound = table.meta.get("bayes_auc") if order == "chronological" else None
            for stage in stages:
                if (said := evidence.store.metrics(stage).get("bayes_auc")) != bound:
                    yield Mismatch(str(evidence.store.folder(stage)), f"bayes_auc is {said}, of the data {bound}")
        for stage in stages:
            if found[stage.key] != wanted:
                yield Mismatch(str(evidence.store.folder(stage)), f"its labels or users are not {whose}")


def _copied(scored: Sequence[Stage], evidence: Evidence) -> Iterator[Mismatch]:
    """Runs that predict to the last bit what another run does, whose trained weights are others; floors may agree."""
    first: dict[tuple[str, str], Stage] = {}
    store = evidence.store
    for stage in scored:
        if stage.is_floor:
            continue
        scores = evidence.scores(stage)
        other = first.setdefault((scores.test_rows, scores.logits), stage)
        mine, theirs = (store.metrics(each.parents["fit"]).get("weights") for each in (stage, other))
        if other is not stage and (mine is None or mine != theirs):
            copied = f"predicts to the last bit what {store.folder(other)} does, whose weights are others"
            yield Mismatch(str(store.folder(stage)), copied)
