"""Getting raw files and preparing them: from the official archive, or from a folder at hand."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from flipbench.atomic import replacing
from flipbench.data.archive import extract, named
from flipbench.data.dataset import Dataset, get
from flipbench.data.store import alone, home, prepare_described, unwritable, write_table
from flipbench.data.table import Table
from flipbench.errors import UserError


def import_from(name: str | Dataset, folder: str | Path | None = None, allow_partial: bool = False) -> Table:
    """Prepare a data set from raw files at hand.

    Args:
        name: registered name, or the path of a file that describes a data set and names its raw files.
        folder: holds the raw files, or the archive's folder (``ml-1m``) that does; or a zip archive of them.
        allow_partial: take files that are well-formed but not whole.

    Raises:
        UserError: unknown or generated data set, a file missing or malformed, or nothing can be written.
    """
    dataset = get(name) if isinstance(name, str) else name
    if dataset.generated:
        raise UserError(f"data set '{dataset.name}' is generated, it has no raw files: run {dataset.remedy}")
    if dataset.described:
        if folder is not None:
            raise UserError(f"--from {folder}: {dataset.described.path} names its raw files itself; leave it out")
        return prepare_described(dataset)
    if folder is None:
        raise UserError(
            f"data set '{dataset.name}': the folder of its raw files is missing: run {dataset.import_command}"
        )
    try:
        with _raw_folder(dataset, Path(folder)) as raw, alone(dataset):
            return write_table(dataset, dataset.prepare(raw, allow_partial))
    except OSError as error:
        raise unwritable(error) from None


def fetch(name: str | Dataset, progress: bool = True) -> Table:
    """Prepare a data set from its official files, downloaded once and kept; a generated one is generated.

    A download that was cut goes on where it stopped. Where no checksum was published, the SHA-256 of what was
    downloaded first stands in the table's notes and beside the file, and later downloads must have it too.

    Args:
        name: registered name.
        progress: show a progress bar on stderr where that is a terminal.

    Raises:
        UserError: unknown data set, no official files, no connection, an HTTP error, another checksum than
            the published or recorded one, an unsafe archive, no space left.
    """
    dataset = get(name) if isinstance(name, str) else name
    if dataset.generated:
        return write_table(dataset, dataset.prepare(home(), False))
    if dataset.archive is None and dataset.base_url is None:
        raise UserError(f"data set '{dataset.name}' has no official archive: run {dataset.remedy}")
    shown = progress and sys.stderr.isatty()
    try:
        if dataset.archive is None:
            for file in dataset.files:
                _download(dataset, f"{dataset.base_url}{file}", None, shown)
            return _stored(dataset, _archives(), dataset.files)
        archive = _download(dataset, dataset.archive.url, dataset.archive.md5, shown)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".raw-") as raw:
            members = [str(PurePosixPath(dataset.archive.folder, file)) for file in dataset.files]
            extract(archive, members, Path(raw))
            return _stored(dataset, Path(raw), () if dataset.archive.md5 else (archive.name,))
    except OSError as error:
        raise unwritable(error) from None


def _stored(dataset: Dataset, raw: Path, unpublished: Sequence[str]) -> Table:
    """The table of downloaded files, with the checksums that nobody else has published in its notes."""
    with alone(dataset):
        prepared = dataset.prepare(raw, False)
        if unpublished:
            fetched = [f"{file} sha256 {_record(file).read_text().strip()}" for file in unpublished]
            prepared = replace(prepared, meta={**prepared.meta, "fetched": fetched})
        return write_table(dataset, prepared)


@contextmanager
def _raw_folder(dataset: Dataset, folder: Path) -> Iterator[Path]:
    """The folder with the raw files themselves; those of a zip archive are unpacked for as long."""
    if folder.is_file():
        if not zipfile.is_zipfile(folder):
            raise UserError(f"{folder}: a file, neither a folder nor a zip archive: give the folder that holds it")
        members = named(folder, _any_form(dataset))
        if not members:
            raise UserError(f"{folder}: has none of {', '.join(dataset.files)}")
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home(), prefix=".raw-") as raw:
            extract(folder, members, Path(raw))
            try:
                yield Path(raw)
            except UserError as error:  # of the user's file, not of where it was unpacked
                raise UserError(str(error).replace(raw, str(folder))) from None
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for candidate in (folder, folder / dataset.archive.folder if dataset.archive else folder):
        if any((candidate / file).exists() for file in _any_form(dataset)):
            yield candidate
            return
    zips = sorted(path.name for path in folder.glob("*.zip"))
    remedy = f"; 'flipbench data fetch {dataset.name}' gets them" if dataset.archive or dataset.base_url else ""
    if zips:
        remedy = f"; unpack {zips[0]}, or give it in place of the folder"
    raise UserError(f"{folder}: has none of {', '.join(dataset.files)}{remedy}")


def _any_form(dataset: Dataset) -> list[str]:
    """Names of the raw files, gzipped ones also unpacked."""
    return [*dataset.files, *(file.removesuffix(".gz") for file in dataset.files if file.endswith(".gz"))]


def _archives() -> Path:
    return home() / "archives"


def _record(file: str) -> Path:
    """Where the SHA-256 of the first download of a file stands."""
    return _archives() / f"{file}.sha256"


def _is_archive(path: Path) -> bool:
    """Whether a download without a published checksum is what its name says, and not a page about it."""
    if path.suffix == ".zip":
        return zipfile.is_zipfile(path)
    with path.open("rb") as file:
        start = file.read(2)
    return path.suffix != ".gz" or start == b"\x1f\x8b"


def _download(dataset: Dataset, url: str, md5: str | None, progress: bool) -> Path:
    """The file in ``home()/archives``, its checksum verified; without a published one, against the first download."""
    import pooch
    from filelock import FileLock

    from flipbench.data.download import Resuming

    folder = _archives()
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rsplit("/", 1)[-1]
    record = _record(name)
    pooch.get_logger().setLevel("WARNING")
    with FileLock(folder / f".{name}.lock"):
        first = record.read_text().strip() if md5 is None and record.exists() else None
        try:
            path = pooch.retrieve(
                url,
                known_hash=f"md5:{md5}" if md5 else first,
                fname=name,
                path=folder,
                downloader=Resuming(folder / f"{name}.part", dataset.import_command, progress),
            )
        except ValueError as error:
            if "hash" not in str(error):
                raise
            known = f"the published md5 {md5}" if md5 else f"that of the first download, in {record}"
            raise UserError(f"{url}: checksum differs from {known}; nothing was kept") from None
        if md5 is None and not _is_archive(Path(path)):
            for kept in (Path(path), record):
                kept.unlink(missing_ok=True)
            raise UserError(f"{url}: the server sent no {Path(name).suffix[1:]} file but a page; nothing was kept")
        if md5 is None and first is None:
            with replacing(record) as beside:
                beside.write_text(pooch.file_hash(path) + "\n", encoding="ascii")
    return Path(path)
