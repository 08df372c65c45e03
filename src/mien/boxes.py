"""Areas and overlaps of boxes `(n, 4)`: x1 y1 x2 y2, in pixels; a box that ends before it begins has no area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def areas(boxes: Boxes) -> NDArray[np.float32]:
    """`(n,)` in square pixels."""
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1), np.float32)


def shared_areas(boxes: Boxes, others: Boxes) -> NDArray[np.float32]:
    """What every box has in common with every one of `others` `(m, 4)`, `(n, m)` in square pixels."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=2), np.float32)


def overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.float32]:
    """Intersection over union, `(n, m)` in 0..1; 0 for two boxes without area."""
    shared = shared_areas(boxes, others)
    union = areas(boxes)[:, None] + areas(others)[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)
