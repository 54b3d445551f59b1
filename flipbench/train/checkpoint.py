"""A training run's position on disk: written whole or not at all, read only where it is what was written.

The file is what ``torch.save`` writes and, after it, the SHA-256 of that: ``torch.load`` compares no checksum and reads
a flipped bit as a weight.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch


class Checkpoint:
    """One file, replaced atomically.

    Args:
        path: the file; its folder exists.
        key: the stage's key; a file of another key is not this run's.
        every: seconds between saves within an epoch, and that many times what one takes: large tables are gigabytes.
        spent: the seconds of work so far, without what had gone into a loaded state.
        code: digest by method of the code that trains, where it is known; what other code has saved is not this run's.

    Attributes:
        earlier: the seconds of work that went into the loaded state; 0 where none was loaded, or it does not say.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        every: float = 30.0,
        spent: Callable[[], float] = lambda: 0.0,
        code: Mapping[str, str] = {},
    ) -> None:
        self.path, self.key, self.code, self.every, self.spent = path, key, dict(code), every, spent
        self.earlier = 0.0
        self._saved, self._took = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether it is time for the next save."""
        return time.monotonic() - self._saved >= self.every * max(1.0, self._took)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file.

        Raises:
            OSError: it cannot be written; the earlier one stands, and nothing is left of this.
        """
        began, partial = time.monotonic(), self.path.with_suffix(".partial")
        state = {**state, "key": self.key, "seconds": self.earlier + self.spent()}
        state |= {"code": self.code} if self.code else {}
        try:
            with partial.open("wb") as file:
                hashed = _Hashed(file)
                torch.save(state, cast(IO[bytes], hashed))
                file.write(hashed.sha256.digest())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except Exception as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            if isinstance(error.__context__, OSError):  # torch covers a full disk with "unexpected pos 704 vs 598"
                raise error.__context__ from None
            raise
        self._saved = time.monotonic()
        self._took = self._saved - began

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None where there is none that can be trusted: then the run starts afresh."""
        try:
            if not _intact(self.path):
                return None
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file raises whatever its bytes happen to look like
            return None
        other_code = self.code and state.get("code", self.code) != self.code
        if state.get("key") != self.key or other_code:
            return None
        self.earlier = state.get("seconds", 0.0)
        return state


class _Hashed:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _intact(path: Path) -> bool:
    """Whether a file ends with the SHA-256 of all before it."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        left = path.stat().st_size - sha256.digest_size
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            sha256.update(data)
            left -= len(data)
        return file.read() == sha256.digest()
