"""Fetching: the same table as an import, downloads that break and go on, archives that mean harm."""

import dataclasses
import errno
import hashlib
import io
import random
import re
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_movielens import MOVIELENS

from flipbench.data.archive import extract
from flipbench.data.dataset import Archive, Dataset, get
from flipbench.data.download import CHUNK, Resuming
from flipbench.data.fetch import fetch, import_from
from flipbench.errors import UserError


def zipped(**extra: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in MOVIELENS.items():
            archive.writestr(f"ml-1m/{file}", text.encode("latin-1"))
        archive.writestr("ml-1m/README", random.Random(0).randbytes(300_000))  # so that there is something to cut
        for name, data in extra.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves ``body``; ``cut`` bytes into an answer it hangs up, once."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.cut, self.ranges_honoured, self.status = body, 0, True, 200
        self.asked: list[str | None] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ml-1m.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked[6:].rstrip("-")) if asked and server.ranges_honoured else 0
        if server.status != 200 or start >= len(server.body):
            self.send_error(server.status if server.status != 200 else 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        stop, server.cut = start + server.cut if server.cut else len(server.body), 0
        server.sent += len(server.body[start:stop])
        self.wfile.write(server.body[start:stop])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(zipped()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def dataset_at(url: str, md5: str) -> Dataset:
    """MovieLens from another place, whose few rows are taken as they are."""
    real = get("movielens-1m")
    return dataclasses.replace(real, archive=Archive(url, md5, "ml-1m"), reader=lambda raw, _: real.prepare(raw, True))


@pytest.fixture
def movielens(server: Server) -> Dataset:
    return dataset_at(server.url, hashlib.md5(server.body).hexdigest())


def test_fetch_and_import_end_in_the_same_table(server: Server, movielens: Dataset, raw: Any, home: Path) -> None:
    imported = import_from("movielens-1m", raw(), allow_partial=True).fingerprint
    assert fetch(movielens).fingerprint == imported
    fetch(movielens)
    assert server.asked == [None]  # the archive is kept
    assert sorted(p.name for p in (home / "archives").iterdir() if p.suffix != ".lock") == ["ml-1m.zip"]


def test_a_cut_download_goes_on_where_it_stopped(server: Server, movielens: Dataset, home: Path) -> None:
    server.cut = 2 * CHUNK + 1000
    with pytest.raises(UserError, match=r"cut after 131,072 of \d+,\d+ bytes; repeat the command to go on"):
        fetch(movielens)
    assert (home / "archives" / "ml-1m.zip.part").read_bytes() == server.body[: 2 * CHUNK]
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, f"bytes={2 * CHUNK}-"]
    assert server.sent == len(server.body) + 1000  # less than a chunk twice


def test_a_server_that_ignores_ranges_sends_it_whole(server: Server, movielens: Dataset) -> None:
    server.cut, server.ranges_honoured = CHUNK, False
    with pytest.raises(UserError, match="cut after 65,536 of"):
        fetch(movielens)
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, f"bytes={CHUNK}-"]


def test_a_part_that_is_whole_needs_no_byte(server: Server, movielens: Dataset, home: Path) -> None:
    (home / "archives").mkdir(parents=True)
    (home / "archives" / "ml-1m.zip.part").write_bytes(server.body)
    assert len(fetch(movielens)) == 7
    assert server.sent == 0


def test_a_part_of_another_file_is_dropped_by_the_checksum(server: Server, movielens: Dataset, home: Path) -> None:
    (home / "archives").mkdir(parents=True)
    (home / "archives" / "ml-1m.zip.part").write_bytes(b"something else")
    with pytest.raises(UserError, match="checksum differs"):
        fetch(movielens)
    assert len(fetch(movielens)) == 7


def test_a_wrong_checksum_keeps_nothing(server: Server, home: Path) -> None:
    with pytest.raises(UserError, match=f"checksum differs from the published md5 {'0' * 32}; nothing was kept"):
        fetch(dataset_at(server.url, "0" * 32))
    assert [p.name for p in (home / "archives").iterdir() if p.suffix != ".lock"] == []
    assert not (home / "data").exists()


