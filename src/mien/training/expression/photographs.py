"""The faces of photographs, whose expressions nobody labelled, cropped as in use."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class UnlabelledFaces:
    """The marked faces in the training part of photographs: each photograph with the landmarks `(n, 5, 2)` of its
    faces, and the SHA-256 of the files. Their number is known before anything is decoded."""

    marked: tuple[tuple[Photograph, NDArray[np.float32]], ...]
    sha256: str

    def __len__(self) -> int:
        return sum(len(landmarks) for _, landmarks in self.marked)

    def crops(self, size: int) -> NDArray[np.uint8]:
        """Grey crops `(n, size, size)`, upright by the marked landmarks. Raises DataError where a photograph cannot be
        decoded."""

        def crops_of(pair: tuple[Photograph, NDArray[np.float32]]) -> list[NDArray[np.uint8]]:
            pixels = pair[0].pixels()
            return [
                sample(pixels, to_crop, size, grey=True) for to_crop in crop_transforms(pair[1], size, CropGeometry())
            ]

        with ThreadPoolExecutor() as pool:
            return np.stack([crop for crops in pool.map(crops_of, self.marked) for crop in crops])


def unlabelled_faces(files: Sequence[Path]) -> UnlabelledFaces:
    """Those of Parquet files as `mien.data.photographs` reads them; raises DataError where there are none or a file
    cannot be read."""
    marked = []
    for photograph in photographs.read(*files):
        known = np.isfinite(photograph.landmarks).all((1, 2)) & (areas(photograph.boxes) >= SMALLEST**2)
        if photograph.part == "train" and known.any():
            marked.append((photograph, photograph.landmarks[known]))
    if not marked:
        raise DataError(
            f"{', '.join(file.name for file in files)}: no marked face of {SMALLEST:g} pixels or more to train on"
        )
    return UnlabelledFaces(tuple(marked), photographs.file_hash(*files))
