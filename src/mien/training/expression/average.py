"""Several trained networks of one shape to one: the mean of their weights, with fresh statistics."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import ModelError
from mien.training.expression.net import Network, to_input

STATISTICS_IMAGES = 6000


@torch.no_grad()
def average(nets: Sequence[Network], images: NDArray[np.uint8], size: int) -> Network:
    """A network, in evaluation mode, with the mean weights of `nets` (Wortsman et al. 2022, Model soups).

    The mean of weights that came from one start is often better than each; its activations are no mean of theirs,
    so the statistics of the batch normalisations are taken again over some of `images`, grey uint8 `(n, S, S)`
    from the training split. Raises ModelError when the networks differ in shape.
    """
    states = [net.state_dict() for net in nets]
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise ModelError("only runs of one network can be averaged; these differ in their [model] tables")
    result = copy.deepcopy(nets[0])
    result.load_state_dict({key: _mean([state[key] for state in states]) for key in states[0]})
    norms = [module for module in result.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    some = np.random.default_rng(0).permutation(len(images))[:STATISTICS_IMAGES]
    result.train()
    for index in np.array_split(some, max(1, len(some) // 500)):
        result(to_input(torch.from_numpy(images[index]), size))
    for norm in norms:
        norm.momentum = 0.1
    return result.eval()


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)
