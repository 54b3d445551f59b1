"""Named random streams from one seed, and the switches that make a run repeat bit for bit."""

import contextlib
import ctypes
import hashlib
import os
import sys
from typing import Any

import torch
import torch.utils.deterministic


class Streams:
    """Independent seeds by name: ``init``, ``order``, ``dropout``, ``masks``, ``noise``, ``search``.

    A stream's seed is SHA-256 of (seed, name, parts), so a draw more in one never moves another.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def seed_of(self, name: str, *parts: int) -> int:
        """A seed in [0, 2^63)."""
        text = "/".join([str(self.seed), name, *map(str, parts)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1

    def generator(self, name: str, *parts: int) -> torch.Generator:
        """A CPU generator: the same draws whatever device the model is on."""
        return torch.Generator().manual_seed(self.seed_of(name, *parts))


def make_deterministic(threads: int) -> None:
    """Ask torch for results that depend on the inputs alone.

    Args:
        threads: CPU threads an operation may use. Sums are split by it, so it is fixed, not found.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # a debugging aid that writes every tensor twice
    torch.backends.cudnn.benchmark = False
    # Adam's moments of features not seen for long decay into denormals, which x86 handles 100x slower.
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the C library reuse a step's memory instead of giving it back and faulting it in again (glibc alone)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
                libc.mallopt(threshold, 1 << 30)
