"""What the training loop needs from the thing it trains: an expression network or a face detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One batch's results, as scalars on the device: the `loss` to minimise, and the means over the batch that are
    logged."""

    loss: Tensor
    logged_loss: Tensor
    accuracy: Tensor
    """In 0..1."""


class Task(Protocol):
    """A network, its data and its loss; everything but how steps are taken."""

    net: nn.Module
    """With its initial weights, on the device."""
    measures: tuple[str, str]
    """Names of accuracy and loss, for the curves."""

    @property
    def facts(self) -> dict[str, object]:
        """Which data it is, for run.json."""
        ...

    def open(self) -> None:
        """Load what only training needs; called once, before `shuffled`."""
        ...

    @property
    def batch_size(self) -> int:
        """Images per step, over all processes."""
        ...

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        ...

    def size(self, epoch: int) -> int:
        """Side of the training images in an epoch counted from 0, in pixels."""
        ...

    def shuffled(self, epoch: int, order: torch.Generator, draws: torch.Generator) -> Iterator[Any]:
        """The epoch's batches. All processes share `order`; `draws` are this process's own."""
        ...

    def step(self, running: nn.Module, batch: Any, epoch: int, draws: torch.Generator) -> Step:
        """Loss and accuracy of one batch under the network, called as `running`."""
        ...

    def validate(self, average: nn.Module) -> tuple[float, float]:
        """Loss and accuracy (0..1) of the averaged network on the validation images."""
        ...
