"""Where a detector's network starts from: another run's best weights, or an exported detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import models
from mien.data.photographs import Photograph
from mien.errors import ModelError
from mien.training.detector.net import MEAN, STD, DetectorNet, Separable, normalised
from mien.training.recipe import DetectorRecipe
from mien.training.run_folder import RunFolder

_PICTURES, _SIDE = 96, 256
"""How many training photographs, and how large, tell what the normalisations of an exported network should be."""
_DEAD = 1e-6
"""Variance below which a channel is constant on all of them: it is initialised again, with a scale of zero."""


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
    undo them: what the network answers stays the same, and it can be trained on as if it had never been folded. That
    holds for a wider or deeper `net`, too: nothing listens to its new channels, and its new blocks add nothing, until
    they have learned to (Chen et al. 2016, Net2Net). Raises KeyError or RuntimeError where the file does not fit in.
    """
    import onnx  # here, so that a machine that only trains can do without it
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(weights).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    held = {name: torch.from_numpy(_as_real(name, array, arrays)) for name, array in arrays.items()}
    held |= {name.removesuffix("_quantized"): weight for name, weight in held.items() if name.endswith("_quantized")}
    # The exported network sees pictures that are not normalised.
    held["net.stem.0.bias"] += MEAN * held["net.stem.0.weight"].sum((1, 2, 3))
    held["net.stem.0.weight"] *= STD
    norms: dict[nn.Module, nn.BatchNorm2d] = dict(_normalised_convolutions(net))
    rows: dict[nn.Module, int] = {}
    """How many of a convolution's rows come from the file."""
    for name, block in net.named_modules():
        if isinstance(block, Separable) and block.shortcut and f"net.{name}.across.weight" not in held:
            rows |= {block.each: 0, block.across: 0}
            nn.init.zeros_(block.norm_across.weight)
    for name, conv in net.named_modules():
        if isinstance(conv, nn.Conv2d) and conv not in rows:
            offset, weight = norms[conv].bias if conv in norms else conv.bias, held[f"net.{name}.weight"]
            assert offset is not None
            rows[conv] = len(weight)
            _fill(conv.weight, weight)
            _fill(offset, held[f"net.{name}.bias"])

    def measure(conv: nn.Module, inputs: object, output: Tensor) -> None:
        variance, mean = torch.var_mean(output.float(), (0, 2, 3))
        norm, taken = norms[conv], rows[conv]
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight[:taken] = (variance[:taken] + norm.eps).sqrt()
        norm.bias[:taken] += mean[:taken]
        dead = variance[:taken] < _DEAD
        if isinstance(conv, nn.Conv2d) and dead.any():
            fresh = torch.empty_like(conv.weight)
            nn.init.kaiming_normal_(fresh, mode="fan_out", nonlinearity="relu")
            conv.weight[:taken][dead] = fresh[:taken][dead]
            norm.weight[:taken][dead] = 0
            norm.running_var[:taken][dead] = 1

    hooks = [conv.register_forward_hook(measure) for conv in norms]
    net.eval()(normalised(torch.from_numpy(pictures)))
    for hook in hooks:
        hook.remove()
    net.train()


def _as_real(name: str, array: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """A file's array as float32; an int8 weight, or the bias beside it, by the scale of its channel."""
    real, weight = array.astype(np.float32), name.removesuffix("_quantized")
    if name == weight:
        return real
    scale = arrays.get(f"{weight}_scale", arrays.get(f"{name}_scale"))
    assert scale is not None
    return np.asarray(real * scale.reshape(-1, *[1] * (array.ndim - 1)), np.float32)


def _fill(parameter: Tensor, held: Tensor) -> None:
    """The first rows of a parameter from one of a network that is as wide or less: they take nothing from inputs that
    it does not have, and the rows that it does not have stay as they are."""
    taken = held.shape[0]
    if any(theirs > ours for theirs, ours in zip(held.shape, parameter.shape, strict=True)):
        raise RuntimeError(f"{tuple(held.shape)} does not fit into {tuple(parameter.shape)}")
    parameter[:taken] = 0
    parameter[tuple(slice(0, length) for length in held.shape)] = held


def _normalised_convolutions(net: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the normalisation right behind it."""
    for module in net.modules():
        for (_, conv), (_, norm) in pairwise(module.named_children()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield conv, norm
