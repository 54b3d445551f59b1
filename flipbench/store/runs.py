"""Run folders: one per stage, content-addressed, whole or absent.

``ROOT/DATASET/METHOD/ROLE-sSEED-KEY12/`` holds ``spec.json env.json events.jsonl metrics.json
[predictions.parquet] [model.safetensors] DONE``; ``DONE`` lists each file's SHA-256 (weights
excepted: they are rebuilt, not kept in a repository). Work in progress is under ``ROOT/.work``.
A stage that failed leaves ``ROLE-sSEED-KEY12.failed.json`` where its folder would be.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from filelock import FileLock, Timeout

from flipbench.errors import UserError
from flipbench.plan.stage import Stage
from flipbench.printable import json_line
from flipbench.protocol import Metric

WEIGHTS = "model.safetensors"
DONE = "DONE"
DRAWN = "drawn.parquet"
"""Beside the figures of an inspection: what a picture of it is drawn from."""


class Store:
    """The run folders under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Create the folder, or say in one line why it cannot be written."""
        try:
            work = self.root / ".work"
            work.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=work).close()
        except OSError as error:
            raise UserError(f"results folder {self.root} cannot be written: {error.strerror or error}") from None

    def folder(self, stage: Stage) -> Path:
        """Where the stage's run is, or will be."""
        name = f"{stage.role}-s{stage.seed}-{stage.key[:12]}"
        return Path(self.root, stage.dataset, stage.method, name)

    def finished_folders(self, dataset: str = "*") -> Iterator[Path]:
        """The folders of finished runs, in the order of their names."""
        return (done.parent for done in sorted(self.root.glob(f"{dataset}/*/*/{DONE}")))

    def fingerprint(self, dataset: str) -> str | None:
        """Of the data that most finished runs of a data set are of; None without one."""
        specs = (folder / "spec.json" for folder in self.finished_folders(dataset))
        runs = Counter(json.loads(spec.read_text(encoding="utf-8")).get("data") for spec in specs if spec.is_file())
        return runs.most_common(1)[0][0] if runs else None

    def failure_file(self, stage: Stage) -> Path:
        folder = self.folder(stage)
        return folder.with_name(folder.name + ".failed.json")

    def done(self, stage: Stage) -> bool:
        return (self.folder(stage) / DONE).is_file()

    def has_weights(self, stage: Stage) -> bool:
        return self.done(stage) and (self.folder(stage) / WEIGHTS).is_file()

    def failure(self, stage: Stage) -> dict[str, Any] | None:
        """What is recorded of the stage's last failure; None after a success."""
        try:
            return None if self.done(stage) else read_json(self.failure_file(stage))
        except UserError:  # there is none, or it was not written to its end
            return None

    def metrics(self, stage: Stage) -> dict[str, Any]:
        return self.read(stage, "metrics.json")

    def trial_metric(self, trial: Stage, select: Metric) -> float | None:
        """A search's trial as far as it is known: the best epoch's validation metric; NaN failed, None yet to run."""
        if self.done(trial):
            return float(self.metrics(trial)["best"][select])
        return None if self.failure(trial) is None else math.nan

    def read(self, stage: Stage, name: str) -> dict[str, Any]:
        """A JSON file of a finished stage; raises UserError where it is missing or damaged."""
        return read_json(self.folder(stage) / name)

    def check(self, stage: Stage, *names: str) -> None:
        """Compare files of a finished stage with the digests that it was committed with.

        Raises:
            UserError: a file is missing or was changed since, or the folder holds another run than its name says.
        """
        folder, listed = self.folder(stage), self.digests(stage)
        for name in names or tuple(listed):
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: missing from a finished run")
            if listed.get(name) != _sha256(path):
                raise UserError(f"{path}: changed since the run was finished (its digest is not the one in DONE)")
        stored = self.read(stage, "spec.json")
        if stored != stage.spec:
            unlike = ((name, stored.get(name), value) for name, value in sorted(stage.spec.items()))
            other = "; ".join(f"{name} is {there!r}, not {value!r}" for name, there, value in unlike if there != value)
            raise UserError(f"{folder}: holds another run than its name says ({other or 'other keys'})")

    def digests(self, stage: Stage) -> dict[str, str]:
        """SHA-256 by file name, as a finished stage was committed."""
        path = self.folder(stage) / DONE
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    @contextlib.contextmanager
    def claim(self, stage: Stage) -> Iterator[bool]:
        """Hold the stage for this process; yields False where another one holds it.

        The operating system drops the claim with the process, however it ends.
        """
        lock = FileLock(self.root / ".work" / f"{stage.key}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def work(self, stage: Stage) -> Path:
        """The stage's folder while it runs: survives a kill, holds checkpoint and events."""
        path = self.root / ".work" / stage.key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def commit(self, stage: Stage, documents: dict[str, Any]) -> Path:
        """Turn the work folder into the run folder: JSON documents, manifest, one rename.

        Everything in the work folder but the checkpoint becomes part of the run.
        """
        work, final = self.work(stage), self.folder(stage)
        for name, document in {"spec.json": dict(stage.spec), **documents}.items():
            write_json(work / name, document)
        for leftover in work.glob("checkpoint*"):
            leftover.unlink()
        files = sorted(p for p in work.iterdir() if p.name not in (WEIGHTS, DONE))
        _write(work / DONE, "".join(f"{_sha256(p)}  {p.name}\n" for p in files))
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # torn by a copy, or lacking the weights that a child needs
            shutil.rmtree(final)
        work.rename(final)
        self.failure_file(stage).unlink(missing_ok=True)
        return final

    def fail(self, stage: Stage, reason: str, detail: str, env: dict[str, Any]) -> None:
        """Record a failure beside where the run would be; a later success removes it."""
        path = self.failure_file(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"spec": dict(stage.spec), "reason": reason, "detail": detail, "env": env})

    def find(self, key: str) -> list[Path]:
        """Run folders and failure records whose key begins with ``key`` (up to 12 digits are matched)."""
        return sorted(self.root.glob(f"*/*/*-{key[:12]}*"))


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError where the file is missing or damaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); delete its folder and run the suite again") from None


def write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    _write(path, json_line(text) + "\n")  # half a character, as in the name of a file, has no bytes


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
