"""Prepared tables on disk: written once, checked whenever they are opened.

``home()/data/NAME/`` holds ``ids.npy`` (int32 [N, F]), ``labels.npy`` (uint8 [N]), ``features.parquet``
(``field`` int16, ``value`` string; row i is feature id i + 1), ``truth.npy`` (float32 [N], planted data
only), ``users.npy`` (int32 [N], where no field says whose a row is) and ``meta.json``, which seals the others and
itself.

A table that a user's file describes lies in ``NAME.FINGERPRINT``: two files may have one name, and an edited one
another content. ``.described`` holds, by what a file and its raw files were when they were read, the fingerprint that
they gave.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flipbench.atomic import replacing
from flipbench.data.dataset import Dataset, get, is_file, names
from flipbench.data.table import Field, Layout, Table
from flipbench.data.table_files import META, content_of, described_by, digest_of, read_meta, replace_table
from flipbench.errors import NotPreparedError, UserError
from flipbench.identity import key_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from flipbench.data.encode import Prepared


def home() -> Path:
    """Where prepared tables and downloads live: ``$FLIPBENCH_HOME``, else the user's cache folder.

    Raises UserError where the variable names a user whom this machine does not know.
    """
    if given := os.environ.get("FLIPBENCH_HOME"):
        try:
            return Path(given).expanduser()
        except RuntimeError:
            raise UserError(f"FLIPBENCH_HOME {given}: no such user") from None
    from platformdirs import user_cache_path

    return user_cache_path("flipbench", appauthor=False)


def folder_of(name: str, fingerprint: str | None = None) -> Path:
    """The folder of a prepared table, whether it exists or not; ``fingerprint``: of a described data set."""
    return home() / "data" / (name if fingerprint is None else f"{name}.{fingerprint[:12]}")


def fingerprint(name: str) -> str:
    """The fingerprint of a prepared table, from ``meta.json`` alone; a generated or described one is made if absent.

    Args:
        name: registered name, or the path of a file that describes a data set.

    Raises:
        UserError: unknown data set, not prepared, ``meta.json`` was changed, or what is described cannot be read.
    """
    digest: str = _meta(get(name))["fingerprint"]
    return digest


def is_prepared(name: str, fingerprint: str | None = None) -> bool:
    """Whether there is a table of a registered name, of a file that describes one, or of its name and fingerprint."""
    if is_file(name):
        return _made(get(name)) is not None
    if name in names():
        fingerprint = None
    elif fingerprint is None:
        return False
    return (folder_of(name, fingerprint) / META).exists()


def holds(name: str, fingerprint: str) -> bool:
    """Whether the table that runs of this name and fingerprint were made from is here."""
    if not is_prepared(name, fingerprint):
        return False
    meta = _meta(get(name)) if name in names() else _read(folder_of(name, fingerprint))
    return bool(meta["fingerprint"] == fingerprint)


def known_fingerprint(name: str) -> str | None:
    """The fingerprint of the table prepared here, else of the data set as published; None if neither is known.

    Of a described data set it is that of its raw files as they are, where they are here.
    """
    described = get(name).described
    if described and all(file.exists() for file in described.raw_files):
        return fingerprint(name)
    return fingerprint(name) if is_prepared(name) else get(name).fingerprint


def described_tables() -> list[tuple[str, str, dict[str, Any]]]:
    """Name, fingerprint and description of the described data sets whose tables are here."""
    metas = (read_meta(path.parent) for path in sorted((home() / "data").glob(f"*.*/{META}")))
    return [(meta["content"]["name"], meta["fingerprint"], meta["described"]) for meta in metas if meta]


def open_table(name: str, verify: bool = True, fingerprint: str | None = None) -> Table:
    """A prepared table, its arrays memory-mapped; a generated or described one is made if absent.

    Args:
        name: registered name, or the path of a file that describes a data set; with the fingerprint of the table the
            name of such a data set.
        verify: compare the SHA-256 of every file with ``meta.json``.

    Raises:
        UserError: unknown data set, not prepared, or a file was changed since.
    """
    import numpy as np

    if fingerprint and not is_file(name) and name not in names():
        folder = folder_of(name, fingerprint)
        if not folder.exists():
            raise NotPreparedError(
                f"data set '{name}' is not prepared in {folder}: run 'flipbench data import' of its file"
            )
        meta, fields = _read(folder), tuple[Field, ...]()
    else:
        dataset = get(name)
        meta, fields = _meta(dataset), dataset.fields
        folder = _folder(dataset, meta["fingerprint"])
    content = meta["content"]
    if verify:
        for file, digest in meta["files"].items():
            if digest_of(folder / file) != digest:
                raise _damaged(folder / file, meta)
    try:
        # "c": nothing reaches the file, and torch takes the arrays without a copy
        ids = np.load(folder / "ids.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", mmap_mode="c", allow_pickle=False)
        has_users = "users" in content["arrays"]
        users = np.load(folder / "users.npy", mmap_mode="c", allow_pickle=False) if has_users else None
    except (OSError, ValueError):
        raise _damaged(folder, meta) from None
    return Table(
        content["name"],
        fields or tuple(Field(*field) for field in content["fields"]),
        ids,
        labels,
        np.array(content["offsets"], np.int64),
        folder,
        meta["fingerprint"],
        meta["notes"],
        Layout.from_json(content["layout"]) if "layout" in content else None,
        users,
    )


def values(table: Table) -> pa.ChunkedArray:
    """The feature strings: element i is the value of feature id i + 1."""
    from pyarrow import parquet

    return parquet.read_table(table.folder / "features.parquet", columns=["value"]).column("value")


def truth(table: Table) -> NDArray[np.float32]:
    """True probability of a positive label, [N] float32, memory-mapped.

    Raises:
        UserError: the table is not a planted one.
    """
    import numpy as np

    path = table.folder / "truth.npy"
    if not path.exists():
        raise UserError(f"{table.name}: the true probabilities of real data are not known")
    probabilities: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return probabilities


def write_table(dataset: Dataset, prepared: Prepared) -> Table:
    """Store a table and open it.

    Written beside its place and renamed, under a lock: a table is there whole or not at all. A table
    with the same content is left as it is.

    Raises:
        UserError: the folder cannot be written.
        ValueError: ``prepared`` breaks the table's contract (a fault of the data set's ``prepare``).
    """
    from filelock import FileLock

    content = content_of(dataset, prepared)
    fingerprint = key_of(content)
    folder = _folder(dataset, fingerprint)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{dataset.name}.lock"):
            if not _holds(dataset, fingerprint, prepared.meta):
                replace_table(folder, dataset, prepared, content)
        if prepared.scratch:
            shutil.rmtree(prepared.scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
    return open_table(dataset.name, fingerprint=fingerprint if dataset.described else None)


@contextmanager
def alone(dataset: Dataset) -> Iterator[None]:
    """One preparation by a reader at a time, the others wait: they would share the folder of what has been read."""
    from filelock import FileLock

    reader = dataset.reader if isinstance(dataset.reader, str) and not dataset.described else dataset.name
    lock = home() / "data" / f".import-{reader.partition(':')[0]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def prepare_described(dataset: Dataset, again: bool = True) -> Table:
    """Read the raw files of a described data set and store their table.

    Args:
        again: whether or not another process has done so by now.

    Raises:
        UserError: a raw file is missing or malformed, or nothing can be written.
    """
    try:
        with alone(dataset):
            if not again and (known := _made(dataset)):
                return open_table(dataset.name, fingerprint=known)
            record = _record(dataset)  # before anything is read: a later change is another state
            table = write_table(dataset, dataset.prepare(home()))
            record.parent.mkdir(exist_ok=True)
            with replacing(record) as beside:
                beside.write_text(table.fingerprint + "\n", encoding="ascii")
            return table
    except OSError as error:
        raise unwritable(error) from None


def unwritable(error: OSError) -> UserError:
    return UserError(f"{error.filename or home()}: cannot be written: {error.strerror or error}")


def _record(dataset: Dataset) -> Path:
    """Where the fingerprint stands that a described data set's files give as they are now.

    Raises:
        NotPreparedError: one of them is missing.
    """
    assert dataset.described
    path, state = dataset.described.path, list[Any]()
    for file in dataset.described.raw_files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            raise NotPreparedError(f"{path}: data set '{dataset.name}': {file}: no such file") from None
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from None
        state.append([str(file.absolute()), stat.st_size, stat.st_mtime_ns])
    written = hashlib.sha256(path.read_bytes()).hexdigest()
    return home() / "data" / ".described" / key_of([dataset.version, str(path.absolute()), written, state])


def _made(dataset: Dataset) -> str | None:
    """The fingerprint of the table that a described data set's files make as they are now; None where there is none."""
    try:
        known = _record(dataset).read_text(encoding="ascii").strip()
    except (OSError, ValueError, NotPreparedError):
        return None
    return known if (_folder(dataset, known) / META).exists() else None


