"""What a run shows while it runs: live bars on a terminal, one line a stage elsewhere. All on stderr."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flipbench import api
from flipbench.cli.output import tell
from flipbench.cost.estimate import duration
from flipbench.plan.stage import Stage
from flipbench.printable import one_line


class Display:
    """A listener of :func:`flipbench.api.run`."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.plan = api.Planned("", (), {}, 1)
        self.failures = 0
        self.spent: dict[str, float] = {}
        """Seconds of the stages that are done, by key."""
        self.left: set[str] = set()
        self.bars = Progress(
            TextColumn(" {task.fields[slot]}"),
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
        )
        self.tasks: dict[int, TaskID] = {}
        self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __call__(self, event: api.Event) -> None:
        match event:
            case api.Planned():
                self.plan, self.failures, self.spent = event, 0, {}
                self.left = {stage.key for stage in event.stages}
                if self.console.is_terminal:
                    self.live.start()
            case api.Started(slot, stage):
                self._clear(slot)
                self.tasks[slot] = self.bars.add_task(one_line(str(stage)), total=1.0, slot=slot, note="")
            case api.Progress(slot, _, epoch, epochs, share, auc):
                note = f"epoch {epoch + 1}/{epochs}" + (f"  valid AUC {auc:.4f}" if auc else "")
                self.bars.update(self.tasks[slot], completed=(epoch + share) / epochs, note=note)
            case api.Finished(slot, stage, metrics, seconds):
                self.spent[stage.key] = seconds
                self._ended(slot, stage, f"{_figures(metrics)}  {seconds:.0f} s")
            case api.Failed(slot, stage, reason):
                self.failures += 1
                self._ended(slot, stage, f"FAILED: {reason}", style="red")
            case api.Note(line):
                self._say(line)

    def _ended(self, slot: int, stage: Stage, how: str, style: str = "") -> None:
        self.left.discard(stage.key)
        self._clear(slot)
        self._say(f"[{len(self.spent) + self.failures}/{len(self.plan.stages)}] {stage}  {how}", style)

    def _clear(self, slot: int) -> None:
        if slot in self.tasks:
            self.bars.remove_task(self.tasks.pop(slot))

    def _say(self, line: str, style: str = "") -> None:
        if self.console.is_terminal:
            self.console.print(Text(one_line(line), style=style), soft_wrap=True)
        else:
            tell(line)

    def _render(self) -> Group:
        done, running = f"{len(self.spent)} done", f"{len(self.tasks)} running"
        counts = f"{len(self.plan.stages)} stages · {done} · {running} · {self.failures} failed"
        return Group(Text(f"{one_line(self.plan.title)}   {counts}   {self._time_left()}", style="bold"), self.bars)

    def _time_left(self) -> str:
        known = [self.plan.seconds[key] for key in self.left if key in self.plan.seconds]
        if len(known) < len(self.left):  # no measurement of some: scale what this run has taken so far
            if not self.spent:
                return "time left unknown yet"
            mean = sum(self.spent.values()) / len(self.spent)
            known += [mean] * (len(self.left) - len(known))
        return f"~ {duration(sum(known) / self.plan.slots)} left"


def _figures(metrics: Mapping[str, Any]) -> str:
    """The figures of a stage's ``metrics.json`` that a line has room for."""
    best = metrics.get("best", metrics)
    epochs = f"  epoch {best['epoch'] + 1}" if "epoch" in best else ""
    if "loss" not in best and "auc" not in best:  # an inspection
        return "  ".join(f"{name} {value:.3f}" for name, value in best.items() if isinstance(value, float))
    if best.get("auc") is None:
        return f"loss {best['loss']:.4f}{epochs}"
    part = "valid " if "best" in metrics else ""
    return f"{part}AUC {best['auc']:.4f} logloss {best['logloss']:.4f}{epochs}"
