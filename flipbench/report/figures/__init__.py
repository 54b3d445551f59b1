"""Figures of a suite, drawn from its stored runs alone."""

import re
import sys
from collections.abc import Callable, Collection, Iterator
from itertools import chain, count
from typing import TYPE_CHECKING

from flipbench.interrupts import held_back
from flipbench.plan.expand import Plan
from flipbench.report.settings import varied_settings
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
                stem = _stem(f"{plan.suite.suite}-{picture.name}", files)
                files |= {f"{stem}.{ending}": content for ending, content in style.encoded(picture).items()}
        if len(files) == before:
            print(f"{plan.suite.suite}: no figure of {kind}: its runs are not finished", file=sys.stderr)
    return files


def _stem(name: str, taken: Collection[str]) -> str:
    """A picture's name as a file's, without what a shell, LaTeX or a web address would read as its own."""
    stem = re.sub(r"[^\w.+-]+", "-", re.sub("[@/]", "_", name).replace("%", "-percent"))
    others = (f"{stem}-{number}" for number in count(2))  # of labels that differ in such characters alone
    return next(free for free in chain([stem], others) if f"{free}.csv" not in taken)


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
