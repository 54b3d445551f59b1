"""Running a stage: from its specification to a run folder."""

import json
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import flipbench
from flipbench import metrics
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.fit import weights_sha256
from flipbench.engine.predictions import write_predictions
from flipbench.engine.streams import make_deterministic
from flipbench.engine.tasks import pretraining_of, saved_weights, task_of
from flipbench.errors import UserError
from flipbench.stage import INSPECTIONS, Stage
from flipbench.store.runs import WEIGHTS, Store

Tick = Callable[[dict[str, Any]], None]
"""Called a few times a second with the stage's position: epoch, epochs, share of the epoch, last figures."""


def run_stage(stage: Stage, store: Store, device: str, threads: int, tick: Tick | None = None) -> dict[str, Any]:
    """Run one stage to its run folder and return its metrics.

    A stage that is already done is left alone. A failure is recorded in the store and raised again.

    Raises:
        UserError: the user's data or device is at fault.
        Exception: whatever the stage died of.
    """
    if store.done(stage) and (store.has_weights(stage) or not stage.leaves_weights):
        return store.metrics(stage)
    make_deterministic(threads)
    work = store.work(stage)
    started = time.perf_counter()
    with (work / "events.jsonl").open("a", encoding="utf-8") as log:

        def event(kind: str, **fields: Any) -> None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            log.write(json.dumps({"time": now, "event": kind, **fields}) + "\n")
            log.flush()

        if log.tell():
            log.write("\n")  # a killed run may have left half a line
        event("start", stage=str(stage), device=device, threads=threads)
        try:
            result = _RUN.get(stage.role, _fit)(stage, store, work, device, event, tick)
            event("done")
        except Exception as error:
            event("failed", reason=f"{type(error).__name__}: {error}")
            env = environment(device, threads, time.perf_counter() - started)
            store.fail(stage, f"{type(error).__name__}: {error}", traceback.format_exc(), env)
            raise
    env = environment(device, threads, time.perf_counter() - started)
    store.commit(stage, {"metrics.json": result, "env.json": env})
    return result


def _fit(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    table = _table(stage)
    task = task_of(stage, table, store, device)
    if stage.role == "refit":
        epochs = int(store.metrics(stage.parents["select"])["best"]["epoch"]) + 1
        train, valid = split.training_rows(table, stage.spec["order"]), None
    else:
        epochs = task.max_epochs
        train, valid = split.selection_rows(table, stage.spec["order"], stage.spec["protocol"])
    model = task.build()
    initial, parameters = weights_sha256(model.state_dict()), sum(p.numel() for p in model.parameters())
    event("built", initial_weights=initial, parameters=parameters)
    fitted = task.fit(
        model,
        train,
        valid,
        epochs,
        Checkpoint(work / "checkpoint.pt", stage.key),
        _progress(epochs, event, tick),
    )
    if stage.leaves_weights:
        _save_weights(model, work)
    return {
        "best": asdict(fitted.best),
        "history": [asdict(e) for e in fitted.history],
        "initial_weights": initial,
        "weights": weights_sha256(model.state_dict()),
        "parameters": parameters,
        "rows": {"train": len(train), "valid": 0 if valid is None else len(valid)},
    }


def _pretrain(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    """Pretrain on the training rows, without their labels."""
    table = _table(stage)
    rows = split.training_rows(table, stage.spec["order"])
    task = pretraining_of(stage, table, rows, device)
    event("built", parameters=sum(p.numel() for p in task.model.parameters()))
    checkpoint = Checkpoint(work / "checkpoint.pt", stage.key)
    history = task.run(checkpoint, _progress(task.epochs, event, tick))
    _save_weights(task.model, work)
    return {
        "best": asdict(history[-1]),
        "history": [asdict(e) for e in history],
        "weights": weights_sha256(task.model.state_dict()),
        "rows": {"train": len(rows)},
    }


def _evaluate(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    """Score the test rows: the one place where test labels are read under the held-out protocol."""
    table, parent = _table(stage), stage.parents["fit"]
    task = task_of(stage, table, store, device)
    model = task.build()
    model.load_state_dict(saved_weights(store, parent))
    rows = split.test_rows(table, stage.spec["order"])
    logits = task.predict(model, rows)
    write_predictions(work / "predictions.parquet", rows, logits)
    known = stage.spec["order"] == "chronological" and "bayes_auc" in table.meta
    return {
        **({"bayes_auc": table.meta["bayes_auc"]} if known else {}),
        "auc": metrics.auc(rows.labels, logits),
        "logloss": metrics.logloss(rows.labels, logits),
        "rows": len(rows),
        "positives": int(rows.labels.sum()),
        "epochs": store.metrics(parent)["best"]["epoch"] + 1,
    }


def _inspect(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    """Measure a pretraining; no labels are read."""
    from flipbench.flip.inspect import inspect

    return inspect(stage, _table(stage), store, work, device)


def _progress(epochs: int, event: Callable[..., None], tick: Tick | None) -> Callable[[int, float, Any], None]:
    """Passes a loop's position on: every finished epoch to the log, the rest to the display a few times a second."""
    seen, ticked = -1, 0.0

    def progress(epoch: int, share: float, last: Any) -> None:
        nonlocal seen, ticked
        closed = last is not None and (share == 1.0 or last.epoch < epoch)
        if closed and last.epoch > seen:
            seen = last.epoch
            event("epoch", **asdict(last))
        if tick and (share == 1.0 or time.monotonic() - ticked > 0.3):
            ticked = time.monotonic()
            auc = getattr(last, "auc", None)
            tick({"epoch": epoch, "epochs": epochs, "share": share, "auc": auc})

    return progress


def _save_weights(model: torch.nn.Module, work: Path) -> None:
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    first = {tensor.data_ptr(): name for name, tensor in reversed(weights.items())}
    # safetensors refuses tensors that share memory, as T5's tied embeddings do: each is written out
    save_file({n: t if first[t.data_ptr()] == n else t.clone() for n, t in weights.items()}, work / WEIGHTS)


_tables: dict[str, Table] = {}


def _table(stage: Stage) -> Table:
    """The stage's prepared table, its bytes checked once a process."""
    if stage.dataset not in _tables:
        _tables[stage.dataset] = open_table(stage.dataset)
    table = _tables[stage.dataset]
    if table.fingerprint != stage.spec["data"]:
        raise UserError(
            f"{table.folder}: its content is {table.fingerprint[:12]}, the plan was made for {stage.spec['data'][:12]}"
        )
    return split.of_users(table, stage.spec.get("users", 1.0))


def environment(device: str, threads: int, seconds: float) -> dict[str, Any]:
    """Where and how fast: what does not determine a result but belongs to its evidence."""
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {
        "flipbench": flipbench.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device if device == "cpu" else torch.cuda.get_device_name(torch.device(device)),
        "threads": threads,
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_kb / (1 << 20 if sys.platform == "darwin" else 1 << 10)),
    }
    if device != "cpu":
        found["peak_device_memory_mb"] = round(torch.cuda.max_memory_allocated() / (1 << 20))
    return found


_RUN = {"pretrain": _pretrain, "evaluate": _evaluate, **dict.fromkeys(INSPECTIONS, _inspect)}
"""What runs a stage, by role; all other roles fit a model."""
