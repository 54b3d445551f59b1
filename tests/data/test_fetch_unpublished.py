"""Fetching where nobody has published a checksum: what came first is recorded, and must come again."""

import dataclasses
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny_bookcrossing
import tiny_goodreads

from flipbench.data.dataset import Archive, Dataset, get
from flipbench.data.fetch import fetch, import_from
from flipbench.data.goodreads import BOOKS, INTERACTIONS
from flipbench.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server on this machine offers it."""
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def zip_of(folder: Path, target: Path) -> bytes:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return target.read_bytes()


@pytest.fixture
def bookcrossing(site: tuple[Path, str], tmp_path: Path) -> Dataset:
    folder, url = site
    zip_of(tiny_bookcrossing.write_raw(tmp_path / "raw"), folder / "BX-CSV-Dump.zip")
    return dataclasses.replace(get("bookcrossing"), archive=Archive(f"{url}BX-CSV-Dump.zip", None, ""))


def test_an_archive_without_a_folder_gives_the_table_of_an_import(bookcrossing: Dataset, tmp_path: Path) -> None:
    table = fetch(bookcrossing)
    assert table.fingerprint == import_from("bookcrossing", tmp_path / "raw").fingerprint
    digest = hashlib.sha256((tmp_path / "site" / "BX-CSV-Dump.zip").read_bytes()).hexdigest()
    assert table.meta["fetched"] == [f"BX-CSV-Dump.zip sha256 {digest}"]


def test_another_file_at_the_same_address_is_refused(bookcrossing: Dataset, home: Path, tmp_path: Path) -> None:
    fetch(bookcrossing)
    (home / "archives" / "BX-CSV-Dump.zip").unlink()
    fetch(bookcrossing)  # the same bytes again
    raw = tiny_bookcrossing.write_raw(tmp_path / "raw", ratings=tiny_bookcrossing.RATINGS.replace(b'"6"', b'"2"'))
    zip_of(raw, tmp_path / "site" / "BX-CSV-Dump.zip")
    fetch(bookcrossing)  # kept, so not asked for
    (home / "archives" / "BX-CSV-Dump.zip").unlink()
    with pytest.raises(
        UserError, match=r"checksum differs from that of the first download, in .*BX-CSV-Dump.zip.sha256"
    ):
        fetch(bookcrossing)
    assert not (home / "archives" / "BX-CSV-Dump.zip").exists()


def test_files_that_lie_one_by_one_are_fetched_and_recorded(site: tuple[Path, str], home: Path, tmp_path: Path) -> None:
    folder, url = site
    tiny_goodreads.write_raw(folder)
    goodreads = dataclasses.replace(get("goodreads"), base_url=url)
    table = fetch(goodreads)
    assert len(table) == 4
    assert [line.partition(" sha256 ")[0] for line in table.meta["fetched"]] == list(goodreads.files)
    assert table.fingerprint == import_from("goodreads", folder).fingerprint
    (folder / BOOKS).unlink()
    assert fetch(goodreads).fingerprint == table.fingerprint  # nothing is asked for twice
    (home / "archives" / INTERACTIONS).write_bytes(b"damaged")
    assert fetch(goodreads).fingerprint == table.fingerprint  # fetched anew, the first checksum holds
    (home / "archives" / BOOKS).unlink()
    with pytest.raises(UserError, match="the server answered 404"):
        fetch(goodreads)
