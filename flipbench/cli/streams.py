"""The standard streams as a command may find them: closed, full, without a reader, or with few letters."""

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Any

from flipbench.printable import in_ascii


class _Output(io.FileIO):
    """A file descriptor that remembers why it could not be written, and drops what comes after.

    Without it the error of a write is anybody's, argparse hides it, and Python repeats it at its end.
    """

    fault: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
                raise
        return memoryview(data).nbytes


def prepare() -> None:
    """Let there be three streams, with a likeness or an escape for every character that they lack."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _fill(number)
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the process
    codecs.register_error("flipbench", in_ascii)
    out = sys.stdout
    if out is sys.__stdout__ and isinstance(out, io.TextIOWrapper):
        raw = io.BufferedWriter(_Output(out.fileno(), "w", closefd=False))
        at_once = {"line_buffering": out.line_buffering, "write_through": out.write_through}
        sys.stdout = io.TextIOWrapper(raw, out.encoding, None, None, **at_once)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="flipbench")


def fault() -> OSError | None:
    """Why something printed could not be written to stdout; None where nothing was lost."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.fault if isinstance(raw, _Output) else None


def _fill(number: int) -> None:
    """Let a closed file descriptor be no file that is opened later, into which a library's messages would go."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
