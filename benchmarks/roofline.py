"""How far the model behind ``flipbench plan --on`` is off where it can be checked: on this machine's CPU.

A profile of this CPU is measured (its product rate, its memory bandwidth, what an operation costs its host), the steps
of the nine ID-based models and of a FLIP pretraining are modelled by it, and beside them stand the steps measured. All
is measured anew each round, in turns, and in seconds of the processor: on one thread those of the clock, less what
other processes take.

    python benchmarks/roofline.py --dataset movielens-1m
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tabulate import tabulate

from flipbench import registry
from flipbench.calibration import machine
from flipbench.data.store import fingerprint
from flipbench.engine.calibrate import measure
from flipbench.engine.count import OpCounter, count
from flipbench.engine.streams import make_deterministic
from flipbench.plan import resolve
from flipbench.roofline import Device, Efficiency, Work
from flipbench.stage import Stage, Where, final

MODELS = ("afm", "pnn", "wide_deep", "dcn", "deepfm", "xdeepfm", "afn", "autoint", "dcnv2")
PRETRAINING = {"plm": "small", "pretrain.batch_size": 256}
PRODUCT = 1024
"""Rows and columns of the product whose rate is taken for the peak."""
COPIED = 32 << 20
"""Elements of the copy whose rate is taken for the bandwidth: 128 MB, far beyond any cache."""


def stages(dataset: str) -> dict[str, Stage]:
    """What is measured, by name."""
    where = Where("held-out", dataset, fingerprint(dataset), "chronological")

    def fitted(method: str, **settings: Any) -> Stage:
        declared = registry.get(method)
        return final(where, declared, resolve(declared, settings), 0).parents["fit"]

    found = {name: fitted(name) for name in MODELS}
    return {**found, "flip pretraining": fitted("flip", **PRETRAINING).parents["pretrain"]}


def profile() -> Device:
    """This CPU on one thread, as measured now; its efficiency is 1, because its peaks are what it reached."""
    rates = {name: product_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    return Device(
        title="this CPU",
        product_tflops=rates,
        bandwidth_tb_s=bandwidth(),
        memory_gb=1.0,
        overhead_us=overhead(),
        efficiency=Efficiency(product=1.0, bandwidth=1.0),
        source={},
        asynchronous=False,
    )


def product_rate(dtype: torch.dtype) -> float:
    """10^12 floating-point operations a second of a large matrix product."""
    matrix = torch.randn(PRODUCT, PRODUCT, dtype=dtype)
    return float(2 * PRODUCT**3) / fastest(lambda: matrix @ matrix) / 1e12


def bandwidth() -> float:
    """10^12 bytes a second of a large copy, those read and those written."""
    source = torch.ones(COPIED)
    target = torch.ones(COPIED)
    return 2 * 4 * COPIED / fastest(lambda: target.copy_(source)) / 1e12


def overhead() -> float:
    """Microseconds of an operation that does next to nothing, in the forward, backward and optimiser of a network."""
    layers = [module for _ in range(20) for module in (torch.nn.Linear(2, 2), torch.nn.ReLU())]
    model, x = torch.nn.Sequential(*layers), torch.ones(1, 2)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        optimiser.zero_grad()
        model(x).sum().backward()
        optimiser.step()

    step()
    counter = OpCounter()
    with counter:
        step()
    return 1e6 * fastest(step) / sum(op.times for op in counter.ops())


def fastest(work: Callable[[], object], seconds: float = 0.3) -> float:
    """Seconds of a call, the fastest of some."""
    taken: list[float] = []
    until = time.process_time() + seconds
    while len(taken) < 3 or time.process_time() < until:
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken[1:])


def rounds(given: dict[str, Stage], works: dict[str, Work], number: int) -> Iterator[dict[str, tuple[float, float]]]:
    """A round's (modelled, measured) seconds a step, by name; the profile is measured before every stage."""
    for _ in range(number):
        found = {}
        for name, stage in given.items():
            here = profile()
            found[name] = here.seconds(works[name].step), measure(stage, "cpu", clock=time.process_time).step
        print(here.model_dump_json(include={"product_tflops", "bandwidth_tb_s", "overhead_us"}), file=sys.stderr)
        yield found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Modelled beside measured step times on this CPU.")
    parser.add_argument("--dataset", default="movielens-1m")
    parser.add_argument("--only", help="comma-separated names; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object to stdout")
    args = parser.parse_args()
    given = stages(args.dataset)
    if unknown := set((args.only or "").split(",")) - {*given, ""}:
        parser.error(f"unknown name '{min(unknown)}'; valid: {', '.join(given)}")
    if args.only:
        given = {name: given[name] for name in args.only.split(",")}
    if args.rounds < 1:
        parser.error("--rounds is a whole number above 0")
    make_deterministic(1)
    works = {name: count(stage, gpu=False) for name, stage in given.items()}
    found = list(rounds(given, works, args.rounds))
    results = []
    for name in given:
        modelled, measured = (statistics.median(figures) for figures in zip(*(one[name] for one in found), strict=True))
        ratios = [one[name][0] / one[name][1] for one in found]
        results.append([name, 1000 * modelled, 1000 * measured, statistics.median(ratios), min(ratios), max(ratios)])
    ratios = [row[3] for row in results]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    if args.json:
        print(json.dumps({"machine": machine(), "results": results, "ratios": [min(ratios), mean, max(ratios)]}))
        return
    columns = ["step of", "modelled ms", "measured ms", "ratio", "least", "most"]
    print(tabulate(results, columns, floatfmt=("", ".2f", ".2f", ".2f", ".2f", ".2f")))
    print(f"modelled / measured: {min(ratios):.2f} to {max(ratios):.2f}, geometric mean {mean:.2f}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
