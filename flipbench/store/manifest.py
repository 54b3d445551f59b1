"""``DONE``: which files a finished run has, each under its SHA-256."""

import hashlib
import re
from pathlib import Path

from flipbench.errors import DamagedError

DONE = "DONE"
WEIGHTS = "model.safetensors"
PREDICTIONS = "predictions.parquet"
DRAWN = "drawn.parquet"
"""Beside the figures of an inspection: what a picture of it is drawn from."""

PARTIAL = ".partial"
"""How the name of a file ends while it is written."""

_OF_EVERY_RUN = ("env.json", "events.jsonl", "metrics.json", "spec.json")
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")


def files_of(role: str) -> tuple[str, ...]:
    """What is kept of a run of that role and sealed, by name; weights are rebuilt, not kept in a repository."""
    if role in ("pretrain", "select", "refit", "fit"):
        return _OF_EVERY_RUN
    return tuple(sorted((*_OF_EVERY_RUN, PREDICTIONS if role == "evaluate" else DRAWN)))


def write_manifest(folder: Path, role: str) -> str:
    """The text of ``DONE`` for the files of a run that are in its folder."""
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in files_of(role) if (folder / name).is_file())


def read_manifest(path: Path, role: str) -> dict[str, str]:
    """SHA-256 by file name.

    The name of a file that was being written is passed over: earlier versions listed it after a kill
    at that moment, and no evidence has such a name.

    Raises:
        DamagedError: it cannot be read, or a line is not a digest and the name of a file that such a run has.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        name = found["name"] if found else ""
        if found and name.endswith(PARTIAL) and name == Path(name).name:
            continue
        if not found or name not in files_of(role) or name in listed:
            why = "twice" if name in listed else f"valid names: {', '.join(files_of(role))}"
            raise DamagedError(f"{path}: line {number} {line[:80]!r} lists no file of a run of role '{role}'; {why}")
        listed[name] = found["digest"]
    return listed


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
