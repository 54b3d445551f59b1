"""Extraction of known members from an untrusted zip archive."""

import errno
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from flipbench.errors import UserError

LARGEST = 2**30
"""Bytes; a member that declares more is refused before it is unpacked."""


def extract(archive: Path, members: Sequence[str], folder: Path, largest: int = LARGEST) -> None:
    """Write the named members into ``folder`` under their last names.

    Raises:
        UserError: not a zip archive, damaged or encrypted; a member missing, repeated or larger than ``largest``
            bytes; or, anywhere in it, an absolute path, a path that climbs (``..``) or a link.
        OSError: the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or entry.filename[1:2] == ":":
                    raise UserError(f"{archive}: member '{entry.filename}' would leave the folder; archive refused")
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise UserError(f"{archive}: member '{entry.filename}' is a link; archive refused")
            names = [entry.filename for entry in entries]
            for member in members:
                if names.count(member) != 1:
                    raise UserError(f"{archive}: has {names.count(member)} members '{member}', expected one")
                size = opened.getinfo(member).file_size
                if size > largest:
                    raise UserError(f"{archive}: member '{member}' has {size:,} bytes, at most {largest:,} are taken")
                with opened.open(member) as source, (folder / PurePosixPath(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"{archive}: not a readable zip archive: {error}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of what cannot be unpacked, and of offsets outside of the file
            raise
        raise UserError(f"{archive}: not a readable zip archive: {error}") from None


def named(archive: Path, names: Sequence[str]) -> list[str]:
    """The members of an archive whose last name is one of ``names``, wherever they lie.

    Raises:
        UserError: not a zip archive, or the names in it are damaged.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return [name for name in opened.namelist() if PurePosixPath(name).name in names]
    except (zipfile.BadZipFile, RuntimeError, ValueError) as error:  # a name that is no UTF-8 is a ValueError
        raise UserError(f"{archive}: not a readable zip archive: {error}") from None
