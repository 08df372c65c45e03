"""The faces of photographs, whose expressions nobody labelled, cropped as in use."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data import photographs
from mien.data.photographs import Photograph
from mien.errors import DataError
from mien.models import CropGeometry
from mien.vision.boxes import areas
from mien.vision.crop import crop_transforms, sample

SMALLEST = 20.0
"""Side in pixels of the smallest faces taken; of smaller ones a network of 48 pixels sees little but blur."""


def unlabelled_faces(files: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """Grey crops `(n, size, size)` of the marked faces in the training part of the photographs, upright by their marked
    landmarks. Raises DataError where there are none or a file cannot be read."""

    def crops_of(photograph: Photograph) -> list[NDArray[np.uint8]]:
        known = np.isfinite(photograph.landmarks).all((1, 2)) & (areas(photograph.boxes) >= SMALLEST**2)
        if not known.any():
            return []
        pixels = photograph.pixels()
        maps = crop_transforms(photograph.landmarks[known], size, CropGeometry())
        return [sample(pixels, transform, size, grey=True) for transform in maps]

    chosen = [photograph for photograph in photographs.read(*files) if photograph.part == "train"]
    with ThreadPoolExecutor() as pool:
        found = [crop for crops in pool.map(crops_of, chosen) for crop in crops]
    if not found:
        raise DataError(
            f"{', '.join(file.name for file in files)}: no marked face of {SMALLEST:g} pixels or more to train on"
        )
    return np.stack(found)
