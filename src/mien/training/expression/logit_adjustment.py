"""Logit adjustment: a trained network made to predict some labels more readily, without training it again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mien.training.expression.net import Network


def balance_adjustment(labels: NDArray[np.int64], classes: int, strength: float) -> NDArray[np.float64]:
    """Nats `(classes,)` to add to each label's log-odds: log(1 / its share of the training `labels` (n,)), times
    `strength` (Menon et al. 2021).

    At 1 a calibrated network answers as if all labels were equally frequent. Labels without an image count as one.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    nats: NDArray[np.float64] = -strength * np.log(counts / counts.sum())
    return nats


@torch.no_grad()
def adjust_logits(net: Network, nats: NDArray[np.float64], temperature: float) -> None:
    """Multiply every label's odds by exp(its `nats`), where probabilities are softmax(logits / `temperature`).

    Changes the bias of the label head in place.
    """
    net.label_head.bias.add_(torch.from_numpy(temperature * nats).to(net.label_head.bias))
