"""Depthwise convolutions that train fast on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def depthwise(width: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Each channel convolved alone, padded by half the kernel."""
    kind = _Float32 if stride > 1 or kernel > 3 else nn.Conv2d
    return kind(width, width, kernel, stride, kernel // 2, groups=width, bias=bias)


class _Float32(nn.Conv2d):
    """For what strides or is larger than 3x3: in bfloat16 its backward pass takes CPUs four to twelve times as long."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
