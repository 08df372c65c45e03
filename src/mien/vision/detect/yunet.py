"""YuNet, a network of others that mien downloads when it is asked for, through ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError, reason
from mien.faces import Faces
from mien.vision.detect.reduction import LONG_SIDE, reduce
from mien.vision.detect.suppression import suppress
from mien.vision.runtime import Session


class YuNet:
    """YuNet (Wu, Peng and Yu 2023) through ONNX Runtime, decoded here.

    Takes a file whose height and width are dynamic. Safe to share between threads. Raises ModelError when the
    file is no such network.
    """

    name = "yunet"
    strides = (8, 16, 32)

    def __init__(
        self, weights: Path, threads: int | None = None, min_score: float = 0.6, overlap: float = 0.4,
        long_side: int = LONG_SIDE,
    ) -> None:  # fmt: skip
        try:
            content = weights.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read detector weights {weights}: {reason(error)}") from None
        self._session = Session(content, str(weights), threads)
        self.sha256 = hashlib.sha256(content).hexdigest()
        shapes = [shape[-1] for shape in self._session.output_shapes]
        if shapes != [1, 1, 1, 1, 1, 1, 4, 4, 4, 10, 10, 10]:
            raise ModelError(f"{weights} is no YuNet: it should give scores, boxes and landmarks at three strides")
        if isinstance(self._session.input_shape[2], int):
            raise ModelError(f"{weights} takes one fixed size; use the dynamic file (mien fetch downloads it)")
        self.min_score, self._overlap, self._long_side = min_score, overlap, long_side

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        small, back = reduce(image, self._long_side)
        outputs = self._session.run(np.asarray(cv2.dnn.blobFromImage(small, swapRB=True), np.float32))
        boxes, scores, landmarks = self._decode(outputs, small.shape[1])
        height, width = image.shape[:2]
        return Faces(boxes * np.tile(back, 2), scores, landmarks * back, width=width, height=height, detector=self.name)

    def _decode(
        self, outputs: list[NDArray[np.float32]], padded_width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        boxes, scores, landmarks = [], [], []
        for level, stride in enumerate(self.strides):
            cls, obj, box, points = (outputs[level + 3 * kind][0] for kind in range(4))
            score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
            keep = np.flatnonzero(score >= self.min_score)
            if not keep.size:
                continue
            columns = padded_width // stride
            cell = np.stack([keep % columns, keep // columns], 1).astype(np.float32)
            center = (cell + box[keep, :2]) * stride
            half = np.exp(box[keep, 2:]) * stride / 2
            boxes.append(np.concatenate([center - half, center + half], 1))
            landmarks.append((points[keep].reshape(-1, 5, 2) + cell[:, None]) * stride)
            scores.append(score[keep])
        if not boxes:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
        box_column, score_column = np.concatenate(boxes), np.concatenate(scores)
        kept = suppress(box_column, score_column, self._overlap)
        return box_column[kept], score_column[kept], np.concatenate(landmarks)[kept]
