"""Pictures made small enough for a network, with both sides multiples of 32."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONG_SIDE = 640
"""Images are reduced to this before the search; faces of about 10 pixels and more are found after that."""


def pad(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture continued in black to the right and below, until 32 divides both sides."""
    below, right = -image.shape[0] % 32, -image.shape[1] % 32
    if not (below or right):
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)


def reduce(image: NDArray[np.uint8], long_side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture with no side above `long_side`, padded, and the factors `(2,)` that bring its x and y back."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    if scale == 1:
        return pad(image), np.ones(2, np.float32)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # The two sides shrink by slightly different factors where rounding was needed.
    return pad(small), np.array([width / size[0], height / size[1]], np.float32)
