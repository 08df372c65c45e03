"""The detector of this package: a small network, trained here, that looks at every picture twice, and once more at
what it is not sure of."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.models import DetectorModel
from mien.vision.boxes import areas, overlaps
from mien.vision.detect.closer import DOUBTFUL, look_closer
from mien.vision.detect.reduction import LONG_SIDE, reduce
from mien.vision.detect.suppression import blend, suppress
from mien.vision.runtime import Session

_SEEN = 0.15
"""From which score a cell's answer has a say in where the face is."""
_GLANCE, _LARGE = 128, 0.2
"""The long side of the picture in a second look, which finds faces larger than the network has ever seen at full size,
and the least side of such a face, as a share of the picture's long side: smaller ones the first look places better.
What the first look takes for such a face the second has to see too, or it is the cheek or the ear of a larger one."""
_AGREE = 0.4
"""Overlap from which on both looks see the same face."""
_FAINT = 0.7
"""The least score of a face where somebody is expected, as a share of the least elsewhere."""


class MienDetector:
    """A face detector that was trained here (see `mien.training.detector`), through ONNX Runtime; one is shipped.

    `min_score` is the card's unless told. Safe to share between threads.
    """

    name = "mien"

    def __init__(
        self, model: DetectorModel, threads: int | None = None, min_score: float | None = None, overlap: float = 0.3,
        long_side: int = LONG_SIDE,
    ) -> None:  # fmt: skip
        self._session = Session(model.weights, model.card.name, threads)
        self.sha256 = model.card.sha256
        self.min_score = model.card.min_score if min_score is None else min_score
        self._overlap, self._long_side = overlap, long_side

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        boxes, scores, landmarks = self._look(image, self._long_side)
        height, width = image.shape[:2]
        if max(height, width) > _GLANCE:
            again, sure, points = self._look(image, _GLANCE)
            least = (_LARGE * max(height, width)) ** 2
            large = areas(boxes) >= least
            scores[large] = np.sqrt(scores[large] * _confirmed(boxes[large], again, sure))
            large = areas(again) >= least
            boxes, scores = np.concatenate([boxes, again[large]]), np.concatenate([scores, sure[large]])
            landmarks = np.concatenate([landmarks, points[large]])
        boxes, scores, landmarks = blend(boxes, scores, landmarks, min(self.min_score, DOUBTFUL), self._overlap)
        boxes, scores, landmarks = look_closer(image, boxes, scores, landmarks, self._session.run)
        kept = suppress(boxes, scores, self._overlap)
        kept = kept[scores[kept] >= self.min_score]
        return Faces(boxes[kept], scores[kept], landmarks[kept], width=width, height=height, detector=self.name)

    def expecting(self) -> MienDetector:
        """The same detector with a lower least score, for whoever knows where to expect a face."""
        fainter = copy.copy(self)
        fainter.min_score = _FAINT * self.min_score
        return fainter

    def _look(
        self, image: NDArray[np.uint8], long_side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Boxes, scores and landmarks of the cells that see something in the picture reduced to that long side, in the
        pixels of the picture."""
        small, back = reduce(image, long_side)
        scores, boxes, landmarks = (output[0] for output in self._session.run(small[None]))
        seen = scores >= min(self.min_score, _SEEN)
        return boxes[seen] * np.tile(back, 2), scores[seen], landmarks[seen] * back


def _confirmed(
    boxes: NDArray[np.float32], others: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How sure (n,) another look is of each box (n, 4): the best score of those of its boxes that overlap it by two
    fifths, `_SEEN` where none does."""
    seen = np.where(overlaps(boxes, others) >= _AGREE, scores, _SEEN)
    return np.asarray(seen.max(1, initial=_SEEN), np.float32)
