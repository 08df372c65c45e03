"""The networks: a small residual body with squeeze-excitation, and the plain stack that this project began with."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.labels import LABELS
from mien.training.expression.efficientnet import EfficientNet
from mien.training.expression.heads import TwoHeaded
from mien.training.recipe import ModelTable

MEAN, STD = 0.508, 0.255
"""Of FER2013's training pixels in 0..1; written to the card, read from there ever after."""


def normalise(images: Tensor) -> Tensor:
    """Pixels in 0..1 to the network's input."""
    return (images - MEAN) / STD


def resize(images: Tensor, size: int) -> Tensor:
    """Images `(n, 1, S, S)` as `(n, 1, size, size)`, the same tensor where they have that size already."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def to_input(crops: Tensor, size: int) -> Tensor:
    """Grey uint8 crops `(n, S, S)` to the network's input `(n, 1, size, size)`."""
    return normalise(resize(crops.unsqueeze(1).float() / 255, size))


class SqueezeExcite(nn.Module):
    """Channel gates from the globally averaged features (Hu et al. 2018), reduced to an eighth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, max(8, width // 8), 1)
        self.expand = nn.Conv2d(max(8, width // 8), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, post-activation).

    The shortcut of a stride-2 block averages before its 1x1 convolution, so that it drops no pixel
    (He et al. 2019, ResNet-D).
    """

    def __init__(self, width_in: int, width: int, stride: int, squeeze_excite: bool, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=not batch_norm)
        self.norm1 = _norm(width, batch_norm)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=not batch_norm)
        self.norm2 = _norm(width, batch_norm)
        self.gate = SqueezeExcite(width) if squeeze_excite else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity(),
                nn.Conv2d(width_in, width, 1, bias=not batch_norm),
                _norm(width, batch_norm),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.gate(self.norm2(self.conv2(y))) + self.shortcut(x))


def _norm(width: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(width) if batch_norm else nn.Identity()


class ResidualNet(TwoHeaded):
    """Stages of residual blocks, each of half the resolution and more channels; see `TwoHeaded`."""

    def __init__(self, table: ModelTable, labels: tuple[str, ...] = LABELS) -> None:
        super().__init__()
        kernel = 5 if table.stem_stride == 2 else 3
        self.stem = nn.Sequential(
            nn.Conv2d(1, table.stem_width, kernel, table.stem_stride, kernel // 2, bias=not table.batch_norm),
            _norm(table.stem_width, table.batch_norm),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        width_in = table.stem_width
        stages = zip(table.widths, table.depths, table.squeeze_excite, strict=True)
        for stage, (width, depth, squeeze_excite) in enumerate(stages):
            # A stride-1 stem halves in every stage; a stride-2 stem has done the first halving.
            for i in range(depth):
                stride = 2 if i == 0 and (stage > 0 or table.stem_stride == 1) else 1
                blocks.append(Block(width_in, width, stride, squeeze_excite, table.batch_norm))
                width_in = width
        self.body = nn.Sequential(*blocks)
        self._end(width_in, table, labels)

    def maps(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(self.stem(x)))


class PlainNet(nn.Module):
    """Grey crops `(n, 1, S, S)`, normalised, to logits `(n, k)`, k the number of `labels`.

    Per width a 3x3 convolution without padding, 2x2 max-pooling, ReLU and dropout, then dense layers with dropout and
    a linear output; weights begin as Glorot's uniform, biases at zero (Keras's defaults, with which this project's
    first network was made). ReLU follows the pooling because the result is the same for a quarter of the work.
    """

    def __init__(self, table: ModelTable, labels: tuple[str, ...] = LABELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in, side = 1, table.input_size
        for width in table.widths:
            layers += [nn.Conv2d(width_in, width, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(table.dropout)]
            width_in, side = width, (side - 2) // 2
        layers.append(nn.Flatten())
        width_in *= side * side
        for width, dropout in zip(table.dense, table.dense_dropout, strict=True):
            layers += [nn.Linear(width_in, width), nn.ReLU(), nn.Dropout(dropout)]
            width_in = width
        self.body = nn.Sequential(*layers)
        self.label_head = nn.Linear(width_in, len(labels))
        self.vote_head = None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (cast(Tensor, self.label_head(self.body(x))),)


Network = ResidualNet | PlainNet | EfficientNet


def build(table: ModelTable, labels: tuple[str, ...] = LABELS) -> Network:
    """The network that a recipe's [model] table describes, for these labels, with random weights."""
    kinds: dict[str, type[Network]] = {"residual": ResidualNet, "plain": PlainNet, "efficientnet": EfficientNet}
    return kinds[table.kind](table, labels)


def parameter_count(net: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in net.parameters())
