"""What scheduling costs: two slots beside one, a stage's overhead, `status` on many finished stages; in one run.

python benchmarks/schedule.py
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from flipbench import api
from flipbench.plan.stage import Stage
from flipbench.schedule.local import Pool
from flipbench.store.runs import Store

METHODS = "afm, pnn, wide_deep, dcn, deepfm, xdeepfm, autoint, afn, dcnv2, dcnv2_mix"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Slots, overhead and status.")
    parser.add_argument("--stages", type=int, default=40, help="small stages for the slots (two a run)")
    parser.add_argument("--epochs", type=int, default=10, help="of each that trains")
    parser.add_argument("--rounds", type=int, default=3, help="of one slot and of two, in alternation")
    parser.add_argument("--finished", type=int, default=5000, help="finished stages for status")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="flipbench-") as folder:
        _slots(Path(folder), args.stages // 2, args.epochs, args.rounds)
        _status(Path(folder), args.finished)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread a slot")


def _slots(folder: Path, runs: int, epochs: int, rounds: int) -> None:
    """Wall and CPU seconds of the same stages on one slot and on two, and what a stage takes beside its own time."""
    settings = f"{{max_epochs: {epochs}, patience: {epochs}, batch_size: 64}}"
    path = _suite(folder, "slots", "dcnv2", "as-released", runs, settings)
    wall: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    overhead = []
    for turn in range(rounds):
        for workers in (1, 2):
            stages = _stages(path)
            store = Store(folder / f"slots-{turn}-{workers}")
            store.prepare()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            with Pool(store, workers, "cpu") as pool:
                failures = pool.run(stages[:2], _ignore)  # the processes start and import torch
                warm = time.perf_counter()
                failures |= pool.run(stages[2:], _ignore)
                ended = time.perf_counter()
            if failures:
                sys.exit(f"{len(failures)} stages failed: {next(iter(failures.values()))}")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall[workers].append(ended - began)
            cpu[workers].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            if workers == 1:
                own = sum(store.read(stage, "env.json")["seconds"] for stage in stages[2:])
                overhead.append((ended - warm - own) / len(stages[2:]))
    one, two = (statistics.median(wall[n]) for n in (1, 2))
    busy = [statistics.median(cpu[n]) for n in (1, 2)]
    print(f"{2 * runs} stages: {one:.1f} s on one slot, {two:.1f} s on two: {one / two:.2f}x")
    print(f"  CPU seconds {busy[0]:.1f} and {busy[1]:.1f}: on two cores at best {2 * busy[0] / busy[1]:.2f}x")
    print(f"  {1000 * statistics.median(overhead):.0f} ms a stage beside its own time")


def _status(folder: Path, count: int) -> None:
    """Seconds of `flipbench status` on a suite whose stages are all done."""
    path = _suite(folder, "many", METHODS, "held-out", -(-count // 30), "{}")
    stages, store = _stages(path), Store(folder / "many-results")
    store.prepare()
    figures = {"auc": 0.5, "logloss": 0.7, "best": {"epoch": 0, "auc": 0.5, "logloss": 0.7}, "history": []}
    with mock.patch("os.fsync"):
        for stage in stages:
            store.work(stage)
            store.commit(stage, {"metrics.json": figures, "env.json": {"seconds": 1.0}})
    line = [sys.executable, "-m", "flipbench", "status", str(path), "--results", str(store.root)]
    wall, cpu = zip(*(_timed(line) for _ in range(3)), strict=True)
    print(
        f"status of {len(stages)} finished stages: {statistics.median(wall):.2f} s, {statistics.median(cpu):.2f} CPU s"
    )


def _timed(line: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _suite(folder: Path, name: str, methods: str, protocol: str, seeds: int, settings: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(
        f"suite: {name}\ntitle: Scheduling\ndata: [planted-tiny]\nprotocol: {protocol}\nmethods: [{methods}]\n"
        f"seeds: {seeds}\nsettings: {settings}\n",
        encoding="utf-8",
    )
    return path


def _stages(path: Path) -> list[Stage]:
    return api.plan(api.load_suite(path)).stages()


def _ignore(event: api.Event) -> None:
    """A listener that shows nothing."""


if __name__ == "__main__":
    main()
