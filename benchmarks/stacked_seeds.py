"""How much several seeds of a model cost when trained as one program, beside one seed trained alone, in one run.

Both sides run flipbench's own loops at the declared settings, batch 256, on the same rows, and take turns, so that
whatever else the machine does hits all of them. On the CPU it is CPU seconds that are compared.

    python benchmarks/stacked_seeds.py --models dcnv2 --device cuda
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from tabulate import tabulate

from flipbench.data.split import Rows, training_rows
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.methods.context import fresh_id_model
from flipbench.models.id_model import IDModel
from flipbench.plan import registry
from flipbench.run.stack import Member, fit_stack
from flipbench.train.config import TrainConfig
from flipbench.train.id_models import fit
from flipbench.train.rng import Streams, make_deterministic


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Several seeds as one program, beside one seed alone.")
    parser.add_argument("--models", default="dcnv2,deepfm,afm", help="comma-separated")
    parser.add_argument("--datasets", default="planted-small,movielens-1m", help="comma-separated, prepared")
    parser.add_argument("--seeds", default="1,2,5,10", help="sizes of the stack, comma-separated")
    parser.add_argument("--steps", type=int, default=40, help="of a round, a seed")
    parser.add_argument("--rounds", type=int, default=3, help="of either side, in alternation; the median counts")
    parser.add_argument("--device", default="cpu", help="cpu (one thread) or cuda")
    args = parser.parse_args()
    make_deterministic(1)
    sizes = [int(size) for size in args.seeds.split(",")]
    rows = []
    for dataset in args.datasets.split(","):
        table = open_table(dataset)
        for name in args.models.split(","):
            one, *stacked = _seconds(name, table, sizes, args.steps, args.rounds, args.device)
            ratios = [seconds / one for seconds in stacked]
            rows.append([dataset, name, 1e3 * one / args.steps, *ratios])
            print(f"{dataset} {name}: {', '.join(f'{r:.2f}' for r in ratios)}", file=sys.stderr, flush=True)
    print(
        tabulate(rows, ["data set", "model", "ms a step alone", *(f"{n} stacked / one" for n in sizes)], floatfmt=".2f")
    )
    machine = torch.cuda.get_device_name() if args.device != "cpu" else platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, {args.steps} steps a round")


def _seconds(name: str, table: Table, sizes: list[int], steps: int, rounds: int, device: str) -> list[float]:
    """Median seconds of a round: one seed alone, then a stack of each size."""
    settings = {key: setting.value for key, setting in registry.get(name).settings.items()}
    config, own = TrainConfig.split(settings | {"max_epochs": 1})
    train = training_rows(table, "chronological")
    count = steps * config.batch_size
    part = Rows(train.ids[:count], train.labels[:count], train.users[:count])
    if len(part) < count:
        sys.exit(f"{name}: {steps} steps need {count} rows; the data set has {len(part)}")

    def models(size: int) -> list[IDModel]:
        return [fresh_id_model(name, own, table, seed).to(device) for seed in range(size)]

    def alone(model: IDModel) -> Callable[[], object]:
        return lambda: fit(model, part, config, Streams(0), device=device)

    def stack(found: list[IDModel]) -> Callable[[], object]:
        members = [Member(model, config, Streams(seed)) for seed, model in enumerate(found)]
        return lambda: list(fit_stack(members, part, device=device))

    sides = [alone(models(1)[0]), *(stack(models(size)) for size in sizes)]
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for side, seconds in zip(sides, taken, strict=True):
            start = _clock(device)
            side()
            if turn:  # the first warms up
                seconds.append(_clock(device) - start)
    return [statistics.median(seconds) for seconds in taken]


def _clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
