"""Who hears of Ctrl-C, which a terminal sends to every process of a command, and when."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def unheard() -> Iterator[None]:
    """Let processes started within never hear of Ctrl-C: the parent decides. One that comes meanwhile, it hears after.

    A process that ignores it by itself is not deaf before it has begun, nor while it imports what it runs.
    """
    resource_tracker.ensure_running()  # which multiprocessing starts first, and unblocks the signal itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def held_back() -> Iterator[None]:
    """Hear of Ctrl-C only at the end: where a library in C++ is imported, it may abort the process in the middle.

    In a thread that hears of no signals nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
