"""Averages the weights of several trained networks of one shape into one, and recomputes its batch statistics."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import update_bn

from mien.errors import ModelError
from mien.training.expression.net import Network, to_input

STATISTICS_IMAGES = 6000


@torch.no_grad()
def average(nets: Sequence[Network], images: NDArray[np.uint8], size: int) -> Network:
    """A network, in evaluation mode, with the mean weights of `nets` (Wortsman et al. 2022, Model soups).

    Its activations are not the mean of theirs, so the statistics of the batch normalisations are computed again on
    up to `STATISTICS_IMAGES` of `images`, grey uint8 `(n, S, S)` from the training split. Raises ModelError when the
    networks differ in shape.
    """
    states = [net.state_dict() for net in nets]
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise ModelError("only runs of one network can be averaged; these differ in their [model] tables")
    result = copy.deepcopy(nets[0])
    result.load_state_dict({key: _mean([state[key] for state in states]) for key in states[0]})
    some = np.random.default_rng(0).permutation(len(images))[:STATISTICS_IMAGES]
    batches = np.array_split(some, max(1, len(some) // 500))
    update_bn((to_input(torch.from_numpy(images[index]), size) for index in batches), result)
    return result.eval()


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)
