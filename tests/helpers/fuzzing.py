"""What the fuzzers share: which cases they try, and how one must end."""

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

COUNT = int(os.environ.get("FLIPBENCH_FUZZ", "120"))
FIRST = int(os.environ.get("FLIPBENCH_FUZZ_FIRST", "0"))
CASES = range(FIRST, FIRST + COUNT)
"""Each case is made from its number alone. ``FLIPBENCH_FUZZ=10000 pytest tests/fuzz/FILE`` tries more of them; one that
failed is run again by its number, ``FLIPBENCH_FUZZ_FIRST=4711 FLIPBENCH_FUZZ=1``."""

LONGEST = 2.0
"""Seconds of processor time that a case may take."""


@contextmanager
def case(name: str) -> Iterator[None]:
    """Whatever is raised, warnings among it, or takes too long fails the test and names the case."""
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except BaseException as error:
        raise AssertionError(f"case {name}: {type(error).__name__}: {error}") from error
    seconds = time.process_time() - started
    assert seconds < LONGEST, f"case {name}: {seconds:.1f} s"
