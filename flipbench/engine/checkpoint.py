"""A training run's position on disk: written whole or not at all, read safely."""

import os
import time
from pathlib import Path
from typing import Any

import torch


class Checkpoint:
    """One file, replaced atomically.

    Args:
        path: the file; its folder exists.
        key: the stage's key; a file of another key is not this run's.
        every: seconds between saves within an epoch.
    """

    def __init__(self, path: Path, key: str, every: float = 30.0) -> None:
        self.path, self.key, self.every = path, key, every
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether ``every`` seconds have passed since the last save."""
        return time.monotonic() - self._saved >= self.every

    def save(self, state: dict[str, Any]) -> None:
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({"key": self.key, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None where there is none that can be trusted: then the run starts afresh."""
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file raises whatever its bytes happen to look like
            return None
        return state if state.get("key") == self.key else None