def test_a_damaged_archive_in_the_cache_is_fetched_anew(server: Server, movielens: Dataset, home: Path) -> None:
    fetch(movielens)
    (home / "archives" / "ml-1m.zip").write_bytes(server.body[:-5])
    assert len(fetch(movielens)) == 7
    assert server.asked == [None, None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors_are_one_line(server: Server, movielens: Dataset, status: int) -> None:
    server.status = status
    with pytest.raises(UserError, match=f"the server answered {status} "):
        fetch(movielens)


def test_no_network_names_the_import_command() -> None:
    with Server(b"") as gone:
        url = gone.url  # closed again: nobody listens there
    message = r"no connection to 127\.0\.0\.1 .*run 'flipbench data import movielens-1m --from DIR'"
    with pytest.raises(UserError, match=message):
        fetch(dataset_at(url, "0" * 32))


def test_a_full_disk_is_one_line(movielens: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Resuming, "_receive", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        fetch(movielens)


def test_the_bar_goes_to_stderr(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Resuming(tmp_path / "ml-1m.zip.part", "", progress=True)(server.url, str(tmp_path / "out"), None)
    out, err = capsys.readouterr()
    assert (tmp_path / "out").read_bytes() == server.body
    assert out == ""
    assert "ml-1m.zip" in err


def test_generated_data_sets_are_generated() -> None:
    assert len(fetch("planted-tiny")) == 4_000
    with pytest.raises(UserError, match="is generated, it has no raw files: run 'flipbench data fetch planted-tiny'"):
        import_from("planted-tiny", ".")


def test_a_data_set_without_an_archive_names_the_import_command() -> None:
    with pytest.raises(UserError, match="no official archive: run 'flipbench data import movielens-1m --from DIR'"):
        fetch(dataclasses.replace(get("movielens-1m"), archive=None))


MEMBERS = [f"ml-1m/{file}" for file in MOVIELENS]


@pytest.mark.parametrize(
    "name", ["../evil", "ml-1m/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:/evil", "\\\\host\\evil"]
)
def test_archives_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(**{name: b"evil"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=f"member '{re.escape(name)}' would leave the folder"):
        extract(tmp_path / "a.zip", MEMBERS, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("ml-1m/ratings.dat")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"member 'ml-1m/ratings\.dat' is a link"):
        extract(tmp_path / "a.zip", MEMBERS, tmp_path)


def test_members_too_large_missing_or_repeated_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped())
    with pytest.raises(UserError, match=r"member 'ml-1m/users\.dat' has 104 bytes, at most 50 are taken"):
        extract(tmp_path / "a.zip", MEMBERS, tmp_path, largest=50)
    with pytest.raises(UserError, match=r"has 0 members 'ml-1m/tags\.dat', expected one"):
        extract(tmp_path / "a.zip", ["ml-1m/tags.dat"], tmp_path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("ml-1m/users.dat", "one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("ml-1m/users.dat", "two")
    with pytest.raises(UserError, match=r"has 2 members 'ml-1m/users\.dat'"):
        extract(tmp_path / "b.zip", ["ml-1m/users.dat"], tmp_path)


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """A bomb that declares 9 bytes: no more than declared is unpacked, and its checksum then differs."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/users.dat", b"0" * 1_000_000)
    honest, lie = (1_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(honest, lie))
    with pytest.raises(UserError, match="not a readable zip archive"):
        extract(tmp_path / "a.zip", ["ml-1m/users.dat"], tmp_path)


def test_damaged_archives_are_one_line(tmp_path: Path) -> None:
    whole = zipped()
    for bad in (b"", b"not a zip", whole[: len(whole) // 2], whole[:60] + b"\xff" * 40 + whole[100:]):
        (tmp_path / "a.zip").write_bytes(bad)
        with pytest.raises(UserError, match=r"a\.zip: "):
            extract(tmp_path / "a.zip", MEMBERS, tmp_path)
