"""Boxes `(n, 4)`, x1 y1 x2 y2 in pixels: areas, overlaps, and boxes that turn with what they enclose.

A box that ends before it begins has no area.
"""

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


def turned_boxes(boxes: Boxes, linear: NDArray[np.float64], shift: NDArray[np.float64]) -> Boxes:
    """Boxes `(n, 4)` around faces after the affine map p -> linear p + shift.

    A box is taken as the ellipse that it encloses, and the result encloses that ellipse, mapped: heads have no corners,
    and the box around a turned box's corners is twice too large at 45 degrees.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.sqrt(half**2 @ (linear.T**2))
    return np.concatenate([centers - reach, centers + reach], 1).astype(np.float32)


def turned_regions(boxes: Boxes, linear: NDArray[np.float64], shift: NDArray[np.float64]) -> Boxes:
    """Boxes `(n, 4)` that enclose all four corners of boxes after that map: nothing that was to be ignored is lost."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    reach = (boxes[:, 2:] - boxes[:, :2]) / 2 @ np.abs(linear).T
    return np.concatenate([centers - reach, centers + reach], 1).astype(np.float32)
