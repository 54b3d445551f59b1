"""Seconds of ``flipbench report`` on a store of many runs, nothing kept from an earlier report.

Makes a suite's runs as training would have left them (made-up predictions, the parents' folders too) and calls the
command as its users do, in a process of its own, with an empty ``FLIPBENCH_HOME`` before each call.

    python benchmarks/report.py --methods 20 --columns 3 --seeds 11   # 2,013 run folders, 660 of them scored
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.plan import suite
from flipbench.plan.expand import Plan
from flipbench.report.collect import with_ancestors
from flipbench.store.planning import plan_of
from flipbench.store.predictions import write_predictions
from flipbench.store.runs import Store

ID_MODELS = ("afm", "pnn", "wide_deep", "dcn", "deepfm", "xdeepfm", "afn", "autoint", "dcnv2", "dcnv2_mix")
FLIP = ("flip_id", "flip_plm", "flip")
ENV = {"torch": "2.13.0", "device": "cpu", "cores": 2, "threads": 1}
ROWS_OF_A_USER = 20


def suite_text(methods: int, columns: int, seeds: int, folder: Path) -> str:
    """A suite of FLIP's three rows and as many baselines as are left, on shares of one data set's users."""
    rows = [f"- {name}: {{plm: small}}" for name in FLIP]
    for number in range(methods - len(FLIP)):
        name, again = ID_MODELS[number % len(ID_MODELS)], number // len(ID_MODELS)
        rows.append(f"- {name}_{again}: {{method: {name}, patience: {3 + again}}}" if again else f"- {name}")
    data = [f"- movielens-1m: {{users: {(columns - i) / columns}}}" for i in range(columns)]
    outputs = f"outputs: {{results: {folder / 'results'}, reports: {folder / 'reports'}}}"
    head = ["suite: many", "title: Many runs", "paper: table2", f"seeds: {seeds}", outputs]
    return "\n".join([*head, "compare: {reference: flip}", "data:", *data, "methods:", *rows, ""])


def fill(plan: Plan, store: Store, rows: int) -> None:
    """Write every run of a plan, each of so many test rows."""
    store.prepare()
    shared = np.random.default_rng(0)
    groups = np.sort((rows / ROWS_OF_A_USER * shared.random(rows) ** 1.5).astype(np.int32))  # some users have many rows
    truth = shared.normal(size=rows) + 0.5 * shared.normal(size=groups.max() + 1)[groups]
    labels = (shared.random(rows) < 1 / (1 + np.exp(-1.2 - truth))).astype(np.uint8)
    test = Rows(np.zeros((rows, 0), np.int32), labels, groups)
    best = {"best": {"epoch": 3, "auc": 0.8, "logloss": 0.5}, "history": []}
    for stage in (stage for cell in plan.cells for stage in cell.evaluations):
        noise = np.random.default_rng(int(stage.key[:12], 16))
        logits = (truth + noise.normal(0.8, 0.05) * noise.normal(size=rows)).astype(np.float32)
        write_predictions(store.work(stage) / "predictions.parquet", test, logits)
        scored = {"auc": metrics.auc(labels, logits), "logloss": metrics.logloss(labels, logits)}
        scored |= {"rows": rows, "positives": int(labels.sum()), "epochs": 3}
        for done in with_ancestors(stage).values():
            if not store.done(done):
                store.work(done)
                env = ENV | {"seconds": float(noise.uniform(100, 400))}
                store.commit(done, {"metrics.json": scored if done is stage else best, "env.json": env})


def report(path: Path) -> tuple[float, float]:
    """One call: its seconds, and those of processor time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "flipbench", "report", str(path)]
        done = subprocess.run(  # noqa: S603 - our own command
            command, env={**os.environ, "FLIPBENCH_HOME": home}, capture_output=True, text=True
        )
    if done.returncode:
        sys.exit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=20, help="rows of the table (default 20)")
    parser.add_argument("--columns", type=int, default=3, help="data sets (default 3)")
    parser.add_argument("--seeds", type=int, default=11, help="runs a cell (default 11)")
    parser.add_argument("--rows", type=int, default=4000, help="test rows (default 4000)")
    parser.add_argument("--rounds", type=int, default=3, help="calls, of which the median counts (default 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path, store = Path(temporary, "many.yaml"), Store(Path(temporary, "results"))
        path.write_text(suite_text(args.methods, args.columns, args.seeds, Path(temporary)), encoding="utf-8")
        plan = plan_of(suite.load(str(path)), store)
        with mock.patch("os.fsync"):
            fill(plan, store, args.rows)
        wall, cpu = np.median([report(path) for _ in range(args.rounds)], axis=0)
    runs = sum(len(cell.evaluations) for cell in plan.cells)
    print(f"{runs} runs: {wall:.2f} s, {cpu:.2f} s of processor time (median of {args.rounds})")


if __name__ == "__main__":
    main()
