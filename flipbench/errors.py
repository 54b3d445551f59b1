"""Errors that a user can correct, and hints for correcting them."""

import difflib
from collections.abc import Iterable

from flipbench.printable import one_line


class UserError(Exception):
    """A mistake in what the user gave (a suite, an option, a file).

    The command line prints it as one line and exits with 1; no traceback. The message names
    the file and the key, and ends with the nearest valid value where there is one. What would command
    a terminal is written as an escape (``\\x1b``), and the end of a line as a blank.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class NotPreparedError(UserError):
    """A data set that is to be fetched or imported first; the message ends with the command."""


class DamagedError(UserError):
    """A file of the results is missing, damaged, changed or forged; the message names it."""


def reason_of(error: Exception) -> str:
    """Why something failed, in one piece: a user's mistake speaks for itself."""
    return str(error) if isinstance(error, UserError) else described(error)


def described(error: BaseException) -> str:
    """An error as ``TYPE: MESSAGE``, also where a user's class of errors has no message to give.

    A stack of C++ calls, which torch adds, tells nothing and is left out.
    """
    try:
        message = str(error).partition("\nException raised from")[0]
        return f"{type(error).__name__}: {message}"
    except Exception as other:
        return f"{type(error).__name__} (without a message: {type(other).__name__})"


def nearest(word: str, valid: Iterable[str]) -> str:
    """The hint to end an error line with: the closest of ``valid`` to ``word``, or all of a few."""
    valid = sorted(valid)
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid: {', '.join(valid)}" if 0 < len(valid) <= 24 else ""


SHOWN = 80
"""Characters of what a user gave that an error line repeats."""


def shorten(text: str, most: int = SHOWN) -> str:
    """The text, or its beginning and ``…`` where it is longer than an error line has room for."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
