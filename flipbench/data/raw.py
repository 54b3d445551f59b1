"""Raw files: read whole, and the lines of them that cannot be read, counted and named, never dropped in silence."""

from pathlib import Path
from typing import Any

from flipbench.errors import UserError

LIMIT = 1_000
"""Lines of one preparation; with more, the files are not what they should be."""


class Rejected:
    """The lines that were left out, in the order they were met: (file name, line from 1, reason)."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int, str]] = []

    def add(self, path: Path, line: int, why: str) -> None:
        """Leave out a line, numbered from 1.

        Raises:
            UserError: there are more than :data:`LIMIT`.
        """
        if len(self.entries) == LIMIT:
            raise UserError(f"{path}:{line}: {why}; more than {LIMIT:,} lines are malformed: is it the right file?")
        self.entries.append((path.name, line, why))

    def meta(self) -> dict[str, Any]:
        """For a table's notes: how many, and each as ``FILE:LINE: reason``."""
        lines = [f"{file}:{line}: {why}" for file, line, why in self.entries]
        return {"rejected_lines": len(lines), "rejected": lines}


def packed_or_not(path: Path) -> Path:
    """The file, or its unpacked copy where only that is there (``x.json`` of ``x.json.gz``).

    Raises:
        UserError: neither is there.
    """
    unpacked = path.with_name(path.name.removesuffix(".gz"))
    for found in (path, unpacked):
        if found.is_file():
            return found
    raise UserError(f"{path}: no such file{', nor ' + unpacked.name if unpacked != path else ''}")


def read_bytes(path: Path) -> bytes:
    """A raw file's content.

    Raises:
        UserError: it is missing, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
