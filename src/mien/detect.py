"""Finding faces: from an image to `Faces` without probabilities."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import fetch, models
from mien.boxes import areas, overlaps, shared_areas
from mien.crop import mean_landmarks
from mien.errors import ModelError, did_you_mean, reason
from mien.faces import Faces
from mien.models import DetectorModel
from mien.runtime import Session

LONG_SIDE = 640
"""Images are reduced to this before the search; faces of about 10 pixels and more are found after that."""


_SEEN, _SAME = 0.15, 0.6
"""From which score a cell's answer has a say in the face, and how far it must overlap its best one."""

_GLANCE, _LARGE = 128, 0.2
"""The long side of the picture in a second look, which finds faces larger than the network has ever seen at full size,
and the least side of such a face, as a share of the picture's long side: smaller ones the first look places better.
What the first look takes for such a face the second has to see too, or it is the cheek or the ear of a larger one."""


_INSIDE, _LARGER = 0.7, 2.5
"""Share of a box in another, and how much larger that one is, for it to be a part of it and no face of its own."""


class Detector(Protocol):
    """What the analyzer needs of a detector."""

    name: str

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """The faces in an `(H, W, 3)` uint8 RGB image, best first, boxes and landmarks in its pixels."""
        ...


class MienDetector:
    """A face detector that was trained here (see `mien.train.detector`), through ONNX Runtime; the package holds one.

    `min_score` is the card's unless told. Safe to share between threads.
    """

    name = "mien"

    def __init__(
        self, model: DetectorModel, threads: int | None = None, min_score: float | None = None, overlap: float = 0.3,
        long_side: int = LONG_SIDE,
    ) -> None:  # fmt: skip
        self._session = Session(model.weights, model.card.name, threads)
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
        boxes, scores, landmarks = blend(boxes, scores, landmarks, self.min_score, self._overlap)
        return Faces(boxes, scores, landmarks, width=width, height=height, detector=self.name)

    def _look(
        self, image: NDArray[np.uint8], long_side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Boxes, scores and landmarks of the cells that see something in the picture reduced to that long side, in the
        pixels of the picture."""
        small, back = _reduce(image, long_side)
        scores, boxes, landmarks = (output[0] for output in self._session.run(small[None]))
        seen = scores >= min(self.min_score, _SEEN)
        return boxes[seen] * np.tile(back, 2), scores[seen], landmarks[seen] * back


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
        shapes = [shape[-1] for shape in self._session.output_shapes]
        if shapes != [1, 1, 1, 1, 1, 1, 4, 4, 4, 10, 10, 10]:
            raise ModelError(f"{weights} is no YuNet: it should give scores, boxes and landmarks at three strides")
        if isinstance(self._session.input_shape[2], int):
            raise ModelError(f"{weights} takes one fixed size; use the dynamic file (mien fetch downloads it)")
        self.min_score, self._overlap, self._long_side = min_score, overlap, long_side

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        small, back = _reduce(image, self._long_side)
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
        self._local = threading.local()  # a cascade keeps buffers, so every thread has its own

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


def pad(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture continued in black to the right and below, until 32 divides both sides."""
    below, right = -image.shape[0] % 32, -image.shape[1] % 32
    if not (below or right):
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)


def _reduce(image: NDArray[np.uint8], long_side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture with no side above `long_side`, padded, and the factors `(2,)` that bring its x and y back."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    if scale == 1:
        return pad(image), np.ones(2, np.float32)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # The two sides shrink by slightly different factors where rounding was needed.
    return pad(small), np.array([width / size[0], height / size[1]], np.float32)


def blend(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], landmarks: NDArray[np.float32], min_score: float,
    overlap: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Suppression that wastes nothing: what stays, best first, of boxes `(n, 4)`, scores `(n,)` and landmarks
    `(n, 5, 2)`, each box and its landmarks as the mean of all that overlap it by three fifths or more, weighted by the
    square of their scores (Bazarevsky et al. 2019, BlazeFace). Those below `min_score` only lend their weight, and what
    lies in a better, larger one goes."""
    kept = np.array([i for i in suppress(boxes, scores, overlap) if scores[i] >= min_score], np.intp)
    kept = kept[~_parts(boxes[kept])]
    new_boxes, new_landmarks = boxes[kept], landmarks[kept]
    for n, i in enumerate(kept):
        near = overlaps(boxes[[i]], boxes)[0] >= _SAME
        weight = np.maximum(scores[near], 1e-6) ** 2
        weight /= weight.sum()
        new_boxes[n] = weight @ boxes[near]
        new_landmarks[n] = np.tensordot(weight, landmarks[near], 1)
    return new_boxes, scores[kept], new_landmarks


def _confirmed(
    boxes: NDArray[np.float32], others: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How sure (n,) another look is of each box (n, 4): the best score of those of its boxes that overlap it by two
    fifths, `_SEEN` where none does."""
    seen = np.where(overlaps(boxes, others) >= 0.4, scores, _SEEN)
    return np.asarray(seen.max(1, initial=_SEEN), np.float32)


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


DETECTORS = ("mien", "yunet", "haar")


def load_detector(name: str | None = None, weights: str | Path | None = None, threads: int | None = None) -> Detector:
    """A detector by name; None is `mien`, the one in the package.

    `weights` is a file to use in its place: one with a card beside it, as `mien export` writes them, or YuNet's. Raises
    ModelError on an unknown name or a broken file, FetchError when YuNet is asked for and cannot be had.
    """
    if name not in (None, *DETECTORS):
        raise ModelError(f"no detector {name!r}{did_you_mean(str(name), DETECTORS)}; known are {', '.join(DETECTORS)}")
    if name == "haar":
        if weights is not None:
            raise ModelError("the haar detector is embedded and takes no weights; leave out one of the two")
        return Haar()
    if weights is None:
        return YuNet(fetch.yunet(), threads) if name == "yunet" else MienDetector(models.load_detector(), threads)
    path = Path(weights)
    if name == "mien" or (name is None and path.with_suffix(".json").exists()):
        return MienDetector(models.load_detector(path), threads)
    return YuNet(path, threads)
