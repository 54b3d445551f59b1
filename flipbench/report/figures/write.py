"""Which figures a suite has, and their files."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from flipbench.atomic import write_files
from flipbench.plan import Plan
from flipbench.report.figures import calibration, pretrained, scores, style
from flipbench.report.figures.style import Picture
from flipbench.store.runs import Store


def write_figures(plan: Plan, store: Store, folder: Path) -> list[Path]:
    """:meth:`Figures.write` of a suite's figures."""
    return Figures(plan, store).write(folder)


class Figures:
    """A suite's figures. Only what has all its runs is drawn.

    Args:
        pool: another process, which begins to draw them at once; the files are the same.
    """

    def __init__(self, plan: Plan, store: Store, pool: Executor | None = None) -> None:
        self.suite, self.store = plan.suite.suite, store
        self._parts = list(_parts(plan))
        self._elsewhere = [pool.submit(_draw, kind, part, store) for kind, part in self._parts] if pool else []

    def write(self, folder: Path) -> list[Path]:
        """Write ``SUITE-WHAT-DATASET.pdf``, ``.png`` and the numbers as ``.csv``, each replaced as a whole.

        A kind of figure that is not drawn for want of runs is named on stderr.

        Returns:
            The files.

        Raises:
            UserError: a run's files are missing or damaged, or the folder cannot be written.
        """
        drawn = self._drawn()
        has = {kind for (kind, _), files in zip(self._parts, drawn, strict=True) if files}
        for kind in dict.fromkeys(kind for kind, _ in self._parts):
            if kind not in has:
                print(f"{self.suite}: no figure of {kind}: its runs are not finished", file=sys.stderr)
        return write_files(folder, dict(file for files in drawn for file in files.items()), "the figures")

    def _drawn(self) -> list[dict[str, bytes]]:
        """The files of each part, by name."""
        own: dict[int, dict[str, bytes]] = {}
        for index in reversed(range(len(self._parts))):  # the last ones, until those that the other process has begun
            if not self._elsewhere or self._elsewhere[index].cancel():
                own[index] = _draw(*self._parts[index], self.store)
        return [own[i] if i in own else self._elsewhere[i].result() for i in range(len(self._parts))]


def _draw(kind: str, plan: Plan, store: Store) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with style.styled():
        for picture in _DRAW[kind](plan, store):
            stem = f"{plan.suite.suite}-{picture.name.replace('@', '_')}"
            files |= {f"{stem}.{ending}": content for ending, content in style.encoded(picture).items()}
    return files


_DRAW: dict[str, Callable[[Plan, Store], Iterator[Picture]]] = {
    "embeddings": pretrained.embeddings,
    "alignment": pretrained.alignment,
    "sweep": scores.sweep,
    "differences": scores.forest,
    "cost": scores.cost,
    "calibration": calibration.calibration,
    "tuning": scores.tuning,
}


def _parts(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """The kinds of figure that a suite can have, each with the cells that it is drawn from: of one data set, or all.

    Last those whose numbers take longest to find, which a report's tables need too.
    """
    suite = plan.suite
    if suite.inspect:
        yield from ((what, plan) for what in suite.inspect)
        return
    of_data = [
        replace(plan, cells=tuple(cell for cell in plan.cells if cell.data.label == data))
        for data in scores.datasets(plan)
    ]
    if scores.varied(plan):
        yield "sweep", plan
    kinds = {
        "cost": len(suite.methods) > 1,
        "calibration": True,
        "tuning": suite.tune is not None,
        "differences": suite.compare.reference is not None and len(suite.methods) > 1,
    }
    for kind, there in kinds.items():
        for part in of_data if there else ():
            yield kind, part
