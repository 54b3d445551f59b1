"""Projections of all processes' rows, for a contrast over the global batch."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def world_size() -> int:
    """Processes that train together; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(local: Tensor, gradient: bool) -> Tensor:
    """The rows [B, D] of every process, in rank order: [processes * B, D]; each gives as many.

    With ``gradient``, backward brings every process's gradient home: averaged over processes, as
    DistributedDataParallel does, it is that of the global batch. Without, a process's gradient reaches its own rows
    alone, and the average is 1 / processes of it (code).
    """
    if world_size() == 1:
        return local
    if gradient:
        return torch.cat(all_gather(local))  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(parts, local.detach())
    parts[rank()] = local
    return torch.cat(parts)
