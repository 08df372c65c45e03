"""THE crop: from a face's landmarks to the network's input, for training, evaluation and live use alike.

FER2013 shows faces as found by a detector of its time: not turned upright, about one head wide. Its framing was
measured (`benchmarks/framing.py`): the median place of each landmark over its training images is the template,
and a face is cropped so that its own landmarks come to lie there, upright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mien.faces import Faces
    from mien.models import CropGeometry

_IN_HAAR_BOX = np.array([[0.28, 0.372], [0.72, 0.372], [0.5, 0.627], [0.31, 0.791], [0.69, 0.791]], np.float32)
"""Median landmarks in boxes of OpenCV's frontalface_alt2, as shares of the box, made symmetric."""

_MAX_OVERSAMPLING = 16


def mean_landmarks(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Landmarks `(n, 5, 2)` of the mean face in upright Haar boxes `(n, 4)`, for detectors that find none."""
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    placed: NDArray[np.float32] = corner + _IN_HAAR_BOX * size
    return placed


def crop_transforms(landmarks: NDArray[np.float32], size: int, geometry: CropGeometry) -> NDArray[np.float64]:
    """Affine maps `(n, 2, 3)` from image to crop that bring landmarks `(n, 5, 2)` to the template.

    Coordinates are continuous on both sides: pixel i reaches from i to i + 1.

    Rotation and translation are the least-squares fit (Umeyama 1991); the scale is the ratio of the two spreads,
    which, unlike the least-squares scale, does not shrink when a face seen from the side fits badly.
    """
    template = np.asarray(geometry.landmarks, np.float64) * size
    source = np.asarray(landmarks, np.float64).view(np.complex128)[..., 0]  # x + iy: a similarity is z -> az + b
    target = template.view(np.complex128)[:, 0]
    source_mean, target_mean = source.mean(1, keepdims=True), target.mean()
    source, target = source - source_mean, target - target_mean
    turn = (source.conj() * target).sum(1)
    spread = np.sqrt((np.abs(source) ** 2).sum(1))
    scale = np.sqrt((np.abs(target) ** 2).sum()) / np.maximum(spread, 1e-6)
    a = scale * np.exp(1j * np.angle(turn))
    b = target_mean - a * source_mean[:, 0]
    return np.stack([np.stack([a.real, -a.imag, b.real], 1), np.stack([a.imag, a.real, b.imag], 1)], 1)


def crop_faces(image: NDArray[np.uint8], faces: Faces, size: int, geometry: CropGeometry) -> NDArray[np.uint8]:
    """Grey crops `(n, size, size)` uint8 of the faces in an `(H, W, 3)` uint8 RGB image.

    Where a crop reaches past the image the border pixels go on. Large faces are sampled at the image's own
    resolution and averaged, so that nothing aliases.
    """
    crops = np.empty((len(faces), size, size), np.uint8)
    for i, transform in enumerate(crop_transforms(faces.landmarks, size, geometry)):
        crops[i] = sample(image, transform, size, grey=True)
    return crops


def sample(
    image: NDArray[np.uint8], transform: NDArray[np.float64], size: int, *, grey: bool = False,
    beyond_black: bool = False,
) -> NDArray[np.uint8]:  # fmt: skip
    """What a map `(2, 3)` from an `(H, W, 3)` uint8 RGB image brings into a square of `size` pixels, in colour or
    `grey`. Where that reaches past the image the border pixels go on, or all is black. What is shrunk is sampled at the
    image's own resolution and averaged."""
    pixels_per_sample = 1 / max(float(np.hypot(transform[0, 0], transform[1, 0])), 1e-6)
    finer = int(np.clip(round(pixels_per_sample), 1, _MAX_OVERSAMPLING))
    transform = transform * finer
    transform[:, 2] += transform[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from pixel centres, landmarks from corners
    border = cv2.BORDER_CONSTANT if beyond_black else cv2.BORDER_REPLICATE
    side = size * finer
    sampled = cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    if grey:
        sampled = cv2.cvtColor(sampled, cv2.COLOR_RGB2GRAY)
    if finer > 1:
        sampled = cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(sampled, np.uint8)


def resize_crop(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A grey crop `(H, W)` as `(size, size)`: averaged where it shrinks, so that nothing aliases; the same array
    where it has that size already."""
    if crop.shape == (size, size):
        return crop
    how = cv2.INTER_AREA if min(crop.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (size, size), interpolation=how), np.uint8)