def _folder(dataset: Dataset, fingerprint: str) -> Path:
    return folder_of(dataset.name, fingerprint if dataset.described else None)


def _meta(dataset: Dataset) -> dict[str, Any]:
    """``meta.json``, checked; a table that is absent or of an older version is made first where that needs nobody."""
    if dataset.described:
        known = _made(dataset) or prepare_described(dataset, again=False).fingerprint
        return _read(_folder(dataset, known), dataset)
    path = folder_of(dataset.name) / META
    if path.exists():
        meta = _read(path.parent, dataset)
        if meta["version"] == dataset.version:
            return meta
        if not dataset.generated:
            raise UserError(f"{path}: prepared by an older version of its reader: run {dataset.remedy}")
    elif not dataset.generated:
        raise NotPreparedError(f"data set '{dataset.name}' is not prepared in {path.parent}: run {dataset.remedy}")
    write_table(dataset, dataset.prepare(path.parent, False))
    return _read(path.parent, dataset)


def _read(folder: Path, dataset: Dataset | None = None) -> dict[str, Any]:
    """``meta.json``, checked against its own seal."""
    meta = read_meta(folder)
    if meta is None:
        raise _damaged(folder / META, dataset)
    return meta


def _holds(dataset: Dataset, wanted: str, notes: dict[str, Any]) -> bool:
    """Whether the table on disk is whole, has this fingerprint, and of a described one says what is said of it now."""
    folder = _folder(dataset, wanted)
    meta = read_meta(folder)
    if meta is None or meta["fingerprint"] != wanted or meta["version"] != dataset.version:
        return False
    if dataset.described and (meta["notes"] != notes or meta["described"] != described_by(dataset)["described"]):
        return False
    return all(digest_of(folder / f) == digest for f, digest in meta["files"].items())


def _damaged(path: Path, of: Dataset | dict[str, Any] | None) -> UserError:
    """A file that is not what it was; of a described data set its ``meta.json`` may know the file that describes it."""
    if isinstance(of, dict):
        said = of.get("described")
        remedy = f"'flipbench data import {said['file']}'" if said else get(of["content"]["name"]).remedy
    else:
        remedy = of.remedy if of else "'flipbench data import' of its file"
    return UserError(f"{path}: changed since it was prepared (checksum differs): run {remedy}")
