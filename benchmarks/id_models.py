"""Training speed of the ID-based models, here and in DeepCTR-Torch, on the same rows in one run.

Each side has a process of its own, as its users would run it: here flipbench's fit loop, with matrix products in
float32 and in bfloat16, there ``model.compile("adam", "binary_crossentropy")`` and ``model.fit(...)``, which has
float32 alone. Embeddings, layers, first-order term, L2 on the embeddings, batch size and threads are equal. The sides
take turns, round by round, so that whatever else the machine does hits all; a ratio is the median of the rounds' own.

    python benchmarks/id_models.py --models dcnv2,deepfm --threads 2
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from functools import partial
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any, get_args
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from sides import Round, alternate
from tabulate import tabulate

from flipbench.protocol import Precision

if TYPE_CHECKING:  # torch is imported in the sides' own processes
    from flipbench.train.trainer import Progress

CARDINALITIES = (6040, 2, 7, 21, 3439, 3668, 3668, 18)
"""MovieLens-1M's fields: 16,863 features, and the mask."""
EMBEDDING_L2 = 1e-5
"""DeepCTR-Torch's default: 1e-5 |E|^2 beside the summed BCE."""
MODELS = ("afm", "pnn", "wide_deep", "dcn", "deepfm", "xdeepfm", "autoint", "afn", "dcnv2", "dcnv2_mix")


