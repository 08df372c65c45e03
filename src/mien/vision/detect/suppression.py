"""What stays of many boxes on one face: the best one, or the mean of all that agree with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.vision.boxes import areas, overlaps, shared_areas

_SAME = 0.6
"""How far a box must overlap the best one to have a say in where the face is, and how sure that it is one."""
_WITNESSES = 8
"""So many cells see a face of 24 pixels or more; what looks like one to a single cell is seldom one."""
_INSIDE, _LARGER = 0.7, 2.5
"""Share of a box in another, and how much larger that one is, for it to be a part of it and no face of its own."""


def blend(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], landmarks: NDArray[np.float32], min_score: float,
    overlap: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Suppression that wastes nothing: what stays, best first, of boxes `(n, 4)`, scores `(n,)` and landmarks
    `(n, 5, 2)`, each box and its landmarks as the mean of all that overlap it by three fifths or more, weighted by the
    square of their scores (Bazarevsky et al. 2019, BlazeFace), its score as the mean of the eight best among them, 0
    for each that is missing. What then scores less than `min_score`, or lies in a better, larger one, goes."""
    likely = np.flatnonzero(scores >= min_score)  # the others have a say, but stand for no face of their own
    kept = likely[suppress(boxes[likely], scores[likely], overlap)]
    kept = kept[~_parts(boxes[kept])]
    new_boxes, new_scores, new_landmarks = boxes[kept], scores[kept], landmarks[kept]
    for n, near in enumerate(overlaps(boxes[kept], boxes) >= _SAME):
        new_boxes[n], new_scores[n], new_landmarks[n] = agreed(boxes[near], scores[near], landmarks[near])
    order = np.argsort(-new_scores, kind="stable")
    order = order[new_scores[order] >= min_score]
    return new_boxes[order], new_scores[order], new_landmarks[order]


def agreed(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float, NDArray[np.float32]]:
    """Box (4,), score and landmarks (5, 2) of the one face that all these cells, one or more, see."""
    weight = np.maximum(scores, 1e-6) ** 2
    weight /= weight.sum()
    sure = float(np.sort(scores)[-_WITNESSES:].sum() / _WITNESSES)
    return weight @ boxes, sure, np.tensordot(weight, landmarks, 1)


def _parts(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the boxes (n, 4), best first, lie mostly in a better and much larger one: an eye or a mouth, which in a
    large soft face looks like a face from afar."""
    area = areas(boxes)
    inside = shared_areas(boxes, boxes) >= _INSIDE * area[:, None]
    larger = area >= _LARGER * area[:, None]
    return np.asarray(np.tril(inside & larger, -1).any(1))


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes `(n, 4)` to keep, best first; of two whose intersection
    over union is above `overlap` the better stays."""
    order = np.argsort(-scores, kind="stable")
    area = areas(boxes)
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        shared = shared_areas(boxes[[best]], boxes[rest])[0]
        order = rest[shared <= overlap * (area[best] + area[rest] - shared)]
    return np.array(kept, np.intp)
