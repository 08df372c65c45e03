"""Crops a set's faces again as in use: laid into a larger picture, found there by the detector, cropped upright."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.prepared import PreparedSet, image_hash
from mien.models import CropGeometry
from mien.vision.crop import crop_faces
from mien.vision.detect import Detector

SIZES = (64.0, 220.0)
"""Smallest and largest side in pixels that a crop has in its picture."""
MAX_TILT = 25.0
"""Largest turn in degrees, either way."""
_CHUNK = 64


def recrop(
    data: PreparedSet, detector: Detector, *, seed: int = 0, progress: Callable[[int], object] = lambda n: None
) -> tuple[PreparedSet, NDArray[np.bool_]]:
    """The same rows with images as a user's pictures would give them, and which faces `(n,)` were found again.

    Each crop is enlarged to a random size, turned by a random angle, and laid into a picture of clouds or of its
    own border pixels; the detector finds it there and `crop_faces` crops it, upright and in the template's framing.
    An image whose face is not found again stays as it is. Every image's draws come from (seed, its index) alone.
    `progress` is called with the number of images done since the last call.
    """
    size = data.images.shape[1]
    images, found = data.images.copy(), np.zeros(len(data), bool)

    def take(first: int) -> int:
        last = min(first + _CHUNK, len(data))
        for i in range(first, last):
            picture, side = _picture(data.images[i], np.random.default_rng([seed, i]))
            faces = detector.detect(picture)
            centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
            distances = np.hypot(*(centres - len(picture) / 2).T)
            if len(distances) and distances.min() < side / 3:
                nearest = faces.select([distances.argmin()])
                images[i], found[i] = crop_faces(picture, nearest, size, CropGeometry())[0], True
        return last - first

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(take, range(0, len(data), _CHUNK)):
            progress(count)
    hashes = np.array([image_hash(image) for image in images], np.str_)
    return replace(data, images=images, hashes=hashes), found


def _picture(face: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
    """A square RGB picture with the grey face turned in its centre, and the face's side in pixels."""
    side = float(np.exp(random.uniform(*np.log(SIZES))))
    whole, scale = int(side * 1.6), side / len(face)
    turn = cv2.getRotationMatrix2D((len(face) / 2 - 0.5,) * 2, random.uniform(-MAX_TILT, MAX_TILT), scale)
    turn = turn + np.array([[0, 0, 1], [0, 0, 1]]) * (whole / 2 - len(face) / 2)
    how = int(random.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    picture = cv2.warpAffine(face, turn, (whole, whole), flags=how, borderMode=cv2.BORDER_REPLICATE)
    picture = np.repeat(picture[..., None], 3, 2)
    if random.random() < 0.5:
        inside = cv2.warpAffine(np.ones(face.shape, np.float32), turn, (whole, whole))[..., None]
        picture = np.asarray(picture * inside + _clouds(whole, random) * (1 - inside), np.uint8)
    return np.asarray(picture, np.uint8), side


def _clouds(side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A coloured `(side, side, 3)` texture with structure at several scales, in 0..255."""
    layers = [random.random((cells, cells, 3), np.float32) * (100 / cells**0.35) for cells in (3, 9, 30)]
    picture = sum(cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) for layer in layers)
    return np.asarray(np.clip(picture + 20, 0, 255), np.float32)
