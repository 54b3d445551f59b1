"""Prepared tables on disk: written once, checked whenever they are opened.

``home()/data/NAME/`` holds ``ids.npy`` (int32 [N, F]), ``labels.npy`` (uint8 [N]), ``features.parquet``
(``field`` int16, ``value`` string; row i is feature id i + 1), ``truth.npy`` (float32 [N], planted data
only), ``times.npy`` (int64 [N], where the raw files have times; no part of the fingerprint) and ``meta.json``,
which seals the others and itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flipbench.data.dataset import Dataset, get
from flipbench.data.table import Table
from flipbench.errors import NotPreparedError, UserError
from flipbench.identity import canonical, key_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from flipbench.data.encode import Prepared

META = "meta.json"
TIMES = "times.npy"


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


def folder_of(name: str) -> Path:
    """The folder of a prepared table, whether it exists or not."""
    return home() / "data" / name


def fingerprint(name: str) -> str:
    """The fingerprint of a prepared table, from ``meta.json`` alone; a generated table is made if absent.

    Raises:
        UserError: unknown data set, not prepared, or ``meta.json`` was changed.
    """
    digest: str = _meta(get(name))["fingerprint"]
    return digest


def is_prepared(name: str) -> bool:
    return (folder_of(name) / META).exists()


def known_fingerprint(name: str) -> str | None:
    """The fingerprint of the table prepared here, else of the data set as published; None if neither is known."""
    return fingerprint(name) if is_prepared(name) else get(name).fingerprint


def open_table(name: str, verify: bool = True) -> Table:
    """A prepared table, its arrays memory-mapped; a generated one is made if absent.

    Args:
        name: registered name.
        verify: compare the SHA-256 of every file with ``meta.json``.

    Raises:
        UserError: unknown data set, not prepared, or a file was changed since.
    """
    import numpy as np

    dataset = get(name)
    meta = _meta(dataset)
    folder = folder_of(name)
    if verify:
        for file, digest in meta["files"].items():
            if _digest(folder / file) != digest:
                raise _damaged(folder / file, dataset)
    try:
        # "c": nothing reaches the file, and torch takes the arrays without a copy
        ids = np.load(folder / "ids.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        raise _damaged(folder, dataset) from None
    offsets = np.array(meta["content"]["offsets"], np.int64)
    return Table(name, dataset.fields, ids, labels, offsets, folder, meta["fingerprint"], meta["notes"])


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


def times(table: Table) -> NDArray[np.int64] | None:
    """When each row happened, [N] int64 in the raw files' unit, memory-mapped; None for data without times.

    Raises:
        UserError: the table was prepared before times were kept beside it.
    """
    import numpy as np

    path, dataset = table.folder / TIMES, get(table.name)
    if path.exists():
        moments: NDArray[np.int64] = np.load(path, mmap_mode="r", allow_pickle=False)
        return moments
    if dataset.generated or dataset.orders[0] != "chronological":
        return None
    raise UserError(f"{path}: the table was prepared before times were kept beside it: run {dataset.remedy}")


def write_table(dataset: Dataset, prepared: Prepared) -> Table:
    """Store a table and open it.

    Written beside its place and renamed, under a lock: a table is there whole or not at all. A table
    with the same content, and the same times beside it, is left as it is.

    Raises:
        UserError: the folder cannot be written.
        ValueError: ``prepared`` breaks the table's contract (a fault of the data set's ``prepare``).
    """
    from filelock import FileLock

    content = _content(dataset, prepared)
    folder = folder_of(dataset.name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{dataset.name}.lock"):
            if not _holds(dataset, key_of(content), prepared.times):
                _replace(folder, dataset, prepared, content)
        if prepared.scratch:
            shutil.rmtree(prepared.scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
    return open_table(dataset.name)


def _replace(folder: Path, dataset: Dataset, prepared: Prepared, content: dict[str, Any]) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    for leftover in folder.parent.glob(f".{dataset.name}.tmp-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    new = folder.parent / f".{dataset.name}.tmp-{uuid4().hex}"
    new.mkdir()
    try:
        np.save(new / "ids.npy", prepared.ids, allow_pickle=False)
        np.save(new / "labels.npy", prepared.labels, allow_pickle=False)
        if prepared.truth is not None:
            np.save(new / "truth.npy", prepared.truth, allow_pickle=False)
        if prepared.times is not None:
            np.save(new / TIMES, prepared.times, allow_pickle=False)
        sizes = [len(vocabulary) for vocabulary in prepared.values]
        features = {
            "field": pa.array(np.repeat(np.arange(len(sizes), dtype=np.int16), sizes)),
            "value": pa.array([value for vocabulary in prepared.values for value in vocabulary], pa.string()),
        }
        parquet.write_table(pa.table(features), new / "features.parquet")
        meta = {
            "content": content,
            "files": {file.name: _digest(file) for file in sorted(new.iterdir())},
            "fingerprint": key_of(content),
            "notes": prepared.meta,
            "version": dataset.version,
        }
        (new / META).write_bytes(_sealed(meta))
        if folder.exists():
            folder.rename(new.with_name(f"{new.name}-old"))
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(new.with_name(f"{new.name}-old"), ignore_errors=True)


def _content(dataset: Dataset, prepared: Prepared) -> dict[str, Any]:
    """What the fingerprint is the hash of: names, shapes and the arrays' content, whatever wrote the files."""
    import numpy as np

    ids, labels, vocabularies = prepared.ids, prepared.labels, prepared.values
    offsets = np.cumsum([1, *map(len, vocabularies)])
    shape_ok = ids.shape == (len(labels), len(dataset.fields)) and len(vocabularies) == len(dataset.fields)
    if not len(labels) or not shape_ok or ids.dtype != np.int32 or labels.dtype != np.uint8:
        raise ValueError(f"{dataset.name}: ids {ids.dtype} {ids.shape}, labels {labels.dtype} {labels.shape}")
    if (ids.min(axis=0) < offsets[:-1]).any() or (ids.max(axis=0) >= offsets[1:]).any() or labels.max() > 1:
        raise ValueError(f"{dataset.name}: an id outside its field's range, or a label other than 0 and 1")
    text = hashlib.sha256()
    for value in (value for vocabulary in vocabularies for value in vocabulary):
        encoded = value.encode()
        text.update(len(encoded).to_bytes(4, "little") + encoded)
    arrays: dict[str, NDArray[Any]] = {"ids": ids, "labels": labels}
    if prepared.times is not None and (prepared.times.shape != labels.shape or prepared.times.dtype != np.int64):
        raise ValueError(f"{dataset.name}: times {prepared.times.dtype} {prepared.times.shape}")
    if prepared.truth is not None:
        arrays["truth"] = prepared.truth
    return {
        "name": dataset.name,
        "fields": [[field.name, field.words, field.side] for field in dataset.fields],
        "offsets": offsets.tolist(),
        "values": text.hexdigest(),
        "arrays": {name: _array(array) for name, array in arrays.items()},
    }


