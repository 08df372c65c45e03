"""Average precision: one number for how well boxes are found, at every threshold at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.vision.boxes import areas, overlaps, shared_areas

Result = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Of one picture: found scores (k,), best first, and boxes (k, 4); true boxes (n, 4); boxes to ignore (m, 4)."""


def average_precision(results: Sequence[Result], overlap: float = 0.5) -> float:
    """Area under the curve of precision over recall, precision made falling (Everingham et al. 2010, every point);
    1 where there is nothing to find and nothing found."""
    faces = sum(len(truth) for _, _, truth, _ in results)
    scores, hits = _judged(results, overlap)
    if not faces:
        return float(not len(scores))
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * np.diff(right, prepend=0)).sum() / faces)


def score_at_false_alarms(results: Sequence[Result], rate: float, overlap: float = 0.3) -> float:
    """The least score that leaves at most `rate` false alarms per picture."""
    scores, hits = _judged(results, overlap)
    alarms = scores[~hits]
    allowed = int(rate * len(results))
    if len(alarms) <= allowed:
        return float(scores.min(initial=1.0))
    return float(scores[scores > alarms[allowed]].min(initial=1.0))


def _judged(results: Sequence[Result], overlap: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of all found boxes that count, best first, and which of them are faces.

    Best first, a found box takes the true box of the largest intersection over union, if that reaches `overlap` and
    nobody took it; failing that, one that lies mostly in a box to ignore does not count.
    """
    scores, hits = [], []
    for found, boxes, truth, ignore in results:
        iou = overlaps(boxes, truth)
        ignored = np.asarray(np.any(shared_areas(boxes, ignore) > 0.5 * areas(boxes)[:, None], axis=1))
        free = [True] * len(truth)
        for i, score in enumerate(found):
            best = int(np.argmax(np.where(free, iou[i], -1.0))) if len(truth) else -1
            hit = best >= 0 and bool(free[best]) and iou[i, best] >= overlap
            if hit:
                free[best] = False
            elif ignored[i]:
                continue
            scores.append(score)
            hits.append(hit)
    order = np.argsort(-np.array(scores, np.float64), kind="stable")
    return np.array(scores, np.float64)[order], np.array(hits, np.bool_)[order]
