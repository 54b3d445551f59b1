"""GoodReads at any size: preparing generated raw files, beside a plain pandas read of the same files in the same run.

Each part has a process of its own, whose peak memory is printed. With ``--tokens FOLDER`` also the token store, with
the tokenizer of that PLM folder; with ``--train MODEL,…`` the steps of these models on it, and on MovieLens-1M where
``$FLIPBENCH_HOME`` has it prepared; without L2 on the embeddings, as released for GoodReads.

    python benchmarks/goodreads.py --rows 1000000 --folder goodreads --train dcnv2
"""

import argparse
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

BATCH = 256
ROWS_READ = 100_000
"""Rows that pandas reads at a time: the files as a whole do not fit in memory."""


def generate(folder: Path, rows: int) -> dict[str, Any]:
    from goodreads_generator import generate

    if not folder.exists():
        generate(folder, rows)
    return {"gzip MB": round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6)}


def prepare(folder: Path) -> dict[str, Any]:
    """From raw files to the stored table."""
    from flipbench.data.fetch import import_from

    table = import_from("goodreads", folder)
    stored = sum(file.stat().st_size for file in table.folder.iterdir())
    return {"rows": len(table), "features": table.num_features - 1, "table MB": round(stored / 1e6)}


def read_with_pandas(folder: Path) -> dict[str, Any]:
    """Every line of the five files as pandas reads it; nothing is kept or encoded."""
    import pandas as pd

    lines = 0
    for file in sorted(folder.iterdir()):
        with pd.read_json(file, lines=True, chunksize=ROWS_READ, dtype=False, convert_dates=False) as chunks:
            lines += sum(len(chunk) for chunk in chunks)
    return {"lines": lines}


def tokens(folder: Path, plm: Path) -> dict[str, Any]:
    """The token store of the prepared table."""
    import torch

    from flipbench.data.store import open_table
    from flipbench.text.tokenizer import from_folder
    from flipbench.text.tokens import TokenStore

    table = open_table("goodreads")
    store = TokenStore.build(table, from_folder(plm, plm.name))
    sample = torch.from_numpy(table.ids[:: max(1, len(table) // 100_000)])
    return {
        "store MB": round(sum(t.nbytes for t in vars(store).values() if isinstance(t, torch.Tensor)) / 1e6),
        "tokens a row": round(float(store.lengths(sample).float().mean()), 1),
    }


def train(folder: Path, name: str, model: str, steps: int) -> dict[str, Any]:
    """Milliseconds a step by part, and the embedding tables' memory with their gradient and Adam's two moments."""
    import numpy as np
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from flipbench.data.store import open_table
    from flipbench.plan import registry
    from flipbench.train.config import TrainConfig
    from flipbench.train.id_models import adam
    from flipbench.train.rng import make_deterministic
    from flipbench.train.row_adam import EARLY_STEPS, RowAdam

    make_deterministic(1)
    table = open_table(name, verify=False)
    declared = registry.get(model)
    settings = {key: setting.value for key, setting in declared.settings.items()}  # type: ignore[union-attr]
    config, own = TrainConfig.split(settings | {"embedding_l2": 0.0})
    torch.manual_seed(0)
    network = declared.load()(table.num_features, len(table.fields), **own)
    optimizer = adam(network, config)
    ids, labels = torch.from_numpy(table.ids), torch.from_numpy(table.labels)
    order = torch.randperm(len(table))
    parts = []
    for step in range(EARLY_STEPS + steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        marks = [time.perf_counter()]
        batch, targets = ids[rows], labels[rows].float()
        if isinstance(optimizer, RowAdam):
            optimizer.catch_up(batch)
        marks.append(time.perf_counter())
        loss = binary_cross_entropy_with_logits(network(batch), targets)
        marks.append(time.perf_counter())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        parts.append(np.diff(marks))
    names = ("rows ms", "forward ms", "backward ms", "optimizer ms")
    medians = np.median(parts[EARLY_STEPS:], axis=0) * 1e3  # the first steps map memory, and see features new to them
    tables = sum(p.nbytes for p in network.embedding_tables())
    kept = sum(t.nbytes for p in network.embedding_tables() for t in optimizer.state[p].values())
    gradient = 0 if isinstance(optimizer, RowAdam) else tables
    parts_ms = {key: round(float(value), 2) for key, value in zip(names, medians, strict=True)}
    return (
        {"tables MB": round(tables / 1e6), "with Adam MB": round((tables + kept + gradient) / 1e6)}
        | parts_ms
        | {"step ms": round(float(medians.sum()), 2)}
    )


def measured(part: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """A part's figures, seconds and peak memory, from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (part, given))


def _measure(part: Callable[..., dict[str, Any]], given: tuple[Any, ...]) -> dict[str, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    figures = part(*given)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = {"seconds": round(time.perf_counter() - wall, 1), "CPU seconds": round(time.process_time() - processor, 1)}
    return (
        {"part": " ".join([part.__name__, *(given[1:3] if part is train else ())])}
        | spent
        | {"peak MB": round(usage.ru_maxrss / 1024)}
        | figures
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="GoodReads at any size, on generated files.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rated interactions")
    parser.add_argument("--folder", type=Path, required=True, help="for raw files and the table; kept")
    parser.add_argument("--tokens", type=Path, metavar="PLM", help="folder of a PLM whose tokenizer to use")
    parser.add_argument("--train", metavar="MODEL,…", help="ID-based models to time, dcnv2 for one")
    parser.add_argument("--against", default="movielens-1m", help="the prepared table to compare its steps with")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--without-pandas", action="store_true")
    args = parser.parse_args()
    raw, before = args.folder / "raw", os.environ.get("FLIPBENCH_HOME")
    os.environ["FLIPBENCH_HOME"] = str(args.folder / "home")
    figures = [measured(generate, raw, args.rows), measured(prepare, raw)]
    figures += [] if args.without_pandas else [measured(read_with_pandas, raw)]
    figures += [measured(tokens, raw, args.tokens)] if args.tokens else []
    models = args.train.split(",") if args.train else []
    figures += [measured(train, raw, "goodreads", model, args.steps) for model in models]
    for figure in figures:
        if figure["part"] in ("prepare", "read_with_pandas"):
            figure["rows/s"] = round(args.rows / figure["seconds"])
    if before:
        os.environ["FLIPBENCH_HOME"] = before
        figures += [measured(train, raw, args.against, model, args.steps) for model in models]
    print(tabulate([[key, value] for figure in figures for key, value in figure.items()], tablefmt="plain"))
    (args.folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
