"""What the training loop asks of the thing that it trains, be it a reader of expressions or a finder of faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What one batch came to, as scalars on the device: the `loss` to descend, and as means over the batch the loss
    and the accuracy (0..1) to show to people."""

    loss: Tensor
    shown_loss: Tensor
    shown_accuracy: Tensor


class Lesson(Protocol):
    """A network and all that it learns from, except how steps are taken."""

    net: nn.Module
    """With its first weights, on the device."""
    measures: tuple[str, str]
    """What accuracy and loss are, in words for the curves."""

    @property
    def facts(self) -> dict[str, object]:
        """Which data it is, for run.json."""
        ...

    def open(self) -> None:
        """Get ready whatever training needs and judging the folder does not; called once, before `shuffled`."""
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
        """What the network, called as `running`, makes of one batch."""
        ...

    def validate(self, average: nn.Module) -> tuple[float, float]:
        """Loss and accuracy (0..1) of the averaged network on the validation images."""
        ...
