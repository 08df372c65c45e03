"""The face detector's network: one stage, no anchors, three strides (FCOS, Tian et al. 2019; YuNet, Wu et al. 2023)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.training.convolution import depthwise
from mien.training.recipe import DetectorModelTable

STRIDES = (8, 16, 32)
OUTPUTS = 1 + 4 + 10
"""Of every cell: the score's logit, the box, five landmarks."""


MEAN, STD = 114.75, 63.75
"""Of a picture's values in 0..255: what the network sees is their difference to the one, divided by the other."""


def normalised(pictures: Tensor) -> Tensor:
    """Pictures `(n, H, W, 3)` uint8 as the network takes them, `(n, 3, H, W)` float32, channels last in memory."""
    return (pictures.permute(0, 3, 1, 2).float() - MEAN) / STD


class Separable(nn.Module):
    """A 3x3 convolution of each channel alone, then one across channels (MobileNet, Howard et al. 2017); with a
    shortcut where the shape stays the same (He et al. 2016)."""

    def __init__(self, width_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.each = depthwise(width_in, stride=stride)
        self.norm_each = nn.BatchNorm2d(width_in)
        self.across = nn.Conv2d(width_in, width, 1, bias=False)
        self.norm_across = nn.BatchNorm2d(width)
        self.shortcut = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm_across(self.across(F.relu(self.norm_each(self.each(x)))))
        return F.relu(y + x if self.shortcut else y)


class DetectorNet(nn.Module):
    """RGB pictures `(n, 3, H, W)`, `normalised`, both sides multiples of 32, to `(n, cells, 15)`.

    Cells are those of stride 8, row by row, then of 16, then of 32. A cell's numbers are the logit of its score, how
    far the box's centre lies from the cell's corner and the logarithm of the box's sides, then x and y of the
    landmarks from the cell's corner; all lengths in strides.
    """

    def __init__(self, table: DetectorModelTable) -> None:
        super().__init__()
        first, second, *stages = table.widths
        shallow, *deep = table.depths
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            Separable(first, second, 2),
            *(Separable(second, second) for _ in range(shallow - 1)),
        )
        self.stages = nn.ModuleList()
        width_in = second
        for width, depth in zip(stages, deep, strict=True):
            blocks = [Separable(width_in if i == 0 else width, width, 2 if i == 0 else 1) for i in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            width_in = width
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, table.neck, 1, bias=False), nn.BatchNorm2d(table.neck), nn.ReLU())
            for width in stages
        )
        self.merge = nn.ModuleList(Separable(table.neck, table.neck) for _ in stages)
        self.heads = nn.ModuleList(nn.Conv2d(table.neck, OUTPUTS, 1) for _ in stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for head in self.heads:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            head.bias.data[0] = -math.log((1 - 0.01) / 0.01)  # faces are rare (focal loss, Lin et al. 2017)
            head.bias.data[3:5] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        above: Tensor | None = None
        found: list[Tensor] = []
        for feature, lateral, merge, head in zip(
            reversed(features), reversed(self.lateral), reversed(self.merge), reversed(self.heads), strict=True
        ):
            y = lateral(feature)
            if above is not None:
                y = y + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = merge(y)
            found.append(head(above).flatten(2))
        return torch.cat(found[::-1], 2).transpose(1, 2)