def rows(count: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Random values [count, F], from 0 in every field, and random labels [count]."""
    draw = np.random.default_rng(0)
    values = np.stack([draw.integers(0, size, count) for size in CARDINALITIES], axis=1)
    return values, draw.integers(0, 2, count, dtype=np.uint8)


def settings(name: str) -> dict[str, Any]:
    """The model's declared settings: what both sides build."""
    from flipbench.plan import registry

    return {key: setting.value for key, setting in registry.get(name).settings.items()}


def ours(name: str, count: int, batch_size: int, threads: int, precision: Precision) -> Round:
    """One epoch of flipbench's fit loop, within one training: what is made once for it is made in the warm-up."""
    import torch

    from flipbench.data.split import Rows
    from flipbench.plan import registry
    from flipbench.plan.settings import TRAINING
    from flipbench.train.config import TrainConfig
    from flipbench.train.id_models import fit
    from flipbench.train.rng import Streams, make_deterministic

    values, labels = rows(count)
    ids = (values + np.cumsum([1, *CARDINALITIES[:-1]])).astype(np.int32)
    train = Rows(ids, labels, ids[:, 0])
    torch.manual_seed(0)
    chosen = {key: value for key, value in settings(name).items() if key not in TRAINING}
    model = registry.get(name).load()(1 + sum(CARDINALITIES), len(CARDINALITIES), **chosen)
    decay = 2 * EMBEDDING_L2 / batch_size
    config = TrainConfig(1e-3, batch_size, max_epochs=sys.maxsize, embedding_l2=decay, precision=precision)

    def training(progress: "Progress") -> None:
        make_deterministic(threads)  # some of it is a thread's own
        fit(model, train, config, Streams(0), progress=progress)

    return Epochs(training)


class Epochs:
    """A training in a thread of its own; every call is its next epoch."""

    def __init__(self, training: "Callable[[Progress], None]") -> None:
        self.begin, self.end = Semaphore(0), Semaphore(0)
        self.ended = False

        def run() -> None:
            try:
                self.begin.acquire()
                training(self.progress)
            finally:
                self.ended = True
                self.end.release()

        Thread(target=run, daemon=True).start()

    def __call__(self) -> None:
        self.begin.release()
        self.end.acquire()
        if self.ended:
            raise RuntimeError("the training ended; its error is above")

    def progress(self, epoch: int, share: float, last: object) -> None:
        """Wait at the end of an epoch for the next to be asked for."""
        if share == 1.0:
            self.end.release()
            self.begin.acquire()


def theirs(name: str, count: int, batch_size: int, threads: int) -> Round:
    """One epoch of DeepCTR-Torch's fit."""
    import torch

    with mock.patch("threading.Thread.start"):  # its import looks for a newer release on the network
        from deepctr_torch import models as deepctr
        from deepctr_torch.inputs import SparseFeat
        from deepctr_torch.models.dcnmix import DCNMix

    torch.set_num_threads(threads)
    values, labels = rows(count)
    own = settings(name)
    columns = [SparseFeat(f"f{i}", size, own["embedding_dim"]) for i, size in enumerate(CARDINALITIES)]
    both = (columns, columns)
    deep = {} if name == "afm" else {"dnn_hidden_units": own["hidden"]}
    build: dict[str, Callable[[], Any]] = {
        "afm": lambda: deepctr.AFM(*both, attention_factor=own["attention_dim"]),
        "pnn": lambda: deepctr.PNN(columns, **deep),
        "wide_deep": lambda: deepctr.WDL(*both, **deep),
        "dcn": lambda: deepctr.DCN(*both, cross_num=own["cross_layers"], **deep),
        "deepfm": lambda: deepctr.DeepFM(*both, **deep),
        "xdeepfm": lambda: deepctr.xDeepFM(*both, cin_layer_size=own["cin"], **deep),
        "autoint": lambda: deepctr.AutoInt(
            *both, att_layer_num=own["attention_layers"], att_head_num=own["heads"], **deep
        ),
        "afn": lambda: deepctr.AFN(*both, ltl_hidden_size=own["log_neurons"], afn_dnn_hidden_units=own["hidden"]),
        "dcnv2": lambda: deepctr.DCN(*both, cross_num=own["cross_layers"], cross_parameterization="matrix", **deep),
        "dcnv2_mix": lambda: DCNMix(
            *both, cross_num=own["cross_layers"], low_rank=own["rank"], num_experts=own["experts"], **deep
        ),
    }
    model = build[name]()
    model.compile("adam", "binary_crossentropy")
    x = {column.name: values[:, i] for i, column in enumerate(columns)}
    y = labels.astype(np.float32)
    return lambda: model.fit(dict(x), y, batch_size=batch_size, epochs=1, verbose=0)


def measure(name: str, count: int, batch_size: int, threads: int, rounds: int) -> dict[str, Any]:
    """Each side's steps per second in its median round, and in either precision the median of ours over theirs."""
    own = [partial(ours, precision=precision) for precision in get_args(Precision)]
    *mine, peer = alternate([*own, theirs], (name, count, batch_size, threads), rounds, len(own))
    steps = -(-count // batch_size)
    found: dict[str, Any] = {"model": name, "deepctr_torch": {"steps/s": steps / peer.median, "seconds": peer.seconds}}
    for precision, side in zip(get_args(Precision), mine, strict=True):
        ratio = statistics.median(t / m for m, t in zip(side.seconds, peer.seconds, strict=True))
        found[precision] = {"steps/s": steps / side.median, "ratio": ratio, "seconds": side.seconds}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Training speed of the ID-based models beside DeepCTR-Torch.")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated; all by default")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of each side; by default 1: flipbench has a worker a core"
    )
    parser.add_argument("--rows", type=int, default=256 * 60, help="rows of an epoch")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each side, in alternation")
    parser.add_argument("--json", action="store_true", help="one JSON object to stdout")
    args = parser.parse_args()
    names = args.models.split(",")
    if unknown := set(names) - set(MODELS):
        parser.error(f"unknown model '{min(unknown)}'; valid: {', '.join(MODELS)}")
    if min(args.threads, args.rows, args.batch_size, args.rounds) < 1:
        parser.error("--threads, --rows, --batch-size and --rounds are whole numbers above 0")

    from importlib.metadata import version

    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "torch": version("torch"),
        "deepctr-torch": version("deepctr-torch"),
        "batch_size": args.batch_size,
        "rows": args.rows,
        "rounds": args.rounds,
    }
    results = []
    for name in names:
        results.append(measure(name, args.rows, args.batch_size, args.threads, args.rounds))
        ratios = ", ".join(f"{results[-1][p]['ratio']:.2f}x in {p}" for p in get_args(Precision))
        print(f"{name}: {ratios}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"machine": machine, "results": results}))
        return
    head = ["model", "DeepCTR-Torch steps/s", "flipbench float32", "ratio", "flipbench bfloat16", "ratio"]
    ours_of = [[r[p][key] for p in get_args(Precision) for key in ("steps/s", "ratio")] for r in results]
    table = [[r["model"], r["deepctr_torch"]["steps/s"], *own] for r, own in zip(results, ours_of, strict=True)]
    print(tabulate(table, head, floatfmt=("", ".0f", ".0f", ".2f", ".0f", ".2f")))
    print(", ".join(f"{key} {value}" for key, value in machine.items()))


if __name__ == "__main__":
    main()
