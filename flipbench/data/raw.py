"""Raw files, read whole."""

from pathlib import Path

from flipbench.errors import UserError


def read_bytes(path: Path) -> bytes:
    """A raw file's content.

    Raises:
        UserError: it is missing, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
