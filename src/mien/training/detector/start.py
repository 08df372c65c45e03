"""Where a detector's network starts from: another run's best weights, or an exported detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import models
from mien.data.photographs import Photograph
from mien.errors import ModelError
from mien.training.detector.net import STD, DetectorNet, normalised
from mien.training.recipe import DetectorRecipe
from mien.training.run_folder import RunFolder

_PICTURES, _SIDE = 96, 256
"""How many training photographs, and how large, tell what the normalisations of an exported network should be."""


def start(net: DetectorNet, recipe: DetectorRecipe, photographs: Sequence[Photograph]) -> None:
    """Put the weights that `recipe.init` names into `net`: a run folder's best, those of the detector in the package
    (`mien`) or of an .onnx file; random ones stay where it names none.

    Raises ModelError where they are of another network.
    """
    if not recipe.init:
        return
    if recipe.init != "mien" and not recipe.init.endswith(".onnx"):
        RunFolder(Path(recipe.init)).load_best(net)
        return
    model = models.load_detector(None if recipe.init == "mien" else Path(recipe.init))
    some = photographs[:: max(1, len(photographs) // _PICTURES)][:_PICTURES]
    squares = [cv2.resize(one.pixels(), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for one in some]
    try:
        unfold(net, model.weights, np.stack(squares).astype(np.uint8))
    except (KeyError, RuntimeError):
        raise ModelError(
            f"detector {recipe.init!r} is another network than the recipe's [model] table describes"
        ) from None


@torch.no_grad()
def unfold(net: DetectorNet, weights: bytes, pictures: NDArray[np.uint8]) -> None:
    """Fill `net` from an exported detector, whose normalisations are folded into its convolutions.

    Each gets the mean and variance that its input has on `pictures` (n, S, S, 3) uint8 RGB, and a scale and shift that
    undo them: what the network answers stays the same, and it can be trained on as if it had never been folded. Raises
    KeyError or RuntimeError where the file is of another network.
    """
    import onnx  # here, so that a machine that only trains can do without it
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(weights).graph
    held = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    held["net.stem.0.weight"] *= STD  # the exported network sees pictures less their mean, undivided
    pairs = {name: (conv, norm) for name, conv, norm in _normalised_convolutions(net)}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(held[f"net.{name}.weight"])
            offset = pairs[name][1].bias if name in pairs else module.bias
            assert offset is not None
            offset.copy_(held[f"net.{name}.bias"])
    moments: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(module: nn.Module, inputs: object, output: Tensor) -> None:
        variance, mean = torch.var_mean(output.float(), (0, 2, 3))
        moments[module] = mean, variance

    hooks = [conv.register_forward_hook(measure) for conv, _ in pairs.values()]
    net.eval()(normalised(torch.from_numpy(pictures)))  # fresh normalisations in evaluation change nothing
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs.values():
        mean, variance = moments[conv]
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
    net.train()


def _normalised_convolutions(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with a normalisation right behind it, by the convolution's name."""
    for prefix, module in net.named_modules():
        for (name, conv), (_, norm) in pairwise(module.named_children()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield f"{prefix}.{name}" if prefix else name, conv, norm
