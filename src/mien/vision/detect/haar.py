"""The cascade of Viola and Jones that comes with OpenCV: slow, and a classic to compare with."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.vision.crop import mean_landmarks

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"


class Haar:
    """OpenCV's `frontalface_alt2` cascade (Viola and Jones 2001; Lienhart 2003), embedded in the OpenCV wheel.

    Slow and half blind beside the networks. Searches an equalised image of at most 480 pixels, and the image turned
    by 25 degrees either way when it finds nothing upright. Landmarks are those of the mean face in the box, not
    measured ones. Safe to share between threads.
    """

    name = "haar"
    tilts = (25.0, -25.0)

    def __init__(self, long_side: int = 480, min_neighbors: int = 5) -> None:
        self._long_side, self._min_neighbors = long_side, min_neighbors
        self.sha256 = hashlib.sha256(CASCADE.read_bytes()).hexdigest()
        self._local = threading.local()  # a cascade keeps buffers, so every thread has its own

    def __reduce__(self) -> tuple[Any, ...]:
        return Haar, (self._long_side, self._min_neighbors)

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        height, width = image.shape[:2]
        scale = min(1.0, self._long_side / max(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        grey = cv2.equalizeHist(grey)
        boxes, scores = self._search(grey)
        landmarks = mean_landmarks(boxes)
        if not len(boxes):
            for tilt in self.tilts:
                boxes, scores, landmarks = self._search_tilted(grey, tilt)
                if len(boxes):
                    break
        order = np.argsort(-scores)
        return Faces(
            boxes[order] / scale, scores[order], landmarks[order] / scale,
            width=width, height=height, detector=self.name,
        )  # fmt: skip

    def _search(self, grey: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not hasattr(self._local, "cascade"):
            self._local.cascade = cv2.CascadeClassifier(str(CASCADE))
        found, _, weights = self._local.cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=self._min_neighbors, minSize=(24, 24), outputRejectLevels=True
        )
        boxes = np.asarray(found, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        # What the last stage adds up to, a number from its threshold of 53.8 to about 58, squeezed into 0..1 so that
        # its order stays.
        sums = np.maximum(np.asarray(weights, np.float32).reshape(-1), 0)
        return boxes, sums / (1 + sums)

    def _search_tilted(
        self, grey: NDArray[Any], tilt: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        height, width = grey.shape
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1.0)
        boxes, scores = self._search(cv2.warpAffine(grey, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))
        landmarks = mean_landmarks(boxes)
        back = cv2.invertAffineTransform(turn)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 @ back[:, :2].T + back[:, 2]
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        turned = landmarks @ back[:, :2].T + back[:, 2]
        return (
            np.concatenate([centers - half, centers + half], 1).astype(np.float32),
            scores,
            turned.astype(np.float32),
        )
