"""The command line: arguments are read here, verbs are imported when they are called, and :mod:`flipbench.api` does it.

Exit codes: 0 all good, 1 the user's mistake, 2 some stages failed, 3 a verification found a mismatch, 130 stopped by
the user.
"""

import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from flipbench.cli.arguments import VERBS, parser_of
from flipbench.errors import UserError
from flipbench.printable import one_line


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser_of().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    # One thread in numpy's products: they are small, and sums must not depend on how many cores a machine has.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    module, _, function = VERBS[args.verb][0].partition(".")
    verb = getattr(importlib.import_module(f"flipbench.cli.{module}"), function)
    try:
        code: int = verb(args) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"flipbench: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flipbench: stopped; the same command continues where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
