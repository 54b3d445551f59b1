"""Running a stage: from its specification to a run folder."""

import contextlib
import json
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from pyarrow import parquet
from torch import nn

import flipbench
from flipbench import metrics
from flipbench.data import split
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.errors import UserError, described
from flipbench.methods.base import InspectionMethod
from flipbench.plan import registry
from flipbench.plan.stage import Stage, validation_of
from flipbench.run.tasks import PretrainTask, fit_task
from flipbench.store.manifest import DRAWN, PREDICTIONS
from flipbench.store.predictions import write_predictions
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.history import Epoch, Fitted
from flipbench.train.lr_schedule import plateau_factors
from flipbench.train.rng import make_deterministic
from flipbench.train.weights import save_weights, saved_weights, weights_sha256

Tick = Callable[[dict[str, Any]], None]
"""Called a few times a second with the stage's position: epoch, epochs, share of the epoch, last figures."""


TICK_SECONDS = 0.3
"""Least time between two ticks within an epoch."""


def run_stage(stage: Stage, store: Store, device: str, threads: int, tick: Tick | None = None) -> dict[str, Any]:
    """Run one stage to its run folder and return its metrics.

    A stage that is already done is left alone. A failure is recorded in the store and raised again.

    Raises:
        UserError: the user's data or device is at fault.
        Exception: whatever the stage died of.
    """
    if store.done(stage) and (store.has_weights(stage) or not stage.leaves_weights):
        return store.metrics(stage)
    try:
        make_deterministic(threads)
        run = StageRun(stage, store, device, threads)
    except Exception as error:  # no work folder to be had
        _record(stage, store, error, {"device": device})
        raise
    with run:
        try:
            return run.done(ROLES.get(stage.role, inspect)(run, tick))
        except Exception as error:
            run.failed(error)
            raise


class StageRun:
    """A stage while it runs: its work folder, its log, and how it ends."""

    def __init__(self, stage: Stage, store: Store, device: str, threads: int) -> None:
        self.stage, self.store, self.device, self.threads = stage, store, device, threads
        self.work = store.work(stage)
        self._started = time.perf_counter()
        self.checkpoint = Checkpoint(self.work / "checkpoint.pt", stage.key, spent=self._spent)
        self._log = (self.work / "events.jsonl").open("a", encoding="utf-8")
        if self._log.tell():
            self._log.write("\n")  # a killed run may have left half a line
        self.event("start", stage=str(stage), device=device, threads=threads)

    def __enter__(self) -> "StageRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def event(self, kind: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.write(json.dumps({"time": now, "event": kind, **fields}) + "\n")
        self._log.flush()

    def done(self, result: dict[str, Any], seconds: float | None = None, **circumstances: Any) -> dict[str, Any]:
        """Commit the run folder; returns ``result``. ``seconds``: this process's share, if not all since the start."""
        self.event("done")
        self._log.close()
        env = self._environment(seconds, circumstances)
        self.store.commit(self.stage, {"metrics.json": result, "env.json": env})
        return result

    def keep_weights(self, model: nn.Module) -> str:
        """The digest of what a stage ends with, written beside its metrics where a child reads it.

        Raises:
            UserError: the stage was done before with other weights, and another finished stage was made from those.
        """
        digest = weights_sha256(model.state_dict())
        self._check_weights(digest)
        if self.stage.leaves_weights:
            save_weights(model, self.work)
        return digest

    def _check_weights(self, digest: str) -> None:
        """Where the stage was done before and runs again for its weights, nothing rests on others than these."""
        stage, store = self.stage, self.store
        if not store.done(stage) or (recorded := store.metrics(stage)["weights"]) == digest:
            return
        for child in store.finished(stage.dataset):
            if stage.key in child.spec["parents"].values():
                raise UserError(
                    f"{store.folder(stage)}: made again for its weights, which are not those recorded ({digest[:12]}, "
                    f"not {recorded[:12]}: another processor or torch); use another --results folder, or delete what "
                    f"was made from the first, {store.folder(child)} and whatever else"
                )
        self.event("other weights", recorded=recorded, weights=digest)

    def failed(self, error: Exception, seconds: float | None = None, **circumstances: Any) -> None:
        """Record the failure in the store."""
        with contextlib.suppress(OSError, ValueError):  # a disk that is full, a log that is closed already
            self.event("failed", reason=described(error))
        try:
            env = self._environment(seconds, circumstances)
        except Exception:  # a GPU that the stage died of answers no question
            env = {"device": self.device, "seconds": round(self._spent(), 3), **circumstances}
        _record(self.stage, self.store, error, env)

    def progress(self, epochs: int, tick: Tick | None) -> Callable[[int, float, Any], None]:
        """Passes a loop's position on: a finished epoch to the log, the rest to the display, a few times a second."""
        seen, ticked = -1, 0.0

        def progress(epoch: int, share: float, last: Epoch | None) -> None:
            nonlocal seen, ticked
            if last is not None and last.epoch > seen:
                seen = last.epoch
                self.event("epoch", **last.as_dict())
            if tick and (share == 1.0 or time.monotonic() - ticked > TICK_SECONDS):
                ticked = time.monotonic()
                tick({"epoch": epoch, "epochs": epochs, "share": share, "auc": last and last.auc})

        return progress

    def _environment(self, seconds: float | None, circumstances: dict[str, Any]) -> dict[str, Any]:
        spent = self.checkpoint.earlier + (self._spent() if seconds is None else seconds)
        return {**environment(self.device, self.threads, spent), **circumstances}

    def _spent(self) -> float:
        return time.perf_counter() - self._started


