"""A closer look at the faces that a detector is not sure of: each upright, in its middle, and of one size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mien.vision.boxes import areas, overlaps
from mien.vision.crop import sample
from mien.vision.detect.suppression import agreed

Floats = NDArray[np.float32]

DOUBTFUL = 0.3
"""From which score on a face is looked at again; less is none."""
_SURE, _MOST = 0.85, 64
"""From which score on it is one without. So many are looked at, the surest: in a crowd of hundreds it would take longer
than all the rest."""
_SIDE, _FACE = 96, 64
"""Sides in pixels of the picture from near and of the face in it, the size that the network knows best."""
_MIDDLE = np.array([[-0.9, -1.1, 0.9, 1.1]], np.float32) * np.float32(_FACE / 2) + np.float32(_SIDE / 2)
_AGREE = 0.4
"""How far a box from near must overlap the middle to be of that face."""


def look_closer(
    image: NDArray[np.uint8], boxes: Floats, scores: Floats, landmarks: Floats,
    network: Callable[[NDArray[np.uint8]], list[Floats]],
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Boxes `(n, 4)`, scores `(n,)`, best first, and landmarks `(n, 5, 2)` of an `(H, W, 3)` uint8 RGB image, those of
    doubtful faces as the mean of what was seen from afar and what is seen from near; scores as that of their log-odds.

    `network` gives scores, boxes and landmarks of all cells for pictures `(n, 96, 96, 3)`.
    """
    which = np.flatnonzero((scores >= DOUBTFUL) & (scores < _SURE))[:_MOST]
    if not len(which):
        return boxes, scores, landmarks
    boxes, scores, landmarks = boxes.copy(), scores.copy(), landmarks.copy()
    maps = _maps(boxes[which], landmarks[which])
    pictures = np.stack([sample(image, one, _SIDE, beyond_black=True) for one in maps])
    for i, to_picture, *cells in zip(which, maps, *network(pictures), strict=True):
        near_scores, near_boxes, near_landmarks = cells
        seen, sure = overlaps(_MIDDLE, near_boxes)[0] >= _AGREE, 0.0
        if seen.any():
            box, sure, points = agreed(near_boxes[seen], near_scores[seen], near_landmarks[seen])
            box, points = _back(to_picture, box, points)
            boxes[i], landmarks[i] = (boxes[i] + box) / 2, (landmarks[i] + points) / 2
        scores[i] = _from_log_odds((_log_odds(scores[i]) + _log_odds(sure)) / 2)
    return boxes, scores, landmarks


def _maps(boxes: Floats, landmarks: Floats) -> NDArray[np.float64]:
    """Maps `(n, 2, 3)` that bring each box's middle to the picture's, its extent to `_FACE`, its eyes straight above
    its mouth. The line between the eyes, the usual measure of tilt, vanishes in a profile."""
    axis = (landmarks[:, 3:].mean(1) - landmarks[:, :2].mean(1)).astype(np.float64)
    scale = _FACE / np.sqrt(np.maximum(areas(boxes), 1e-6))
    sine, cosine = axis.T / np.maximum(np.hypot(*axis.T), 1e-6) * scale
    linear = np.stack([np.stack([cosine, -sine], 1), np.stack([sine, cosine], 1)], 1)
    shift = _SIDE / 2 - np.einsum("nij,nj->ni", linear, (boxes[:, :2] + boxes[:, 2:]) / 2)
    return np.concatenate([linear, shift[:, :, None]], 2)


def _back(to_picture: NDArray[np.float64], box: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Middle and extent of a box (4,), and landmarks (5, 2), from a picture back to the image."""
    linear, shift = np.linalg.inv(to_picture[:, :2]), to_picture[:, 2]
    middle = linear @ ((box[:2] + box[2:]) / 2 - shift)
    half = (box[2:] - box[:2]) / 2 * np.sqrt(np.linalg.det(linear))
    return np.concatenate([middle - half, middle + half]), (points - shift) @ linear.T


def _log_odds(score: float) -> float:
    """Of a score a little off 0 and 1."""
    return float(np.log((score + 0.01) / (1.01 - score)))


def _from_log_odds(value: float) -> float:
    return float(np.clip(1.02 / (1 + np.exp(-value)) - 0.01, 0, 1))
