"""Run folders: one per stage, content-addressed, whole or absent.

``ROOT/DATASET/METHOD/ROLE-sSEED-KEY12/`` holds ``spec.json env.json events.jsonl metrics.json
[predictions.parquet] [model.safetensors] DONE``; ``DONE`` lists each file's SHA-256 (weights
excepted: they are rebuilt, not kept in a repository). Work in progress is under ``ROOT/.work``.
Symbolic links inside ``ROOT`` are not followed: a folder that someone else sent names no file of this machine.
A stage that failed leaves ``ROLE-sSEED-KEY12.failed.json`` where its folder would be.
"""

import contextlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeGuard

from filelock import FileLock, Timeout

from flipbench.errors import DamagedError, UserError
from flipbench.plan.stage import Stage
from flipbench.printable import json_line
from flipbench.protocol import Metric
from flipbench.store.manifest import DONE, PARTIAL, WEIGHTS, files_of, read_manifest, sha256_of, write_manifest

_FIELDS = {"data", "dataset", "method", "order", "parents", "role", "seed", "settings", "version"}
"""Of every specification."""


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

    def finished_folders(self, dataset: str = "*", method: str = "*", role: str = "*") -> Iterator[Path]:
        """The folders of finished runs, in the order of their names."""
        found = sorted(self.root.glob(f"{dataset}/{method}/{role}-s*/{DONE}"))
        return (done.parent for done in found if not self._link(done))

    def finished(self, dataset: str = "*", method: str = "*", role: str = "*") -> Iterator[Stage]:
        """The finished runs in the order of their folders' names; raises as :meth:`stage_at`."""
        return map(self.stage_at, self.finished_folders(dataset, method, role))

    def stage_at(self, folder: Path) -> Stage:
        """The run in a folder, without its parents.

        Raises:
            DamagedError: its specification is damaged, or of another run than the folder's name says.
        """
        spec = self.document(folder / "spec.json")
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            stage = Stage(spec["role"], spec)
            has_all = spec.keys() >= _FIELDS and ("protocol" in spec or stage.role != "evaluate")
            if has_all and isinstance(spec["parents"], dict) and self.folder(stage) == folder:
                return stage
        raise DamagedError(f"{folder}: holds another run than its name says")

    def fingerprint(self, dataset: str) -> str | None:
        """Of the data that most finished runs of a data set are of; None without one.

        Raises:
            DamagedError: as :meth:`stage_at`.
        """
        runs = Counter(str(stage.spec["data"]) for stage in self.finished(dataset))
        return runs.most_common(1)[0][0] if runs else None

    def failure_file(self, stage: Stage) -> Path:
        folder = self.folder(stage)
        return folder.with_name(folder.name + ".failed.json")

    def done(self, stage: Stage) -> bool:
        return (self.folder(stage) / DONE).is_file()

    def has_weights(self, stage: Stage) -> bool:
        path = self.folder(stage) / WEIGHTS
        return self.done(stage) and path.is_file() and not path.is_symlink()

    def failure(self, stage: Stage) -> dict[str, Any] | None:
        """What is recorded of the stage's last failure; None after a success."""
        try:
            record = None if self.done(stage) else self.document(self.failure_file(stage))
        except UserError:  # there is none, or it was not written to its end
            return None
        whole = record and isinstance(record.get("reason"), str) and isinstance(record.get("env"), dict)
        return record if whole else None

    def metrics(self, stage: Stage) -> dict[str, Any]:
        """A finished run's figures, as it recorded them.

        Raises:
            DamagedError: as :meth:`read`, or one of them is no number.
        """
        document = self.read(stage, "metrics.json")
        figures = document.items() if stage.role == "evaluate" else _figures(document)
        for name, value in figures:
            if not is_number(value):
                where = self.folder(stage) / "metrics.json"
                raise DamagedError(f"{where}: {name} is {json.dumps(value)[:40]}, no number")
        return document

    def best(self, stage: Stage) -> dict[str, Any]:
        """The figures of the epoch whose weights a finished training kept.

        Raises:
            DamagedError: as :meth:`metrics`, or there are none.
        """
        best = self.metrics(stage).get("best")
        if not isinstance(best, dict) or not isinstance(epoch := best.get("epoch"), int) or epoch < 0:
            raise DamagedError(f"{self.folder(stage) / 'metrics.json'}: has no figures of a best epoch")
        return best

    def env(self, stage: Stage) -> dict[str, Any]:
        """Where, with what and how long a finished run was made.

        Raises:
            DamagedError: as :meth:`read`, or the seconds are no number or the device is no text.
        """
        document = self.read(stage, "env.json")
        if not is_number(document.get("seconds", 0.0)) or not isinstance(document.get("device", "cpu"), str):
            raise DamagedError(f"{self.folder(stage) / 'env.json'}: seconds are no number, or device is no text")
        return document

    def trial_metric(self, trial: Stage, select: Metric) -> float | None:
        """A search's trial as far as it is known: the best epoch's validation metric; NaN failed, None yet to run.

        Raises:
            DamagedError: as :meth:`best`, or there is no such figure.
        """
        if not self.done(trial):
            return None if self.failure(trial) is None else math.nan
        if not is_number(value := self.best(trial).get(select)):
            raise DamagedError(f"{self.folder(trial) / 'metrics.json'}: has no {select} of its best epoch")
        return float(value)

    def read(self, stage: Stage, name: str) -> dict[str, Any]:
        """A JSON file of a finished stage.

        Raises:
            DamagedError: it is missing or damaged, or was changed since the run was finished.
        """
        document = self.document(path := self.folder(stage) / name)
        self._compare(path, self.digests(stage))
        return document

    def check(self, stage: Stage, *names: str) -> None:
        """Compare files of a finished stage with the digests that it was committed with; without names, all it has.

        Raises:
            DamagedError: a file is missing or was changed since, or the folder holds another run than its name says.
        """
        folder, listed = self.folder(stage), self.digests(stage)
        for name in names or files_of(stage.role):
            self._compare(folder / name, listed)
        stored = self.read(stage, "spec.json")
        if stored != stage.spec:
            unlike = ((name, stored.get(name), value) for name, value in sorted(stage.spec.items()))
            other = "; ".join(f"{name} is {there!r}, not {value!r}" for name, there, value in unlike if there != value)
            raise DamagedError(f"{folder}: holds another run than its name says ({other or 'other keys'})")

    def digests(self, stage: Stage) -> dict[str, str]:
        """SHA-256 by file name, as a finished stage was committed; raises DamagedError where that cannot be read."""
        path = self.folder(stage) / DONE
        self._refuse_link(path)
        return read_manifest(path, stage.role)

    def _compare(self, path: Path, listed: dict[str, str]) -> None:
        """Raises DamagedError where a file is not the one that was listed."""
        self._refuse_link(path)
        if not path.is_file():
            raise DamagedError(f"{path}: missing from a finished run")
        if path.name not in listed:
            raise DamagedError(f"{path}: not listed in {DONE}, so that nothing says whether it was changed")
        if listed[path.name] != sha256_of(path):
            raise DamagedError(f"{path}: changed since the run was finished (its digest is not the one in DONE)")

    def document(self, path: Path) -> dict[str, Any]:
        """A JSON file of the store, behind no link; raises DamagedError as :func:`read_json`."""
        self._refuse_link(path)
        return read_json(path)

    def _link(self, path: Path) -> Path | None:
        """The symbolic link that a path in the store leads through."""
        inside = path.relative_to(self.root)
        return next((p for p in (path, *path.parents[: len(inside.parts) - 1]) if p.is_symlink()), None)

    def _refuse_link(self, path: Path) -> None:
        if link := self._link(path):
            raise DamagedError(f"{link}: a symbolic link; inside a results folder none is followed, copy the files")

    @contextlib.contextmanager
    def claim(self, stage: Stage) -> Iterator[bool]:
        """Hold the stage for this process; yields False where another one holds it.

        The operating system drops the claim with the process, however it ends.
        """
        self._refuse_link(path := self.root / ".work" / f"{stage.key}.lock")  # it would be emptied
        lock = FileLock(path)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def work(self, stage: Stage) -> Path:
        """The stage's folder while it runs: survives a kill, holds checkpoint and events.

        Raises:
            DamagedError: it, or the place of the run, is behind a symbolic link.
        """
        path = self.root / ".work" / stage.key
        for place in (path, self.folder(stage)):
            self._refuse_link(place)
        path.mkdir(parents=True, exist_ok=True)
        for link in filter(Path.is_symlink, path.iterdir()):
            link.unlink()  # the log would be appended to whatever it names
        return path

    def commit(self, stage: Stage, documents: dict[str, Any]) -> Path:
        """Turn the work folder into the run folder: JSON documents, manifest, one rename.

        Of the work folder it keeps what a run of the stage's role has; a checkpoint, and what a killed process was
        writing, are no evidence.
        """
        work, final = self.work(stage), self.folder(stage)
        for name, document in {"spec.json": dict(stage.spec), **documents}.items():
            write_json(work / name, document)
        for leftover in work.iterdir():
            if leftover.name not in (*files_of(stage.role), WEIGHTS):
                leftover.unlink()
        _write(work / DONE, write_manifest(work, stage.role))
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # torn by a copy, or lacking the weights that a child needs
            shutil.rmtree(final)
        work.rename(final)
        self.failure_file(stage).unlink(missing_ok=True)
        return final

    def fail(self, stage: Stage, reason: str, detail: str, env: dict[str, Any], place: str = "") -> None:
        """Record a failure beside where the run would be; a later success removes it.

        Args:
            detail: the traceback. place: ``FILE:LINE`` of the method's own code, where it is known.
        """
        path = self.failure_file(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"spec": dict(stage.spec), "reason": reason, "detail": detail, "env": env}
        write_json(path, {**record, "place": place} if place else record)

    def evidence(self, stage: Stage) -> str:
        """Where to look at the stage's last failure: ``FILE:LINE`` if known, and its record; empty without one."""
        if (record := self.failure(stage)) is None:
            return ""
        place = record.get("place")
        traceback = f"traceback: {self.failure_file(stage)}" if record.get("detail") else ""
        return ", ".join(part for part in (place, traceback) if part and isinstance(part, str))

    def find(self, key: str) -> list[Path]:
        """Run folders and failure records whose key begins with ``key`` (up to 12 digits are matched)."""
        return sorted(path for path in self.root.glob(f"*/*/*-{key[:12]}*") if not self._link(path))


def read_json(path: Path) -> dict[str, Any]:
    """Raises DamagedError where the file is missing, damaged, or holds something other than an object."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"a {type(document).__name__}, not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: missing or damaged ({error}); delete its folder and run the suite again") from None
    return document


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value that was read from JSON is a finite number; ``true`` is none."""
    return type(value) in (int, float) and abs(value) < math.inf


def _figures(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a document holds but digests of weights and what was not measured, at whatever depth, by name."""
    waiting: list[tuple[str, Any]] = [*document.items()]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.items() if isinstance(value, dict) else ((name, part) for part in value)
        elif value is not None and name not in ("weights", "initial_weights"):
            yield name, value


def write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    _write(path, json_line(text) + "\n")  # half a character, as in the name of a file, has no bytes


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
