"""Occlusion maps: how far the probability of a prediction falls when a part of the face is covered.

Occlusion sensitivity, after Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
It runs the classifier that reads photographs, needs no gradient, and its unit is probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.models import CropGeometry
from mien.vision.classify import Classifier

METHOD = "occlusion sensitivity (Zeiler and Fergus 2014)"
CELLS = 12
"""The map's cells a side; 4 pixels each in a crop of 48."""
WINDOW = 4
"""Cells a side of the grey square that is moved over the crop, one cell at a time, and past its border; a third of the
crop, about a mouth wide."""
WINDOWS = (CELLS + WINDOW - 1) ** 2

FOR, AGAINST = (230, 97, 38), (52, 132, 214)
"""Colours, RGB, of what speaks for the prediction and of what speaks against it."""
_OPACITY = 0.85
_LEAST = 0.01
"""Full colour means no smaller change than this, so that nothing is made out of nothing."""
_PLACES = ("right eye", "left eye", "nose", "mouth", "mouth", "mouth")
_NEAR = 0.2
"""Farther than this from all landmarks, as a share of the crop's side, a place has no name."""


@dataclass(frozen=True)
class OcclusionMap:
    """One face: the predicted `label`, its `probability`, and `drops` (CELLS, CELLS) float32, how far that falls on the
    mean over the squares that cover each cell; below zero where it rises, in -1..1."""

    label: str
    probability: float
    drops: NDArray[np.float32]

    @property
    def peak(self) -> tuple[float, float]:
        """x and y, as shares of the crop's side, of the middle of the cell with the largest drop."""
        row, column = divmod(int(self.drops.argmax()), CELLS)
        return (column + 0.5) / CELLS, (row + 0.5) / CELLS

    @property
    def drop(self) -> float:
        """The largest."""
        return float(self.drops.max())

    def place(self, geometry: CropGeometry) -> str:
        """Which part of the face the peak is nearest to: an eye, nose, mouth, or elsewhere. Right and left as the
        person has them."""
        *landmarks, right, left = np.array(geometry.landmarks)
        points = np.array([*landmarks, right, left, (right + left) / 2])
        distances = np.hypot(*(points - self.peak).T)
        nearest = int(distances.argmin())
        return _PLACES[nearest] if distances[nearest] <= _NEAR else "elsewhere"

    def to_dict(self, geometry: CropGeometry) -> dict[str, Any]:
        """For JSON."""
        return {
            "label": self.label,
            "probability": round(self.probability, 4),
            "largest_drop": round(self.drop, 4),
            "place": self.place(geometry),
            "peak": [round(share, 4) for share in self.peak],
            "drops": [[round(float(drop), 4) for drop in row] for row in self.drops],
        }


def occlusion_maps(
    classifier: Classifier, crops: NDArray[np.uint8], step: Callable[[int], object] = lambda n: None
) -> Iterator[OcclusionMap]:
    """A map for each grey crop `(n, S, S)` uint8, of its most likely expression; `step` is called with `WINDOWS`.

    The square is of the grey that the network was normalised around, which carries least.
    """
    if not len(crops):
        return
    grey = round(255 * classifier.card.mean)
    squares = list(_squares(crops.shape[1]))
    for crop, probs in zip(crops, classifier.probabilities(crops), strict=True):
        best = int(probs.argmax())
        covered = np.repeat(crop[None], len(squares), axis=0)
        for image, (rows, columns) in zip(covered, squares, strict=True):
            image[rows, columns] = grey
        falls = probs[best] - classifier.probabilities(covered)[:, best]
        step(len(squares))
        yield OcclusionMap(classifier.label_names[best], float(probs[best]), _spread(falls))


def _squares(side: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of pixels that each square covers."""
    edges = [round(side * k / CELLS) for k in range(CELLS + 1)]
    spans = [slice(edges[max(k, 0)], edges[min(k + WINDOW, CELLS)]) for k in range(1 - WINDOW, CELLS)]
    yield from product(spans, spans)


def _spread(falls: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each square (WINDOWS,) did, on the mean over those that cover a cell."""
    grid = falls.reshape(CELLS + WINDOW - 1, CELLS + WINDOW - 1).astype(np.float64)
    total = sum(grid[y : y + CELLS, x : x + CELLS] for y, x in product(range(WINDOW), repeat=2))
    return np.asarray(total / WINDOW**2, np.float32)


def heat(drops: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """Drops (h, w) as an overlay `(size, size * w / h, 4)` uint8 RGBA: clear at zero, fullest at their own largest
    change, which is for the words beside it to tell."""
    height, width = drops.shape
    top = max(float(np.abs(drops).max()), _LEAST)
    wide = cv2.resize(drops.astype(np.float32), (size * width // height, size), interpolation=cv2.INTER_CUBIC)
    shares = np.clip(np.asarray(wide, np.float32) / top, -1, 1)[..., None]
    colours = np.where(shares > 0, np.array(FOR, np.uint8), np.array(AGAINST, np.uint8))
    alpha = np.rint(255 * _OPACITY * np.abs(shares)).astype(np.uint8)
    return np.concatenate([colours, alpha], axis=2).astype(np.uint8)
