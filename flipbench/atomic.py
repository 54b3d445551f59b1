"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to, renamed to it at the end: a reader sees the old file or the new one.

    On an error nothing is left of it.
    """
    beside = path.with_name(f".{os.getpid()}-{path.name}")  # the ending stays: some writers go by it
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
