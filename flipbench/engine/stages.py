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
from safetensors.torch import load_file, save_file

import flipbench
from flipbench import metrics, registry
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.fit import Epoch, Recipe, fit, predict, weights_sha256
from flipbench.engine.predictions import write_predictions
from flipbench.engine.streams import Streams, make_deterministic
from flipbench.errors import UserError
from flipbench.method import TRAINING
from flipbench.nn.id_model import IDModel
from flipbench.plan import Stage
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
    if store.done(stage) and not (stage.role in ("refit", "fit") and not store.has_weights(stage)):
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
            run = _evaluate if stage.role == "evaluate" else _fit
            result = run(stage, store, work, device, event, tick)
            event("done")
        except Exception as error:
            event("failed", reason=f"{type(error).__name__}: {error}")
            env = environment(device, threads, time.perf_counter() - started)
            store.fail(stage, f"{type(error).__name__}: {error}", traceback.format_exc(), env)
            raise
    env = environment(device, threads, time.perf_counter() - started)
    store.commit(stage, {"metrics.json": result, "env.json": env})
    return result


def build(stage: Stage, features: int, fields: int) -> IDModel:
    """The stage's model with fresh weights, drawn from its stream ``init``."""
    declared = registry.get(stage.method)
    own = {name: value for name, value in stage.spec["settings"].items() if name not in TRAINING}
    torch.manual_seed(Streams(stage.seed).seed_of("init"))
    model: IDModel = declared.load()(features, fields, **own)
    return model


def recipe_of(stage: Stage) -> Recipe:
    """How the stage's settings say that a model is trained."""
    return Recipe(**{name: stage.spec["settings"][name] for name in TRAINING})


def _fit(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    table, recipe = _table(stage), recipe_of(stage)
    if stage.role == "refit":
        epochs = int(store.metrics(stage.parents["select"])["best"]["epoch"]) + 1
        recipe = Recipe(**{**asdict(recipe), "max_epochs": epochs})
        train, valid = split.training_rows(table, stage.spec["order"]), None
    else:
        train, valid = split.selection_rows(table, stage.spec["order"], stage.spec["protocol"])
    model = build(stage, table.num_features, len(table.fields))
    initial = weights_sha256(model)
    event("built", initial_weights=initial, parameters=sum(p.numel() for p in model.parameters()))
    seen, ticked = [-1], [0.0]

    def progress(epoch: int, share: float, last: Epoch | None) -> None:
        if last is not None and last.epoch > seen[0]:
            seen[0] = last.epoch
            event("epoch", **asdict(last))
        if tick and (share == 1.0 or time.monotonic() - ticked[0] > 0.3):
            ticked[0] = time.monotonic()
            tick({"epoch": epoch, "epochs": recipe.max_epochs, "share": share, "auc": last and last.auc})

    checkpoint = Checkpoint(work / "checkpoint.pt", stage.key)
    fitted = fit(
        model,
        train,
        recipe,
        Streams(stage.seed),
        valid=valid,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    if stage.role != "select":  # a selection's weights serve nobody: only its epoch count is read
        save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, work / WEIGHTS)
    return {
        "best": asdict(fitted.best),
        "history": [asdict(e) for e in fitted.history],
        "initial_weights": initial,
        "weights": weights_sha256(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": {"train": len(train.labels), "valid": 0 if valid is None else len(valid.labels)},
    }


def _evaluate(
    stage: Stage, store: Store, work: Path, device: str, event: Callable[..., None], tick: Tick | None
) -> dict[str, Any]:
    """Score the test rows: the one place where test labels are read under the held-out protocol."""
    table, parent = _table(stage), stage.parents["fit"]
    model = build(stage, table.num_features, len(table.fields))
    model.load_state_dict(load_file(store.folder(parent) / WEIGHTS))
    fitted = store.metrics(parent)
    if weights_sha256(model) != fitted["weights"]:
        raise UserError(f"{store.folder(parent) / WEIGHTS}: not the weights that this run recorded; delete the folder")
    rows = split.test_rows(table, stage.spec["order"])
    logits = predict(model, rows, device)
    write_predictions(work / "predictions.parquet", rows, logits)
    known = stage.spec["order"] == "chronological" and "bayes_auc" in table.meta
    return {
        **({"bayes_auc": table.meta["bayes_auc"]} if known else {}),
        "auc": metrics.auc(rows.labels, logits),
        "logloss": metrics.logloss(rows.labels, logits),
        "rows": len(rows.labels),
        "positives": int(rows.labels.sum()),
        "epochs": fitted["best"]["epoch"] + 1,
    }


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
    return table


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
