"""Random changes to a batch of crops, on the device that holds them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.training.recipe import AugmentTable


class _Draws:
    """Random numbers for one batch, on its device."""

    def __init__(self, batch: Tensor, generator: torch.Generator) -> None:
        self.count, self.device, self.generator = len(batch), batch.device, generator

    def uniform(self, low: float, high: float, count: int | None = None) -> Tensor:
        """`(count,)` values between low and high; by default one for each image of the batch."""
        n = self.count if count is None else count
        return torch.rand(n, device=self.device, generator=self.generator) * (high - low) + low

    def one(self, low: float, high: float) -> float:
        return float(self.uniform(low, high, 1))

    def some(self, share: float) -> Tensor:
        """Indices of a random share of the batch."""
        return torch.nonzero(self.uniform(0, 1) < share).flatten()


def augment(images: Tensor, size: int, table: AugmentTable, generator: torch.Generator) -> Tensor:
    """Grey crops `(n, 1, S, S)` in 0..1 to changed crops `(n, 1, size, size)` in 0..1.

    Geometry first, in a single resampling (flip, rotation, scale, stretch, shift), then light, then optics
    (low resolution, blur, noise), then erasing. All draws come from `generator`, on the images' device.
    """
    draw = _Draws(images, generator)
    images = _warp(images, size, table, draw)
    images = images * (1 + table.contrast * draw.uniform(-1, 1)).view(-1, 1, 1, 1)
    images = images + (table.brightness * draw.uniform(-1, 1)).view(-1, 1, 1, 1)
    images = images.clamp_(1e-4, 1) ** torch.exp(table.gamma * draw.uniform(-1, 1)).view(-1, 1, 1, 1)
    if len(some := draw.some(table.low_resolution)):
        small = int(size * draw.one(0.33, 1))
        coarse = F.interpolate(images[some], size=small, mode="bilinear", antialias=True)
        images[some] = F.interpolate(coarse, size=size, mode="bilinear")
    if len(some := draw.some(table.blur)):
        images[some] = _blur(images[some], 0.4 + 0.9 * draw.one(0, 1))
    if len(some := draw.some(table.noise)):
        spread = draw.uniform(0.01, 0.06, len(some)).view(-1, 1, 1, 1)
        images[some] += spread * torch.randn(images[some].shape, device=images.device, generator=generator)
    if len(some := draw.some(table.erase)):
        images[some] = _erase(images[some], _Draws(some, generator))
    return images.clamp_(0, 1)


def _warp(images: Tensor, size: int, table: AugmentTable, draw: _Draws) -> Tensor:
    angle = draw.uniform(-1, 1) * math.radians(table.rotate)
    low, high = (math.log(s) for s in table.scale)
    scale = torch.exp(draw.uniform(low, high))
    stretch = torch.exp(draw.uniform(-1, 1) * math.log1p(table.stretch) / 2)
    mirror = torch.where(draw.uniform(0, 1) < table.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.stack(
        [
            torch.stack([mirror * cos * stretch, -sin * stretch, 2 * table.shift * draw.uniform(-1, 1)], 1),
            torch.stack([mirror * sin / stretch, cos / stretch, 2 * table.shift * draw.uniform(-1, 1)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _blur(images: Tensor, sigma: float) -> Tensor:
    offsets = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))


def _erase(images: Tensor, draw: _Draws) -> Tensor:
    """One rectangle of 4 to 25 % of the area in each image becomes one random grey."""
    height, width = images.shape[2:]
    area = draw.uniform(0.04, 0.25)
    aspect = torch.exp(draw.uniform(math.log(0.4), math.log(2.5)))
    half_height, half_width = torch.sqrt(area * aspect) / 2, torch.sqrt(area / aspect) / 2
    y = torch.linspace(0, 1, height, device=images.device).view(1, -1, 1)
    x = torch.linspace(0, 1, width, device=images.device).view(1, 1, -1)
    inside_y = (y - draw.uniform(0, 1).view(-1, 1, 1)).abs() < half_height.view(-1, 1, 1)
    inside_x = (x - draw.uniform(0, 1).view(-1, 1, 1)).abs() < half_width.view(-1, 1, 1)
    grey = draw.uniform(0, 1).view(-1, 1, 1, 1)
    return torch.where((inside_y & inside_x).unsqueeze(1), grey, images)
