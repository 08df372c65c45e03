"""Face crops spoilt in eight ways at five strengths, always in the same manner for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.vision.crop import resize_crop

Crop = NDArray[np.uint8]
"""One grey crop (S, S)."""
Spoil = Callable[[Crop, float, np.random.Generator], NDArray[Any]]

STRENGTHS = 5
_NOMINAL = 48
"""Side of the crops that pixels are meant in; larger crops are spoilt in proportion."""


@dataclass(frozen=True)
class Corruption:
    """`spoil` at one of the `strengths`, mildest first, which are in `unit`."""

    unit: str
    strengths: tuple[float, float, float, float, float]
    spoil: Spoil


def corrupt(crops: NDArray[np.uint8], name: str, level: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grey crops `(n, S, S)` uint8 under the corruption `name` at `level` 1 (mild) to 5 (strong).

    The kinds are those of Hendrycks & Dietterich 2019 that small grey faces meet, with strengths chosen for crops of
    48 pixels. `rng` decides what is by chance; made by `randomness`, the result depends on nothing else.
    """
    kind = CORRUPTIONS[name]
    strength = kind.strengths[level - 1]
    spoilt = [kind.spoil(crop, strength, rng) for crop in crops]
    return np.stack([np.clip(np.rint(crop), 0, 255) for crop in spoilt]).astype(np.uint8) if spoilt else crops.copy()


def randomness(name: str, level: int, seed: int) -> np.random.Generator:
    """The chance of one corruption at one level, independent of all others'."""
    return np.random.default_rng((seed, list(CORRUPTIONS).index(name), level))


def _blur(crop: Crop, sigma: float, rng: np.random.Generator) -> Crop:
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma * len(crop) / _NOMINAL), np.uint8)


def _noise(crop: Crop, sigma: float, rng: np.random.Generator) -> NDArray[Any]:
    return crop + rng.normal(0, sigma, crop.shape)


def _jpeg(crop: Crop, quality: float, rng: np.random.Generator) -> Crop:
    packed = cv2.imencode(".jpg", crop, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)


def _brightness(crop: Crop, change: float, rng: np.random.Generator) -> NDArray[Any]:
    """Too dark or too bright, by chance."""
    return crop + 255 * change * float(rng.choice((-1, 1)))


def _contrast(crop: Crop, share: float, rng: np.random.Generator) -> NDArray[Any]:
    mean = float(crop.mean())
    return mean + (crop - mean) * share


def _low_resolution(crop: Crop, side: float, rng: np.random.Generator) -> Crop:
    """As a face of that many pixels a side, enlarged again."""
    return resize_crop(resize_crop(crop, min(round(side), len(crop))), len(crop))


def _rotation(crop: Crop, degrees: float, rng: np.random.Generator) -> Crop:
    """To the left or to the right, by chance; the border pixels go on."""
    middle = (len(crop) - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees * rng.choice((-1, 1)), 1)
    side = len(crop)
    return np.asarray(cv2.warpAffine(crop, turn, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _occlusion(crop: Crop, side: float, rng: np.random.Generator) -> Crop:
    """A square of one grey, both its place and its grey by chance, wholly inside the crop."""
    width = round(side * len(crop))
    y, x = rng.integers(0, len(crop) - width + 1, 2)
    covered = crop.copy()
    covered[y : y + width, x : x + width] = rng.integers(0, 256)
    return covered


CORRUPTIONS: dict[str, Corruption] = {
    "blur": Corruption("Gaussian sigma in pixels of 48", (0.5, 1, 1.5, 2, 3), _blur),
    "noise": Corruption("Gaussian sigma in grey levels of 255", (8, 16, 24, 40, 60), _noise),
    "JPEG": Corruption("quality", (50, 30, 20, 10, 5), _jpeg),
    "brightness": Corruption("share of the range, up or down", (0.1, 0.2, 0.3, 0.4, 0.5), _brightness),
    "contrast": Corruption("share that is left", (0.7, 0.5, 0.35, 0.2, 0.1), _contrast),
    "low resolution": Corruption("side in pixels", (36, 28, 20, 16, 12), _low_resolution),
    "rotation": Corruption("degrees, left or right", (5, 10, 20, 30, 45), _rotation),
    "occlusion": Corruption("side of a square, share of the crop's", (0.2, 0.3, 0.4, 0.5, 0.6), _occlusion),
}
