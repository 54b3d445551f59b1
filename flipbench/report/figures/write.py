"""Which figures a suite has, and their files."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from flipbench.errors import UserError
from flipbench.plan import Plan
from flipbench.report.figures import calibration, pretrained, scores, style
from flipbench.report.figures.style import Picture
from flipbench.store.runs import Store

Draw = Callable[[Plan, Store], Iterator[Picture]]


def write_figures(plan: Plan, store: Store, folder: Path) -> list[Path]:
    """Write a suite's figures into ``folder``: ``SUITE-WHAT-DATASET.pdf``, ``.png`` and the numbers as ``.csv``.

    Only what has all its runs is drawn; a kind of figure that is not drawn for want of runs is named on stderr.

    Returns:
        The files.

    Raises:
        UserError: a run's files are missing or damaged, or the folder cannot be written.
    """
    written: list[Path] = []
    with style.styled():
        for kind, draw in _kinds(plan):
            drawn = list(draw(plan, store))
            if not drawn:
                print(f"{plan.suite.suite}: no figure of {kind}: its runs are not finished", file=sys.stderr)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for picture in drawn:
                    written += style.save(picture, folder / f"{plan.suite.suite}-{picture.name.replace('@', '_')}")
            except OSError as error:
                raise UserError(f"{folder}: the figures cannot be written: {error.strerror}") from error
    return written


def _kinds(plan: Plan) -> Iterator[tuple[str, Draw]]:
    """The kinds of figure that a suite can have, with what draws them."""
    suite = plan.suite
    if suite.inspect:
        inspected: dict[str, Draw] = {"embeddings": pretrained.embeddings, "alignment": pretrained.alignment}
        yield from ((what, inspected[what]) for what in suite.inspect)
        return
    if scores.varied(plan):
        yield "sweep", scores.sweep
    if suite.compare.reference and len(suite.methods) > 1:
        yield "differences", scores.forest
    if len(suite.methods) > 1:
        yield "cost", scores.cost
    yield "calibration", calibration.calibration
    if suite.tune:
        yield "tuning", scores.tuning
