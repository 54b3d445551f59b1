"""Files that are whole or not there."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flipbench.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to, renamed to it at the end: readers see either file whole.

    On an error nothing is left of it.
    """
    beside = path.with_name(f".{os.getpid()}-{path.name}")  # the ending stays: some writers go by it
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_files(folder: Path, contents: Mapping[str, bytes], what: str) -> list[Path]:
    """Write files by name into a folder, made where it is not there; each replaced as a whole.

    Args:
        what: name of the files in the error message (``the report``).

    Returns:
        The files, in the same order.

    Raises:
        UserError: the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            path = folder / name
            with replacing(path) as beside:
                beside.write_bytes(content)
            written.append(path)
    except OSError as error:
        raise UserError(f"{folder}: {what} cannot be written: {error.strerror}") from error
    return written
