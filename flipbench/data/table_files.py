"""The files of a prepared table's folder: how they are written, sealed and compared. Which folder, says ``store``."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flipbench.data.dataset import Dataset
from flipbench.identity import canonical, key_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flipbench.data.encode import Prepared

META = "meta.json"


def replace_table(folder: Path, dataset: Dataset, prepared: Prepared, content: dict[str, Any]) -> None:
    """Write a table beside its folder and rename it; the caller holds the folder's lock."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    for leftover in folder.parent.glob(f".{folder.name}.tmp-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    new = folder.parent / f".{folder.name}.tmp-{uuid4().hex}"
    new.mkdir()
    try:
        np.save(new / "ids.npy", prepared.ids, allow_pickle=False)
        np.save(new / "labels.npy", prepared.labels, allow_pickle=False)
        if prepared.truth is not None:
            np.save(new / "truth.npy", prepared.truth, allow_pickle=False)
        if prepared.users is not None:
            np.save(new / "users.npy", prepared.users, allow_pickle=False)
        sizes = [len(vocabulary) for vocabulary in prepared.values]
        features = {
            "field": pa.array(np.repeat(np.arange(len(sizes), dtype=np.int16), sizes)),
            "value": pa.array([value for vocabulary in prepared.values for value in vocabulary], pa.string()),
        }
        parquet.write_table(pa.table(features), new / "features.parquet")
        meta = {
            "content": content,
            "files": {file.name: digest_of(file) for file in sorted(new.iterdir())},
            "fingerprint": key_of(content),
            "notes": prepared.meta,
            "version": dataset.version,
            **described_by(dataset),
        }
        (new / META).write_bytes(sealed(meta))
        if folder.exists():
            folder.rename(new.with_name(f"{new.name}-old"))
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(new.with_name(f"{new.name}-old"), ignore_errors=True)


def described_by(dataset: Dataset) -> dict[str, Any]:
    """What is said of a described data set, for those who have its table and not its file; nothing of others."""
    if dataset.described is None:
        return {}
    said = {name: getattr(dataset, name) for name in ("title", "citation", "licence", "label")}
    return {"described": {"file": str(dataset.described.path.absolute()), **said}}


def content_of(dataset: Dataset, prepared: Prepared) -> dict[str, Any]:
    """What the fingerprint is the hash of: names, shapes and the arrays' content, whatever wrote the files.

    Raises:
        ValueError: ``prepared`` breaks the table's contract (a fault of the data set's ``prepare``).
    """
    import numpy as np

    ids, labels, vocabularies = prepared.ids, prepared.labels, prepared.values
    fields = dataset.fields if prepared.fields is None else prepared.fields
    offsets = np.cumsum([1, *map(len, vocabularies)])
    shape_ok = ids.shape == (len(labels), len(fields)) and len(vocabularies) == len(fields)
    if not len(labels) or not shape_ok or ids.dtype != np.int32 or labels.dtype != np.uint8:
        raise ValueError(f"{dataset.name}: ids {ids.dtype} {ids.shape}, labels {labels.dtype} {labels.shape}")
    if (ids.min(axis=0) < offsets[:-1]).any() or (ids.max(axis=0) >= offsets[1:]).any() or labels.max() > 1:
        raise ValueError(f"{dataset.name}: an id outside its field's range, or a label other than 0 and 1")
    text = hashlib.sha256()
    for value in (value for vocabulary in vocabularies for value in vocabulary):
        encoded = value.encode()
        text.update(len(encoded).to_bytes(4, "little") + encoded)
    arrays: dict[str, NDArray[Any]] = {"ids": ids, "labels": labels}
    if prepared.truth is not None:
        arrays["truth"] = prepared.truth
    if prepared.users is not None:
        arrays["users"] = prepared.users
    return {
        "name": dataset.name,
        "fields": [[field.name, field.words, field.side] for field in fields],
        "offsets": offsets.tolist(),
        "values": text.hexdigest(),
        "arrays": {name: _array(array) for name, array in arrays.items()},
        **({"layout": prepared.layout.as_json()} if prepared.layout else {}),
    }


def _array(array: NDArray[Any]) -> dict[str, Any]:
    content = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": hashlib.sha256(content.data).hexdigest()}


def sealed(meta: dict[str, Any]) -> bytes:
    """The bytes of ``meta.json``: the one spelling of its content with the SHA-256 of that content."""
    whole = json.loads(canonical(meta | {"seal": key_of(meta)}))
    return (json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def read_meta(folder: Path) -> dict[str, Any] | None:
    """A folder's ``meta.json``, None where it is absent or not as it was sealed."""
    try:
        data = (folder / META).read_bytes()
        meta: dict[str, Any] = json.loads(data)
        intact = sealed({key: value for key, value in meta.items() if key != "seal"}) == data
        return meta if intact and meta["fingerprint"] == key_of(meta["content"]) else None
    except (OSError, ValueError, AttributeError, KeyError):
        return None
