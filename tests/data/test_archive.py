"""Archives that mean harm, or are damaged."""

import re
import stat
import zipfile
from pathlib import Path

import pytest
from tables import ML_1M, zipped
from tiny_movielens import MOVIELENS

from flipbench.data.archive import extract, named
from flipbench.errors import UserError

MEMBERS = [f"ml-1m/{file}" for file in MOVIELENS]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


@pytest.mark.parametrize(
    "name", ["../evil", "ml-1m/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:/evil", "\\\\host\\evil"]
)
def test_members_that_would_leave_the_folder_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    archive.write_bytes(zipped(ML_1M | {name: b"evil"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=f"member '{re.escape(name)}' would leave the folder"):
        extract(archive, MEMBERS, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_refused(archive: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("ml-1m/ratings.dat")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"member 'ml-1m/ratings\.dat' is a link"):
        extract(archive, MEMBERS, tmp_path)


def test_members_too_large_missing_or_repeated_are_refused(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(zipped(ML_1M))
    with pytest.raises(UserError, match=r"member 'ml-1m/users\.dat' has 104 bytes, at most 50 are taken"):
        extract(archive, MEMBERS, tmp_path, largest=50)
    with pytest.raises(UserError, match=r"has 0 members 'ml-1m/tags\.dat', expected one"):
        extract(archive, ["ml-1m/tags.dat"], tmp_path)
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr("ml-1m/users.dat", "two")
    with pytest.raises(UserError, match=r"has 2 members 'ml-1m/users\.dat'"):
        extract(archive, ["ml-1m/users.dat"], tmp_path)


def test_a_member_that_lies_about_its_size_is_refused(archive: Path, tmp_path: Path) -> None:
    """A bomb that declares 9 bytes: no more than declared is unpacked, and its checksum then differs."""
    honest, lie = (1_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")
    archive.write_bytes(zipped({"ml-1m/users.dat": b"0" * 1_000_000}).replace(honest, lie))
    with pytest.raises(UserError, match="not a readable zip archive"):
        extract(archive, ["ml-1m/users.dat"], tmp_path)


def test_names_that_are_no_utf_8_are_one_line(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(zipped(ML_1M | {"ml-1m/é": b""}).replace("é".encode(), b"\xff\xfe"))
    for use in (lambda: extract(archive, MEMBERS, tmp_path), lambda: named(archive, MEMBERS)):
        with pytest.raises(UserError, match=r"a\.zip: not a readable zip archive: "):
            use()


def test_damaged_archives_are_one_line(archive: Path, tmp_path: Path) -> None:
    whole = zipped(ML_1M)
    for bad in (b"", b"not a zip", whole[: len(whole) // 2], whole[:60] + b"\xff" * 40 + whole[100:]):
        archive.write_bytes(bad)
        with pytest.raises(UserError, match=r"a\.zip: "):
            extract(archive, MEMBERS, tmp_path)
