"""Figures of a suite, drawn from its stored runs alone."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flipbench.interrupts import held_back
from flipbench.plan.expand import Plan
from flipbench.report.settings import varied_settings
from flipbench.report.stems import stem_of
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.report.figures.style import Picture


def figure_files(plan: Plan, store: Store) -> dict[str, bytes]:
    """Draw a suite's figures: the content of ``SUITE-KIND-DATASET.pdf``, ``.png`` and, their numbers, ``.csv``.

    The same results give the same bytes. Only cells with all their runs are drawn; a kind of figure without any is
    named on stderr.

    Raises:
        UserError: a run's files are missing or damaged.
    """
    with held_back():
        from flipbench.report.figures import calibration, pretrained, scores, style  # matplotlib takes long to import

    drawings: dict[str, Callable[[Plan, Store], Iterator[Picture]]] = {
        "embeddings": pretrained.embeddings,
        "alignment": pretrained.alignment,
        "sweep": scores.sweep,
        "cost": scores.cost,
        "calibration": calibration.calibration,
        "tuning": scores.tuning,
        "differences": scores.forest,
    }
    files: dict[str, bytes] = {}
    for kind in _kinds(plan):
        before = len(files)
        with style.styled():
            for picture in drawings[kind](plan, store):
                taken = {name.removesuffix(".csv") for name in files}
                stem = stem_of(f"{plan.suite.suite}-{picture.name}", taken)
                files |= {f"{stem}.{ending}": content for ending, content in style.encoded(picture).items()}
        if len(files) == before:
            print(f"{plan.suite.suite}: no figure of {kind}: its runs are not finished", file=sys.stderr)
    return files


def _kinds(plan: Plan) -> list[str]:
    """The kinds of figure that a suite has once its runs are finished."""
    suite = plan.suite
    if suite.inspect:
        return list(suite.inspect)
    several = len(suite.methods) > 1
    kinds = {
        "sweep": bool(varied_settings(plan)),
        "cost": several,
        "calibration": True,
        "tuning": suite.tune is not None,
        "differences": several and suite.compare.reference is not None,
    }
    return [kind for kind, drawn in kinds.items() if drawn]
