"""Seconds of ``flipbench report`` on a store of many runs, nothing kept from an earlier report.

Makes a suite's runs as training would have left them (made-up predictions, the parents' folders too) and calls the
command as its users do, in a process of its own, with an empty ``FLIPBENCH_HOME`` before each call.

    python benchmarks/report.py --columns 3 --seeds 11    # 2,013 run folders, 660 of them scored, and their figures
    python benchmarks/report.py --no-figures              # 2,000 scored runs: 20 rows, 10 columns, 10 seeds
    python benchmarks/report.py --methods 16 --columns 1 --rows 73902 --users 1214   # Table II on MovieLens-1M
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.plan import suite
from flipbench.plan.expand import Plan
from flipbench.plan.stage import Stage
from flipbench.store.planning import plan_of
from flipbench.store.predictions import write_predictions
from flipbench.store.runs import Store

ID_MODELS = ("afm", "pnn", "wide_deep", "dcn", "deepfm", "xdeepfm", "afn", "autoint", "dcnv2", "dcnv2_mix")
FLIP = ("flip_id", "flip_plm", "flip")
ENV = {"torch": "2.13.0", "device": "cpu", "cores": 2, "threads": 1}


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


def fill(planned: Plan, store: Store, rows: tuple[int, int], rows_a_user: float) -> int:
    """Write every run of a plan; each column has its own number of test rows between the two given."""
    store.prepare()
    labels_of = [entry.label for entry in planned.suite.data]
    count = 0
    for cell in planned.cells:
        column = labels_of.index(cell.data.label)
        shared = np.random.default_rng(column)
        n = round(rows[0] + (rows[1] - rows[0]) * column / max(1, len(labels_of) - 1))
        users = max(2, round(n / rows_a_user))
        groups = np.sort((users * shared.random(n) ** 1.5).astype(np.int32))  # some users have many rows
        truth = shared.normal(size=n) + 0.5 * shared.normal(size=users)[groups]
        labels = (shared.random(n) < 1 / (1 + np.exp(-1.2 - truth))).astype(np.uint8)
        test = Rows(np.zeros((n, 0), np.int32), labels, groups)
        for stage in cell.evaluations:
            own = np.random.default_rng([stage.seed, *cell.method.label.encode()])
            logits = (truth + own.normal(0.8, 0.05) * own.normal(size=n)).astype(np.float32)
            write_predictions(store.work(stage) / "predictions.parquet", test, logits)
            found = {"auc": metrics.auc(labels, logits), "logloss": metrics.logloss(labels, logits)}
            found |= {"rows": n, "positives": int(labels.sum()), "epochs": 3}
            best = {"best": {"epoch": 3, "auc": 0.8, "logloss": 0.5}, "history": []}
            for done in with_parents(stage):
                seconds = {"seconds": float(own.uniform(100, 400))}
                store.work(done)
                if not store.done(done):
                    store.commit(done, {"metrics.json": found if done is stage else best, "env.json": ENV | seconds})
            count += 1
    return count


def with_parents(stage: Stage) -> Iterator[Stage]:
    for parent in stage.parents.values():
        yield from with_parents(parent)
    yield stage


def processor_seconds() -> float:
    """Of the calls so far; what else the machine does is no part of it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=20, help="rows of the table (default 20)")
    parser.add_argument("--columns", type=int, default=10, help="data sets (default 10)")
    parser.add_argument("--seeds", type=int, default=10, help="runs a cell (default 10)")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 6000], help="test rows, least and most")
    parser.add_argument("--users", type=int, help="test users at the most rows (default: a twentieth of the rows)")
    parser.add_argument("--rounds", type=int, default=3, help="calls, of which the median counts (default 3)")
    parser.add_argument("--keep", type=Path, help="folder to make the store in, or to find it from last time")
    parser.add_argument("--no-figures", action="store_true", help="the command's own; it draws three a data set")
    parser.add_argument("--profile", action="store_true", help="print where one call's time goes instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "many.yaml"
        if not path.exists():
            path.write_text(suite_text(args.methods, args.columns, args.seeds, folder), encoding="utf-8")
        store = Store(folder / "results")
        planned = plan_of(suite.load(str(path)), store)
        if not store.root.exists():
            most = max(args.rows)
            with mock.patch("os.fsync"):
                fill(planned, store, (min(args.rows), most), most / args.users if args.users else 20)
        runs = sum(len(cell.evaluations) for cell in planned.cells)
        options = ["--no-figures"] if args.no_figures else []
        seconds, spent = [], []
        profiler = ["-m", "cProfile", "-s", "tottime"] if args.profile else []
        for _ in range(1 if args.profile else args.rounds):
            with tempfile.TemporaryDirectory() as home:
                own = {"FLIPBENCH_HOME": home, "PYTHONDONTWRITEBYTECODE": ""}  # an installed program is compiled once
                command = [sys.executable, *profiler, "-m", "flipbench", "report", str(path), *options]
                began, used = time.perf_counter(), processor_seconds()
                done = subprocess.run(  # noqa: S603 - our own command
                    command, env={**os.environ, **own}, capture_output=True, text=True
                )
                seconds.append(time.perf_counter() - began)
                spent.append(processor_seconds() - used)
            if done.returncode:
                sys.exit(done.stderr)
        if args.profile:
            print(done.stdout)
        if not seconds:
            return
        wall, cpu = (statistics.median(values) for values in (seconds, spent))
        print(f"{runs} runs: {wall:.2f} s, {cpu:.2f} s of processor time (median of {len(seconds)})")


if __name__ == "__main__":
    main()
