"""The command line: arguments are read here, verbs are imported when they are called, and :mod:`flipbench.api` does it.

Exit codes: 0 all good, 1 the user's mistake, 2 some stages failed, 3 a verification found a mismatch, 130 stopped by
the user. At the top nothing is imported but what Python itself has loaded: what takes time, a user may stop.
"""

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        argv: the words after the program's name. None: those of the process, which ends with this call.
    """
    try:
        code = _run(argv)
    except KeyboardInterrupt:
        code = 130
    if argv is None:  # of a second Ctrl-C, Python would complain in many lines while it ends
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == 130:
        _write("flipbench: stopped; the same command continues where it was")
    return code


def _run(argv: list[str] | None) -> int:
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    from flipbench.cli import streams
    from flipbench.errors import UserError

    streams.prepare()
    try:
        try:
            return _call(argv)
        finally:
            sys.stdout.flush()
    except UserError as error:
        _write(f"flipbench: {error}")
    except (OSError, SystemExit) as end:  # argparse prints help, and exits
        if fault := streams.fault():
            if isinstance(fault, BrokenPipeError):  # the reader of our output left, as `| head` does
                return 0
            _write(f"flipbench: standard output: {fault.strerror}")
        elif isinstance(end, SystemExit):
            raise
        else:
            _write(": ".join(str(part) for part in ("flipbench", end.filename, end.strerror or end) if part))
    return 1


def _call(argv: list[str] | None) -> int:
    import importlib

    from flipbench.cli.arguments import VERBS, parser_of

    args = parser_of().parse_args(argv)
    # One thread in numpy's products: they are small, and sums must not depend on how many cores a machine has.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    module, _, function = VERBS[args.verb][0].partition(".")
    verb = getattr(importlib.import_module(f"flipbench.cli.{module}"), function)
    code: int = verb(args) or 0
    return code


def _write(line: str) -> None:
    """Write a line to stderr, if it can be written there."""
    from contextlib import suppress

    from flipbench.printable import one_line

    with suppress(OSError):
        if sys.stderr is not None:  # else stopped before there was one
            print(one_line(line), file=sys.stderr)
