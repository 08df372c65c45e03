"""The whole training set on the device, served in shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.training.distributed import World
from mien.training.expression.targets import Targets


@dataclass(frozen=True)
class Batch:
    """Images `(b, 1, S, S)` float32 in 0..1, labels `(b,)`, and the columns of `Targets`."""

    images: Tensor
    labels: Tensor
    targets: tuple[Tensor, ...]


class Batches:
    """Full batches of `batch_size` over all processes, of which each gets its share.

    `recropped` are other images `(n, S, S)` of the same rows; a share of each batch is taken from them.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], targets: Targets, batch_size: int, world: World,
        recropped: NDArray[np.uint8] | None = None, recropped_share: float = 0.0,
    ) -> None:  # fmt: skip
        self._world, self._recropped_share = world, recropped_share
        self._images, self._labels = (torch.from_numpy(x).to(world.device) for x in (images, labels))
        self._targets = [torch.from_numpy(column).to(world.device) for column in targets.columns()]
        self._recropped = None if recropped is None else torch.from_numpy(recropped).to(world.device)
        self.batch_size = min(batch_size, len(images) // world.size * world.size)
        self.images_per_epoch = len(self) * self.batch_size

    def __len__(self) -> int:
        return len(self._images) // self.batch_size

    def shuffled(self, order: torch.Generator, draws: torch.Generator) -> Iterator[Batch]:
        """Every image once, less those that fill no batch, in an order that all processes share; which of them
        are recropped is this process's own draw."""
        indices = torch.randperm(len(self._images), generator=order, device=self._world.device)
        for whole in torch.split(indices[: self.images_per_epoch], self.batch_size):
            index = self._world.share(whole)
            images = self._images[index]
            if self._recropped is not None:
                chosen = torch.rand(len(index), generator=draws, device=self._world.device) < self._recropped_share
                images = torch.where(chosen.view(-1, 1, 1), self._recropped[index], images)
            yield Batch(
                images.unsqueeze(1).float() / 255, self._labels[index], tuple(column[index] for column in self._targets)
            )
