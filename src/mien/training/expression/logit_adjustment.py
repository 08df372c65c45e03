"""A trained network told to name some labels more readily, without training it again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mien.training.expression.net import Network


def rarity(labels: NDArray[np.int64], classes: int, strength: float) -> NDArray[np.float64]:
    """What gives rare labels their due (logit adjustment, Menon et al. 2021), in nats `(classes,)`: the logarithm of
    one over the label's share among the training `labels` (n,), times `strength`.

    At 1 a network whose probabilities are right answers as if all labels were equally frequent. Labels without any
    image count as one.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    nats: NDArray[np.float64] = -strength * np.log(counts / counts.sum())
    return nats


@torch.no_grad()
def favour(net: Network, nats: NDArray[np.float64], temperature: float) -> None:
    """Every label's odds against the others times exp(its `nats`), where probabilities are the softmax of
    logits / `temperature`. Changes the bias of the label head in place."""
    net.label_head.bias.add_(torch.from_numpy(temperature * nats).to(net.label_head.bias))
