"""Batches from the host to a device."""

import dataclasses
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def move(batch: T, device: torch.device) -> T:
    """A tensor, or a dataclass or tuple of such, on ``device``; the host does not wait for the copies."""
    return cast(T, _moved(batch, device))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        pinned = value.pin_memory() if value.device.type == "cpu" and device.type == "cuda" else value
        return pinned.to(device, non_blocking=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        moved = {f.name: _moved(getattr(value, f.name), device) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **moved)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value
