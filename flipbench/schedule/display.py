"""What a run shows while it runs: live bars on a terminal, one line a stage elsewhere. All on stderr."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flipbench.plan.stage import Stage


class Display:
    """A listener of :class:`flipbench.schedule.local.Pool`.

    Args:
        title: the suite's name and protocol.
        stages: all that will run.
        seconds: what each is expected to take, by key; the time left is made from it.
        workers: slots, by which the time left is divided.
    """

    def __init__(self, title: str, stages: Sequence[Stage], seconds: dict[str, float], workers: int) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.title, self.workers = title, max(1, workers)
        self.total, self.done, self.failures = len(stages), 0, 0
        self.expected = seconds
        self.spent: dict[str, float] = {}
        self.left = {stage.key: stage for stage in stages}
        self.bars = Progress(
            TextColumn(" {task.fields[slot]}"),
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
        )
        self.tasks: dict[int, TaskID] = {}
        self.live: Live | None = None

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def started(self, slot: int, stage: Stage) -> None:
        if slot in self.tasks:
            self.bars.remove_task(self.tasks[slot])
        self.tasks[slot] = self.bars.add_task(str(stage), total=1.0, slot=slot, note="")

    def ticked(self, slot: int, stage: Stage, position: dict[str, Any]) -> None:
        epoch, epochs, auc = position["epoch"], position["epochs"], position["auc"]
        note = f"epoch {epoch + 1}/{epochs}" + (f"  valid AUC {auc:.4f}" if auc else "")
        self.bars.update(self.tasks[slot], completed=(epoch + position["share"]) / epochs, note=note)

    def finished(self, slot: int, stage: Stage, metrics: dict[str, Any], seconds: float) -> None:
        self.done += 1
        self.spent[stage.key] = seconds
        self._close(slot, stage)
        self._say(f"{self._count()} {stage}  {_figures(metrics)}  {seconds:.0f} s")

    def failed(self, slot: int, stage: Stage, reason: str) -> None:
        self.failures += 1
        self._close(slot, stage)
        self._say(f"{self._count()} {stage}  FAILED: {reason}", style="red")

    def noted(self, line: str) -> None:
        self._say(line)

    def _close(self, slot: int, stage: Stage) -> None:
        self.left.pop(stage.key, None)
        if slot in self.tasks:
            self.bars.remove_task(self.tasks.pop(slot))

    def _say(self, line: str, style: str | None = None) -> None:
        if self.console.is_terminal:
            self.console.print(Text(line, style=style or ""), soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _count(self) -> str:
        return f"[{self.done + self.failures}/{self.total}]"

    def _render(self) -> Group:
        counts = f"{self.total} stages · {self.done} done · {len(self.tasks)} running · {self.failures} failed"
        return Group(Text(f"{self.title}   {counts}   {self._time_left()}", style="bold"), self.bars)

    def _time_left(self) -> str:
        known = [self.expected[key] for key in self.left if key in self.expected]
        if len(known) < len(self.left):  # no measurement of some: scale what this run has taken so far
            if not self.spent:
                return "time left unknown yet"
            mean = sum(self.spent.values()) / len(self.spent)
            known += [mean] * (len(self.left) - len(known))
        return f"~ {duration(sum(known) / self.workers)} left"


def duration(seconds: float) -> str:
    """``42 s``, ``7 min``, ``3 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _figures(metrics: dict[str, Any]) -> str:
    found = metrics.get("best", metrics)
    epochs = f"  epoch {found['epoch'] + 1}" if "epoch" in found else ""
    if "loss" not in found and "auc" not in found:  # an inspection
        return "  ".join(f"{name} {value:.3f}" for name, value in found.items() if isinstance(value, float))
    if found.get("auc") is None:
        return f"loss {found['loss']:.4f}{epochs}"
    part = "valid " if "best" in metrics else ""
    return f"{part}AUC {found['auc']:.4f} logloss {found['logloss']:.4f}{epochs}"
