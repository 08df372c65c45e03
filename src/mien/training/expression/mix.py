"""Mixup and CutMix: a batch blended with itself in another order, images and targets alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mien.training.recipe import MixTable


def mix(
    images: Tensor, targets: tuple[Tensor, ...], table: MixTable, generator: torch.Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Images `(b, 1, S, S)` and float targets `(b, ...)`, blended as the table says; draws come from `generator`."""
    if not table.mixup and not table.cutmix:
        return images, targets
    seed = int(torch.randint(2**62, (1,), device=images.device, generator=generator))
    random = np.random.default_rng(seed)  # torch draws no Beta from a generator
    cut = bool(table.cutmix) and (not table.mixup or random.random() < 0.5)
    alpha = table.cutmix if cut else table.mixup
    share = float(random.beta(alpha, alpha))
    order = torch.randperm(len(images), device=images.device, generator=generator)
    if cut:
        images, share = _paste(images, images[order], share, random)
    else:
        images = share * images + (1 - share) * images[order]
    return images, tuple(share * target + (1 - share) * target[order] for target in targets)


def _paste(images: Tensor, others: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """With one rectangle, of about 1 - share of the area and cut off at the border, taken from the others; and the
    share that is left."""
    height, width = images.shape[2:]
    half = np.sqrt(1 - share) / 2
    (y, x) = random.uniform(0, 1, 2)
    top, bottom = (int(np.clip(round((y + d) * height), 0, height)) for d in (-half, half))
    left, right = (int(np.clip(round((x + d) * width), 0, width)) for d in (-half, half))
    images = images.clone()
    images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return images, 1 - (bottom - top) * (right - left) / (height * width)
