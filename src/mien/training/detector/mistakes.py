"""Hard negatives: what a detector takes for a face in photographs that have none there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import Photograph
from mien.threads import cores, in_order
from mien.vision.boxes import areas, overlaps, shared_areas
from mien.vision.detect import Detector
from mien.vision.detect.closer import tilts

_TOUCHES = 0.1
"""From which intersection over union with a face, or share of its own area in a region to ignore, a detection is no
mistake to learn from: it may be a face drawn badly."""
SURE, _CLEAR = 0.45, 24.0
"""From which score on a mistake is a sure one; side in pixels from which on faces were marked reliably."""


@dataclass(frozen=True)
class Mistake:
    """What a detector took for a face: index of the photograph, box `(4,)`, tilt in radians as of its eyes and mouth,
    and whether it was sure."""

    photograph: int
    box: NDArray[np.float32]
    tilt: float
    sure: bool


def find_mistakes(photographs: Sequence[Photograph], detector: Detector) -> list[Mistake]:
    """All detections where no face is marked and none is doubtful.

    Each photograph is searched as it is and at twice the size, for what looks like a face near by need not do so from
    afar. Boxes that reach past the border are left out, for faces that it cuts are often unmarked, and so are small
    sure ones in photographs of people: half of those are faces in the background that nobody marked.
    """

    def search(i: int) -> list[Mistake]:
        photograph = photographs[i]
        pixels = photograph.pixels()
        twice = np.asarray(cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), np.uint8)
        once, again = detector.detect(pixels), detector.detect(twice)
        boxes, sure = np.concatenate([once.boxes, again.boxes / 2]), np.concatenate([once.scores, again.scores]) >= SURE
        tilted = np.concatenate([tilts(once.landmarks), tilts(again.landmarks)])
        faces, doubtful = overlaps(boxes, photograph.boxes), shared_areas(boxes, photograph.ignore)
        near = (faces > _TOUCHES).any(1) | (doubtful > _TOUCHES * areas(boxes)[:, None]).any(1)
        cut = (boxes[:, :2] < 0).any(1) | (boxes[:, 2:] > pixels.shape[1::-1]).any(1)
        blurred = (areas(boxes) < _CLEAR**2) & sure & (len(photograph.boxes) > 0)
        kept = np.flatnonzero(~(near | cut | blurred))
        return [Mistake(i, boxes[k], float(tilted[k]), bool(sure[k])) for k in kept]

    return [mistake for found in in_order(search, range(len(photographs)), cores()) for mistake in found]
