"""Fetching: the same table as an import, downloads that break and go on, checksums published or recorded."""

import errno
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import tiny_bookcrossing
import tiny_goodreads
from tables import ML_1M, zipped

from flipbench.data.dataset import Archive, Dataset, get
from flipbench.data.download import CHUNK, Resuming
from flipbench.data.fetch import fetch, import_from
from flipbench.data.goodreads import BOOKS, INTERACTIONS
from flipbench.errors import UserError

ZIP, DUMP = "ml-1m.zip", "BX-CSV-Dump.zip"


class Server(ThreadingHTTPServer):
    """Serves ``files`` by name; ``cut`` bytes into an answer it hangs up, once."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges_honoured, self.status, self.sent = files, 0, True, 200, 0
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked, body = self.server, self.headers.get("Range"), self.server.files.get(self.path[1:])
        server.asked.append(asked)
        start = int(asked[6:].rstrip("-")) if asked and server.ranges_honoured else 0
        if server.status != 200 or body is None or start >= len(body):
            self.send_error(server.status if server.status != 200 else 404 if body is None else 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop, server.cut = start + server.cut if server.cut else len(body), 0
        server.sent += len(body[start:stop])
        self.wfile.write(body[start:stop])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({ZIP: zipped(ML_1M), DUMP: zipped(tiny_bookcrossing.FILES)}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def archives(home: Path) -> Path:
    (home / "archives").mkdir(parents=True)
    return home / "archives"


def kept(archives: Path) -> list[str]:
    return sorted(path.name for path in archives.iterdir() if path.suffix != ".lock")


def movielens_at(url: str, md5: str) -> Dataset:
    """MovieLens from another place, whose few rows are accepted as they are."""
    real = get("movielens-1m")
    return replace(real, archive=Archive(url, md5, "ml-1m"), reader=lambda raw, _: real.prepare(raw, True))


@pytest.fixture
def movielens(server: Server) -> Dataset:
    return movielens_at(server.url + ZIP, hashlib.md5(server.files[ZIP]).hexdigest())


@pytest.fixture
def bookcrossing(server: Server) -> Dataset:
    """No checksum is published, and the archive has no folder."""
    return replace(get("bookcrossing"), archive=Archive(server.url + DUMP, None, ""))


def test_fetch_and_import_give_the_same_table(
    server: Server, movielens: Dataset, raw: Callable[[], Path], archives: Path
) -> None:
    imported = import_from("movielens-1m", raw(), allow_partial=True).fingerprint
    assert fetch(movielens).fingerprint == fetch(movielens).fingerprint == imported
    assert server.asked == [None]  # the archive is kept
    assert kept(archives) == [ZIP]


def test_a_cut_download_goes_on_where_it_stopped(server: Server, movielens: Dataset, archives: Path) -> None:
    server.cut = 2 * CHUNK + 1000
    with pytest.raises(UserError, match=r"cut after 131,072 of \d+,\d+ bytes; repeat the command to go on"):
        fetch(movielens)
    assert (archives / f"{ZIP}.part").read_bytes() == server.files[ZIP][: 2 * CHUNK]
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, f"bytes={2 * CHUNK}-"]
    assert server.sent == len(server.files[ZIP]) + 1000  # less than a chunk twice


def test_a_server_that_ignores_ranges_sends_it_whole(server: Server, movielens: Dataset) -> None:
    server.cut, server.ranges_honoured = CHUNK, False
    with pytest.raises(UserError, match="cut after 65,536 of"):
        fetch(movielens)
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, f"bytes={CHUNK}-"]


def test_partial_download(server: Server, movielens: Dataset, archives: Path) -> None:
    (archives / f"{ZIP}.part").write_bytes(server.files[ZIP])
    assert len(fetch(movielens)) == 7
    assert server.sent == 0
    (archives / ZIP).unlink()
    (archives / f"{ZIP}.part").write_bytes(b"something else")
    with pytest.raises(UserError, match="checksum differs"):
        fetch(movielens)
    assert len(fetch(movielens)) == 7


def test_a_wrong_checksum_keeps_nothing(server: Server, home: Path, archives: Path) -> None:
    with pytest.raises(UserError, match=f"checksum differs from the published md5 {'0' * 32}; nothing was kept"):
        fetch(movielens_at(server.url + ZIP, "0" * 32))
    assert kept(archives) == []
    assert not (home / "data").exists()


def test_a_damaged_archive_in_the_cache_is_fetched_anew(server: Server, movielens: Dataset, archives: Path) -> None:
    fetch(movielens)
    (archives / ZIP).write_bytes(server.files[ZIP][:-5])
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors_are_one_line(server: Server, movielens: Dataset, status: int) -> None:
    server.status = status
    with pytest.raises(UserError, match=f"the server answered {status} "):
        fetch(movielens)


def test_no_network_names_the_import_command() -> None:
    with Server({}) as gone:
        url = gone.url + ZIP  # closed again: nobody listens there
    message = r"no connection to 127\.0\.0\.1 .*run 'flipbench data import movielens-1m --from DIR'"
    with pytest.raises(UserError, match=message):
        fetch(movielens_at(url, "0" * 32))


def test_a_full_disk_is_one_line(movielens: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(Resuming, "_receive", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        fetch(movielens)


def test_the_bar_goes_to_stderr(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Resuming(tmp_path / f"{ZIP}.part", "", progress=True)(server.url + ZIP, str(tmp_path / "out"), None)
    out, err = capsys.readouterr()
    assert (tmp_path / "out").read_bytes() == server.files[ZIP]
    assert out == ""
    assert ZIP in err


def test_missing_raw_files_name_the_command() -> None:
    assert len(fetch("planted-tiny")) == 4_000
    with pytest.raises(UserError, match="is generated, it has no raw files: run 'flipbench data fetch planted-tiny'"):
        import_from("planted-tiny", ".")
    with pytest.raises(UserError, match="no official archive: run 'flipbench data import movielens-1m --from DIR'"):
        fetch(replace(get("movielens-1m"), archive=None))


def test_an_unpublished_checksum_is_recorded(server: Server, bookcrossing: Dataset, tmp_path: Path) -> None:
    table = fetch(bookcrossing)
    assert table.fingerprint == import_from("bookcrossing", tiny_bookcrossing.write_raw(tmp_path / "raw")).fingerprint
    assert table.meta["fetched"] == [f"{DUMP} sha256 {hashlib.sha256(server.files[DUMP]).hexdigest()}"]


def test_another_file_at_the_same_address_is_refused(server: Server, bookcrossing: Dataset, archives: Path) -> None:
    fetch(bookcrossing)
    (archives / DUMP).unlink()
    fetch(bookcrossing)  # the same bytes again
    changed = {"BX-Book-Ratings.csv": tiny_bookcrossing.RATINGS.replace(b'"6"', b'"2"')}
    server.files[DUMP] = zipped(tiny_bookcrossing.FILES | changed)
    fetch(bookcrossing)  # kept, so not asked for
    (archives / DUMP).unlink()
    with pytest.raises(UserError, match=rf"checksum differs from that of the first download, in .*{DUMP}.sha256"):
        fetch(bookcrossing)
    assert not (archives / DUMP).exists()


@pytest.mark.parametrize("recorded", [False, True])
def test_a_page_in_place_of_an_archive_is_not_kept_nor_its_checksum(
    server: Server, bookcrossing: Dataset, archives: Path, recorded: bool
) -> None:
    whole, page = server.files[DUMP], b"<!DOCTYPE html><title>moved</title>"
    server.files[DUMP] = page
    if recorded:  # by an earlier version
        (archives / DUMP).write_bytes(page)
        (archives / f"{DUMP}.sha256").write_text(hashlib.sha256(page).hexdigest())
    with pytest.raises(UserError, match="the server sent no zip file but a page; nothing was kept"):
        fetch(bookcrossing)
    assert kept(archives) == []
    server.files[DUMP] = whole
    assert len(fetch(bookcrossing)) == 6


def test_a_page_in_place_of_a_gzipped_file_is_not_kept(server: Server, archives: Path) -> None:
    server.files = {INTERACTIONS: b"<html>"}
    with pytest.raises(UserError, match="the server sent no gz file but a page; nothing was kept"):
        fetch(replace(get("goodreads"), base_url=server.url))
    assert kept(archives) == []


def test_a_failed_certificate_is_not_called_a_missing_connection(movielens: Dataset, monkeypatch: Any) -> None:
    failed = Mock(side_effect=requests.exceptions.SSLError("certificate verify failed"))
    monkeypatch.setattr(requests, "get", failed)
    with pytest.raises(UserError, match=r"the certificate of 127\.0\.0\.1 was not accepted, .*run 'flipbench"):
        fetch(movielens)


def test_a_zip_in_place_of_a_folder_is_read(tmp_path: Path, home: Path) -> None:
    folder = import_from("bookcrossing", tiny_bookcrossing.write_raw(tmp_path / "raw"))
    archive = tmp_path / "BX.zip"
    archive.write_bytes(zipped({f"any/{file}": content for file, content in tiny_bookcrossing.FILES.items()}))
    assert import_from("bookcrossing", archive).fingerprint == folder.fingerprint
    assert list(home.glob(".raw-*")) == []
    archive.write_bytes(zipped(tiny_bookcrossing.FILES | {"BX-Users.csv": b"no header"}))
    with pytest.raises(UserError, match=rf"^{archive}/BX-Users\.csv:1: another header"):
        import_from("bookcrossing", archive)
    with pytest.raises(UserError, match=r"has none of BX-.*; unpack BX\.zip, or give it in place of the folder"):
        import_from("bookcrossing", tmp_path)
    with pytest.raises(UserError, match=r"BX\.zip: has none of ratings\.dat"):
        import_from("movielens-1m", archive)
    with pytest.raises(UserError, match=r"BX-Users\.csv: a file, neither a folder nor a zip archive: give the folder"):
        import_from("bookcrossing", tmp_path / "raw" / "BX-Users.csv")


def test_files_that_lie_one_by_one_are_fetched_and_recorded(server: Server, archives: Path, tmp_path: Path) -> None:
    folder = tiny_goodreads.write_raw(tmp_path / "goodreads")
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    goodreads = replace(get("goodreads"), base_url=server.url)
    table = fetch(goodreads)
    assert len(table) == 4
    assert [line.partition(" sha256 ")[0] for line in table.meta["fetched"]] == list(goodreads.files)
    assert table.fingerprint == import_from("goodreads", folder).fingerprint
    del server.files[BOOKS]
    assert fetch(goodreads).fingerprint == table.fingerprint  # nothing is asked for twice
    (archives / INTERACTIONS).write_bytes(b"damaged")
    assert fetch(goodreads).fingerprint == table.fingerprint  # fetched anew, the first checksum holds
    (archives / BOOKS).unlink()
    with pytest.raises(UserError, match="the server answered 404"):
        fetch(goodreads)
