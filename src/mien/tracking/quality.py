"""How well a face can be read: its resolution, sharpness, pose, and the detector's score."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces

_SIDE = 48
"""Pixels to which larger faces are reduced before their sharpness is measured: about what the network sees."""
_HALF_SIZE, _HALF_SHARPNESS = 12.0, 0.02
"""Side in pixels, and sharpness, at which half of what can be read is lost."""
_NOSE = 0.4
"""How far the nose moves between the eyes, in distances of the eyes, when the head turns by 45 degrees."""


def quality(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.float32]:
    """How well each face can be read, (n,) float32 in 0..1: the product of `size`, `sharpness`, `pose` and score.

    `image` is the `(H, W, 3)` uint8 RGB frame in which the faces were found.
    """
    score = np.clip(faces.scores, 0, 1)
    product: NDArray[np.float32] = size(faces) * sharpness(image, faces) * pose(faces) * score
    return product


def size(faces: Faces) -> NDArray[np.float32]:
    """Of the faces' resolution alone: s^2 / (s^2 + 12^2), s the square root of a box's area in pixels. 0.8 at 24 px."""
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    area: NDArray[np.float32] = sides.prod(1)
    return area / (area + np.float32(_HALF_SIZE**2))


def sharpness(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.float32]:
    """Of focus and motion blur: r / (r + 0.02), r the variance of the Laplacian (Pech-Pacheco et al. 2000) over that
    of the grey box itself, reduced to 48 pixels, so that neither contrast nor resolution counts. Noise counts as
    sharp. 0 for a box that is plain, or outside the image.
    """
    values = np.zeros(len(faces), np.float32)
    corners = np.maximum(np.rint(faces.boxes), 0).astype(int)
    for i, (x1, y1, x2, y2) in enumerate(corners):
        patch = image[y1:y2, x1:x2]
        if min(patch.shape[:2]) < 3:
            continue
        grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
        if max(grey.shape) > _SIDE:
            grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        ratio = cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0)
        values[i] = ratio / (ratio + _HALF_SHARPNESS)
    return values


def pose(faces: Faces) -> NDArray[np.float32]:
    """Of the head's turn to the side: about the cosine of the yaw, 1 where landmarks are not known.

    The nose stands out from the plane of the eyes, so it moves between them by 0.4 tan(yaw) of their distance. Roll
    does not count, as the crop is turned upright; nodding moves the nose along, not between.
    """
    right, left, nose = (faces.landmarks[:, k].astype(np.float64) for k in range(3))
    axis = left - right
    distance = np.maximum((axis**2).sum(1), 1e-6)
    aside = np.abs(((nose - (right + left) / 2) * axis).sum(1)) / distance
    cosine = 1 / np.hypot(1, aside / _NOSE)
    return np.where(np.isfinite(cosine), cosine, 1).astype(np.float32)
