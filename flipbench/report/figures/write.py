"""The files of a suite's figures."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path

from flipbench.atomic import write_files
from flipbench.plan.expand import Plan
from flipbench.report.figures.parts import parts
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
        self._parts = list(parts(plan))
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
        """The files of each part, by name; the last ones, up to those that the other process has begun, drawn here."""
        own: dict[int, dict[str, bytes]] = {}
        for index in reversed(range(len(self._parts))):
            if not self._elsewhere or self._elsewhere[index].cancel():
                own[index] = _draw(*self._parts[index], self.store)
        return [own[i] if i in own else self._result(i) for i in range(len(self._parts))]

    def _result(self, index: int) -> dict[str, bytes]:
        """What the other process drew; drawn here if that process was killed."""
        try:
            return self._elsewhere[index].result()
        except BrokenExecutor:
            return _draw(*self._parts[index], self.store)


def _draw(kind: str, plan: Plan, store: Store) -> dict[str, bytes]:
    from flipbench.report.figures import calibration, pretrained, scores, style  # matplotlib, for whom draws

    draw: dict[str, Callable[[Plan, Store], Iterator[style.Picture]]] = {
        "embeddings": pretrained.embeddings,
        "alignment": pretrained.alignment,
        "sweep": scores.sweep,
        "differences": scores.forest,
        "cost": scores.cost,
        "calibration": calibration.calibration,
        "tuning": scores.tuning,
    }
    files: dict[str, bytes] = {}
    with style.styled(name for cell in plan.cells for name in (cell.method.label, cell.data.label)):
        for picture in draw[kind](plan, store):
            stem = f"{plan.suite.suite}-{picture.name.replace('@', '_')}"
            files |= {f"{stem}.{ending}": content for ending, content in style.encoded(picture).items()}
    return files
