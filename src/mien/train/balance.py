"""Rare labels given their due in a trained network, without training it again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mien.train.nets import Network


@torch.no_grad()
def balance(net: Network, labels: NDArray[np.int64], strength: float, temperature: float) -> None:
    """Logit adjustment (Menon et al. 2021): what the network says of each label is divided by the label's share among
    the training `labels` (n,), to the power of `strength`.

    0 changes nothing; at 1 a network whose softmax of logits / `temperature` is right answers as if all labels were
    equally frequent. Labels without any image count as one. Changes the bias of the label head in place.
    """
    counts = np.maximum(np.bincount(labels, minlength=net.label_head.out_features), 1)
    shares = torch.from_numpy(np.log(counts / counts.sum())).to(net.label_head.bias)
    net.label_head.bias.sub_(strength * temperature * shares)
