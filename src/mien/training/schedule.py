"""What changes over the epochs: learning rate, image size, strength of the augmentation."""

from __future__ import annotations

import math

from mien.training.recipe import LoopTable, OptimTable, Recipe


def learning_rate(epoch: float, optim: LoopTable) -> float:
    """Linear warm-up, then the peak rate or half a cosine to zero (Loshchilov and Hutter 2017); `epoch` from 0,
    with fractions."""
    if epoch < optim.warmup_epochs:
        return optim.lr * (epoch + 1e-3) / optim.warmup_epochs
    if optim.schedule == "constant":
        return optim.lr
    done = (epoch - optim.warmup_epochs) / (optim.epochs - optim.warmup_epochs)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def size_at(recipe: Recipe, epoch: int) -> int:
    """Side in pixels of the training images in an epoch, counted from 0."""
    size = recipe.model.input_size
    for share, pixels in recipe.optim.sizes:
        if epoch >= share * recipe.optim.epochs:
            size = pixels
    return size


def strength_at(epoch: int, optim: OptimTable) -> float:
    """Strength of the augmentation in an epoch, counted from 0: one, and at the end the fade to `calm_strength`."""
    calm = optim.calm_share * optim.epochs
    faded = (epoch + 1 - (optim.epochs - calm)) / calm if calm else 0.0
    return 1 - (1 - optim.calm_strength) * min(max(faded, 0.0), 1.0)
