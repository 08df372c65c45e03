"""Hard negatives: what a detector takes for a face in photographs that have none there."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import Photograph
from mien.threads import cores, in_order
from mien.vision.boxes import areas, overlaps, shared_areas
from mien.vision.detect import Detector

_TOUCHES = 0.1
"""From which intersection over union with a face, or share of its own area in a region to ignore, a detection is no
mistake to learn from: it may be a face drawn badly."""
_CLEAR = 24.0
"""Side in pixels from which on faces were marked reliably."""


def find_mistakes(photographs: Sequence[Photograph], detector: Detector) -> list[tuple[int, NDArray[np.float32]]]:
    """Index of the photograph and box `(4,)` of each detection where no face is marked and none is doubtful.

    Each is searched as it is and at twice the size, for what looks like a face near by need not do so from afar.
    Boxes that reach past the border are left out, for faces that it cuts are often unmarked, and so are small ones in
    photographs of people: half of those are faces in the background that nobody marked.
    """

    def search(photograph: Photograph) -> NDArray[np.float32]:
        pixels = photograph.pixels()
        twice = np.asarray(cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), np.uint8)
        boxes = np.concatenate([detector.detect(pixels).boxes, detector.detect(twice).boxes / 2])
        faces, doubtful = overlaps(boxes, photograph.boxes), shared_areas(boxes, photograph.ignore)
        near = (faces > _TOUCHES).any(1) | (doubtful > _TOUCHES * areas(boxes)[:, None]).any(1)
        cut = (boxes[:, :2] < 0).any(1) | (boxes[:, 2:] > pixels.shape[1::-1]).any(1)
        blurred = (areas(boxes) < _CLEAR**2) & (len(photograph.boxes) > 0)
        return boxes[~(near | cut | blurred)]

    found = in_order(search, photographs, cores())
    return [(i, box) for i, boxes in enumerate(found) for box in boxes]
