"""Which device stages run on, and how many of them at once."""

import os
import re
from pathlib import Path

from flipbench.errors import UserError, nearest
from flipbench.interrupts import held_back


def check_options(device: str, workers: int | None) -> None:
    """Raises UserError where ``device`` is none that stages run on, or ``workers`` is below one; needs no torch.

    Torch has devices that nothing here is meant for or measured on (``meta``, ``mps``), and other names for these.
    """
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", device):
        close = nearest(device, ["auto", "cpu", "cuda", "cuda:0"])
        raise UserError(f"--device {device or repr(device)}: stages run on a CPU or a CUDA GPU{close}")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")


def slots_of(device: str, workers: int | None) -> tuple[str, int]:
    """The kind of device (``cpu`` or ``cuda``) and the number of stages at once, found without torch.

    Raises UserError as :func:`check_options`.
    """
    check_options(device, workers)
    if device == "auto":
        device = "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind = "cpu" if device == "cpu" else "cuda"
    return kind, workers or (cores if kind == "cpu" else 1)


def usable(device: str) -> str:
    """The torch device that ``cpu``, ``cuda``, ``cuda:1`` or ``auto`` means; raises UserError where it is not here."""
    check_options(device, None)
    if device == "cpu":
        return device
    with held_back():
        import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not usable here ({str(error).splitlines()[0]})") from None
    return device
