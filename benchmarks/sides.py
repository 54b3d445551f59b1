"""Two programs measured against each other in one run: a process each, taking turns."""

import contextlib
import io
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from flipbench.memory import large_pages

Round = Callable[[], object]
"""What is timed."""
Maker = Callable[..., Round]
"""Called in the side's own process: everything that is not timed."""


@dataclass(frozen=True)
class Measured:
    """A side's figures.

    Attributes:
        seconds: of each round.
        memory: bytes by which the rounds raised the process's peak.
    """

    seconds: list[float]
    memory: int

    @property
    def median(self) -> float:
        """Median seconds of a round."""
        return statistics.median(self.seconds)


def alternate(makers: list[Maker], arguments: tuple[Any, ...], rounds: int, own: int = 1) -> list[Measured]:
    """Each side's rounds, in turns, so that whatever else the machine does hits all of them.

    Args:
        makers: importable functions, flipbench's own first; each is called with ``arguments``. One more round warms
            each side up.
        own: how many are flipbench's own.
    """
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for make in makers:
            here, there = spawn.Pipe()
            process = spawn.Process(target=_side, args=(there, make, arguments), daemon=True)
            with large_pages() if len(pipes) < own else nullcontext():  # as flipbench starts its workers
                process.start()
            there.close()  # so that a side that dies ends the wait below
            pipes.append(here)
            processes.append(process)
            here.recv()
        seconds: list[list[float]] = [[] for _ in makers]
        for _ in range(rounds):
            for pipe, taken in zip(pipes, seconds, strict=True):
                pipe.send(True)
                taken.append(pipe.recv())
        memory = []
        for pipe in pipes:
            pipe.send(False)
            memory.append(pipe.recv())
    except EOFError:
        sys.exit("a side of the comparison died; its error is above")
    finally:
        for process in processes:
            process.join(timeout=10)
    return [Measured(*found) for found in zip(seconds, memory, strict=True)]


def _side(pipe: Connection, make: Maker, arguments: tuple[Any, ...]) -> None:
    """A side's process: on every message one round, answered with its seconds."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(EOFError):
        run = make(*arguments)
        before = _peak()
        run()  # warm-up
        pipe.send(None)
        while pipe.recv():
            start = time.perf_counter()
            run()
            pipe.send(time.perf_counter() - start)
        pipe.send(_peak() - before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