def _record(stage: Stage, store: Store, error: Exception, env: dict[str, Any]) -> None:
    """Record what a stage died of; a disk that has no room for it must not hide the error itself."""
    with contextlib.suppress(OSError):
        store.fail(stage, described(error), "".join(traceback.format_exception(error)), env)


class Fit:
    """A training with labels, as it starts from its stage, and what is kept of it."""

    def __init__(self, run: StageRun) -> None:
        stage, store = run.stage, run.store
        table = _table(stage)
        self.run, self.task = run, fit_task(stage, table, store, run.device)
        self.valid: Rows | None = None
        self.rate_factors: list[float] = []
        if stage.role == "refit":
            selected = store.metrics(stage.parents["select"])
            self.epochs = store.best(stage.parents["select"])["epoch"] + 1
            if stage.spec["settings"].get("decay") == "plateau":
                self.rate_factors = plateau_factors([epoch["auc"] for epoch in selected["history"]])
            self.train = split.training_rows(table, stage.spec["order"])
        else:
            self.epochs, spec = self.task.max_epochs, stage.spec
            self.train, self.valid = split.selection_rows(table, spec["order"], spec["protocol"], validation_of(spec))
        self.model = self.task.build()
        self.initial = weights_sha256(self.model.state_dict())
        self.parameters = sum(p.numel() for p in self.model.parameters())
        run.event("built", initial_weights=self.initial, parameters=self.parameters)

    def result(self, fitted: Fitted) -> dict[str, Any]:
        """The metrics; the weights are written beside them where a child reads them."""
        return {
            "best": fitted.best.as_dict(),
            "history": [epoch.as_dict() for epoch in fitted.history],
            "initial_weights": self.initial,
            "weights": self.run.keep_weights(self.model),
            "parameters": self.parameters,
            "rows": {"train": len(self.train), "valid": 0 if self.valid is None else len(self.valid)},
        }


def fit(run: StageRun, tick: Tick | None) -> dict[str, Any]:
    """Train with labels: ``select``, ``refit`` and ``fit``."""
    training = Fit(run)
    progress = run.progress(training.epochs, tick)
    fitted = training.task.fit(
        training.model,
        training.train,
        training.valid,
        training.epochs,
        training.rate_factors,
        run.checkpoint,
        progress,
    )
    return training.result(fitted)


def pretrain(run: StageRun, tick: Tick | None) -> dict[str, Any]:
    """Pretrain on the training rows, without their labels."""
    table = _table(run.stage)
    rows = split.training_rows(table, run.stage.spec["order"])
    task = PretrainTask(run.stage, table, rows, run.device)
    run.event("built", parameters=sum(p.numel() for p in task.model.parameters()))
    fitted = task.run(run.checkpoint, run.progress(task.config.max_epochs, tick))
    return {
        "best": fitted.best.as_dict(),
        "history": [epoch.as_dict() for epoch in fitted.history],
        "weights": run.keep_weights(task.model),
        "rows": {"train": len(rows)},
    }


def evaluate(run: StageRun, tick: Tick | None) -> dict[str, Any]:
    """Score the test rows: the one place where test labels are read under the held-out protocol."""
    stage, store = run.stage, run.store
    table, parent = _table(stage), stage.parents["fit"]
    task = fit_task(stage, table, store, run.device)
    model = task.build()
    model.load_state_dict(saved_weights(store, parent))
    rows = split.test_rows(table, stage.spec["order"])
    logits = task.predict(model, rows)
    write_predictions(run.work / PREDICTIONS, rows, logits)
    known = stage.spec["order"] == "chronological" and "bayes_auc" in table.meta
    return {
        **({"bayes_auc": table.meta["bayes_auc"]} if known else {}),
        "auc": metrics.auc(rows.labels, logits),
        "logloss": metrics.logloss(rows.labels, logits),
        "rows": len(rows),
        "positives": int(rows.labels.sum()),
        "epochs": store.best(parent)["epoch"] + 1,
    }


def inspect(run: StageRun, tick: Tick | None) -> dict[str, Any]:
    """Measure a pretraining by a registered inspection; no labels are read."""
    method: type[InspectionMethod] = registry.inspection(run.stage.role).load()
    measured, drawn = method.measure(run.stage, _table(run.stage), run.store, run.device)
    parquet.write_table(drawn, run.work / DRAWN, compression="zstd", compression_level=19, write_statistics=False)
    return measured


ROLES = {"pretrain": pretrain, "select": fit, "refit": fit, "fit": fit, "evaluate": evaluate}
"""What runs a stage, by role; every other role is a registered inspection's."""

_tables: dict[tuple[str, str], Table] = {}


def _table(stage: Stage) -> Table:
    """The stage's prepared table, its bytes checked once a process."""
    name, fingerprint = wanted = stage.dataset, str(stage.spec["data"])
    if wanted not in _tables:
        _tables[wanted] = open_table(name, fingerprint=fingerprint)
    table = _tables[wanted]
    if table.fingerprint != stage.spec["data"]:
        raise UserError(
            f"{table.folder}: its content is {table.fingerprint[:12]}, the plan was made for {stage.spec['data'][:12]}"
        )
    return split.of_users(table, stage.spec.get("users", 1.0))


def environment(device: str, threads: int, seconds: float) -> dict[str, Any]:
    """Where and how fast: what does not determine a result but belongs to its evidence."""
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    env = {
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
        env["peak_device_memory_mb"] = round(torch.cuda.max_memory_allocated() / (1 << 20))
    return env
