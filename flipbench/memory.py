"""How processes lay out their memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

TUNABLES = "GLIBC_TUNABLES"


@contextmanager
def large_pages() -> Iterator[None]:
    """Let processes started within ask the kernel for pages of 2 MB (glibc 2.35 on Linux; elsewhere nothing changes).

    A small model's step on a CPU goes through all of its tables and Adam's moments, more than the processor's cache of
    page addresses reaches with pages of 4 kB. A process reads the setting when it starts. One of the user's own stays.
    """
    if TUNABLES in os.environ:
        yield
        return
    os.environ[TUNABLES] = "glibc.malloc.hugetlb=1"
    try:
        yield
    finally:
        del os.environ[TUNABLES]