def _array(array: NDArray[Any]) -> dict[str, Any]:
    content = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": hashlib.sha256(content.data).hexdigest()}


def _meta(dataset: Dataset) -> dict[str, Any]:
    """``meta.json``, checked; a generated table that is absent or of an older version is made first."""
    path = folder_of(dataset.name) / META
    if path.exists():
        meta = _read(dataset)
        if meta["version"] == dataset.version:
            return meta
        if not dataset.generated:
            raise UserError(f"{path}: prepared by an older version of its reader: run {dataset.remedy}")
    elif not dataset.generated:
        raise NotPreparedError(f"data set '{dataset.name}' is not prepared in {path.parent}: run {dataset.remedy}")
    write_table(dataset, dataset.prepare(path.parent, False))
    return _read(dataset)


def _read(dataset: Dataset) -> dict[str, Any]:
    """``meta.json``, checked against its own seal."""
    path = folder_of(dataset.name) / META
    try:
        data = path.read_bytes()
        meta: dict[str, Any] = json.loads(data)
        intact = _sealed({key: value for key, value in meta.items() if key != "seal"}) == data
    except (OSError, ValueError, AttributeError):
        intact = False
    if not intact or meta["fingerprint"] != key_of(meta["content"]):
        raise _damaged(path, dataset)
    return meta


def _sealed(meta: dict[str, Any]) -> bytes:
    """The bytes of ``meta.json``: the one spelling of its content with the SHA-256 of that content."""
    whole = json.loads(canonical(meta | {"seal": key_of(meta)}))
    return (json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _holds(dataset: Dataset, wanted: str, times: NDArray[np.int64] | None) -> bool:
    """Whether the table on disk is whole and has this fingerprint and these times."""
    import numpy as np

    folder = folder_of(dataset.name)
    try:
        meta = _read(dataset)
    except UserError:
        return False
    whole = all(_digest(folder / file) == digest for file, digest in meta["files"].items())
    if not whole or meta["fingerprint"] != wanted or meta["version"] != dataset.version:
        return False
    if times is None:
        return TIMES not in meta["files"]
    return TIMES in meta["files"] and np.array_equal(np.load(folder / TIMES, mmap_mode="r"), times)


def _damaged(path: Path, dataset: Dataset) -> UserError:
    return UserError(f"{path}: changed since it was prepared (checksum differs): run {dataset.remedy}")
