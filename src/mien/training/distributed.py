"""The processes of one training run: one, or as many as `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mien.errors import MienError, RecipeError


@dataclass(frozen=True)
class World:
    """`rank` of `size` processes, on `device`. Rank 0 alone writes and talks."""

    rank: int
    size: int
    device: str

    def share(self, index: Tensor) -> Tensor:
        """This process's part of a global batch's indices."""
        return index[self.rank :: self.size]

    def parallel(self, net: nn.Module) -> nn.Module:
        """The network to call in training: gradients are averaged over all processes, and the statistics of batch
        normalisations are those of rank 0's part of each batch."""
        if self.size == 1:
            return net
        return DistributedDataParallel(net, [self.device] if self.device.startswith("cuda") else None)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, here: bool) -> bool:
        """Whether it holds in any process."""
        return bool(self.sum(torch.tensor(float(here), device=self.device)) > 0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def check(self, batch_size: int) -> None:
        """Raises RecipeError where a global batch cannot be divided."""
        if batch_size % self.size:
            raise RecipeError(f"optim.batch_size ({batch_size}) should be a multiple of the {self.size} processes")


@contextmanager
def process_group(device: str) -> Iterator[World]:
    """The processes that torchrun's environment variables describe, on `device` (cuda: one device per process).

    Raises MienError where they cannot train on the device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, device)
        return
    if device == "mps":
        raise MienError("several processes train on cuda or cpu, not on mps; use one process, or the device cpu")
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()
