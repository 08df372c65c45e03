"""Other looks of one portrait, drawn by moving its brows, eyes and mouth: scikit-image's `astronaut`, public domain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

Image = NDArray[np.uint8]

_EYES, _MOUTH = ((203.4, 103.6), (247.5, 104.4)), ((204.0, 143.1), (242.9, 143.7))
"""Right and left eye, right and left corner of the mouth, x and y in pixels."""
_APART = 44.0
"""Between the eyes, pixels; moves are in these."""


@dataclass(frozen=True)
class Mimic:
    """How the portrait is changed: moves downwards and outwards, in distances of the eyes; shares of growth."""

    corners_down: float = 0.0
    corners_out: float = 0.0
    inner_brows_down: float = 0.0
    outer_brows_down: float = 0.0
    mouth_open: float = 0.0
    mouth_grows: float = 0.0
    eyes_grow: float = 0.0

    def draw(self, photo: Image) -> Image:
        """The changed photo."""
        y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)

        def near(place: tuple[float, float], across: float, down: float) -> NDArray[np.float32]:
            square = ((x - place[0]) / across) ** 2 + ((y - place[1]) / down) ** 2
            share: NDArray[np.float32] = np.exp(-square / (2 * _APART**2))
            return share

        middle = (_MOUTH[0][0] + _MOUTH[1][0]) / 2, (_MOUTH[0][1] + _MOUTH[1][1]) / 2
        dx, dy = np.zeros_like(x), self.mouth_grows * (y - middle[1]) * near(middle, 0.35, 0.25)
        for out, corner, eye in zip((-1, 1), _MOUTH, _EYES, strict=True):
            dx += self.corners_out * _APART * out * near(corner, 0.18, 0.18)
            dy += self.corners_down * _APART * near(corner, 0.18, 0.18)
            for down, aside in ((self.inner_brows_down, -0.15), (self.outer_brows_down, 0.2)):
                brow = eye[0] + out * aside * _APART, eye[1] - 0.3 * _APART
                dy += down * _APART * near(brow, 0.2, 0.15)
            dy += self.eyes_grow * (y - eye[1]) * near(eye, 0.2, 0.1)
        drawn = np.asarray(cv2.remap(photo, x - dx, y - dy, cv2.INTER_LINEAR), np.uint8)
        if self.mouth_open:
            far = np.hypot((x - middle[0]) / 0.24, (y - middle[1] - 0.08 * _APART) / self.mouth_open) / _APART
            share = np.clip(3 * (1 - far), 0, 1)[..., None]
            drawn = (drawn * (1 - share) + np.array([60, 22, 22]) * share).astype(np.uint8)
        return drawn


MIMICS = (
    Mimic(),
    Mimic(-0.05, -0.12, -0.14, -0.11, 0.14, 0.27, 0.40),
    Mimic(0.33, -0.20, -0.13, -0.20, 0.16, 0.06, 0.12),
    Mimic(0.35, -0.12, 0.20, -0.09, 0.33, 0.30, -0.42),
    Mimic(0.35, -0.19, 0.02, -0.01, 0.01, -0.90, 0.31),
)
"""Found by trying: most are read as something else than the smile of the photo."""
FACE = (11, 49, 128)
"""Left, top and side of the square that FER2013 would show, in the heads."""


def heads() -> list[Image]:
    """The head with each of the looks, `(210, 150, 3)` uint8 RGB."""
    photo = np.asarray(data.astronaut(), np.uint8)
    return [np.ascontiguousarray(mimic.draw(photo)[5:215, 150:300]) for mimic in MIMICS]
