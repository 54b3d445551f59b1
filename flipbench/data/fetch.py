"""Getting raw files and preparing them: from the official archive, or from a folder at hand."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from flipbench.data.archive import extract
from flipbench.data.dataset import Archive, Dataset, get
from flipbench.data.store import home, write_table
from flipbench.data.table import Table
from flipbench.errors import UserError


def import_from(name: str | Dataset, folder: str | Path, allow_partial: bool = False) -> Table:
    """Prepare a data set from raw files at hand.

    Args:
        name: registered name.
        folder: holds the raw files, or the archive's folder (``ml-1m``) that does.
        allow_partial: take files that are well-formed but not whole.

    Raises:
        UserError: unknown or generated data set, a file missing or malformed, or nothing can be written.
    """
    dataset = get(name) if isinstance(name, str) else name
    if dataset.generated:
        raise UserError(f"data set '{dataset.name}' is generated, it has no raw files: run {dataset.remedy}")
    return write_table(dataset, dataset.prepare(_raw_folder(dataset, Path(folder)), allow_partial))


def fetch(name: str | Dataset, progress: bool = True) -> Table:
    """Prepare a data set from its official archive, downloaded once and kept; a generated one is generated.

    A download that was cut goes on where it stopped.

    Args:
        name: registered name.
        progress: show a progress bar on stderr where that is a terminal.

    Raises:
        UserError: unknown data set, no official archive, no connection, an HTTP error, another checksum than
            the published one, an unsafe archive, no space left.
    """
    dataset = get(name) if isinstance(name, str) else name
    if dataset.generated:
        return write_table(dataset, dataset.prepare(home(), False))
    if dataset.archive is None:
        raise UserError(f"data set '{dataset.name}' has no official archive: run {dataset.remedy}")
    try:
        archive = _download(dataset, dataset.archive, progress and sys.stderr.isatty())
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".raw-") as raw:
            members = [f"{dataset.archive.folder}/{file}" for file in dataset.files]
            extract(archive, members, Path(raw))
            return write_table(dataset, dataset.prepare(Path(raw), False))
    except OSError as error:
        raise UserError(f"{error.filename or home()}: cannot be written: {error.strerror or error}") from None


def _raw_folder(dataset: Dataset, folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    inner = folder / dataset.archive.folder if dataset.archive else folder
    for candidate in (folder, inner):
        if any((candidate / file).exists() for file in dataset.files):
            return candidate
    raise UserError(f"{folder}: has none of {', '.join(dataset.files)}")


def _download(dataset: Dataset, archive: Archive, progress: bool) -> Path:
    """The archive in ``home()/archives``, its checksum verified."""
    import pooch
    from filelock import FileLock

    from flipbench.data.download import Resuming

    folder = home() / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    name = archive.url.rsplit("/", 1)[-1]
    pooch.get_logger().setLevel("WARNING")
    with FileLock(folder / f".{name}.lock"):
        try:
            path = pooch.retrieve(
                archive.url,
                known_hash=f"md5:{archive.md5}",
                fname=name,
                path=folder,
                downloader=Resuming(folder / f"{name}.part", dataset.import_command, progress),
            )
        except ValueError as error:
            if "hash" not in str(error):
                raise
            raise UserError(
                f"{archive.url}: checksum differs from the published md5 {archive.md5}; nothing was kept"
            ) from None
    return Path(path)
