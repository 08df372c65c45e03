"""`Faces`: what is known of the faces in one frame, as columns; the one result type of the whole package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.labels import LABELS

UNCERTAIN = "uncertain"

_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "boxes": (np.float32, (4,)),
    "scores": (np.float32, ()),
    "landmarks": (np.float32, (5, 2)),
    "probs": (np.float32, ()),
    "ids": (np.int64, ()),
    "raw_probs": (np.float32, ()),
    "quality": (np.float32, ()),
}
"""Per-face columns: dtype and the shape behind n; probabilities have one entry for each label besides."""
_SHARES = frozenset({"probs", "raw_probs"})


@dataclass(frozen=True, eq=False)
class Faces:
    """The n faces of one frame; n may be zero. Arrays are read-only, stages return a new object.

    boxes       (n, 4) float32, x1 y1 x2 y2 in pixels of the frame, where pixel i reaches from i to i + 1; may
                go past the border
    scores      (n,) float32, the detector's confidence in 0..1
    landmarks   (n, 5, 2) float32, x y in pixels: right eye, left eye, nose, right and left corner of the
                mouth, right and left as the person has them; NaN where the detector gives none
    probs       (n, k) float32 in the order of `label_names`, rows sum to one; None before classification
    ids         (n,) int64 track ids, 0 for a face too faint to be followed yet; None where nobody is followed
    raw_probs   (n, k) float32, the probabilities of this frame alone where `probs` are smoothed over time; else None
    quality     (n,) float32 in 0..1, how well the face can be read (size, sharpness, pose, score); None if not judged
    frame       index of the frame in its source, from 0
    time        seconds from the start of the source, by the container's own timestamps; 0 for a picture
    source      path or URL, empty for an array
    width, height   of the frame in pixels
    detector, model names of what found and what read the faces; model is empty before classification
    label_names what the network tells apart, k names: `mien.LABELS`, the seven expressions, unless it learnt others
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    probs: NDArray[np.float32] | None = None
    ids: NDArray[np.int64] | None = None
    raw_probs: NDArray[np.float32] | None = None
    quality: NDArray[np.float32] | None = None
    frame: int = 0
    time: float = 0.0
    source: str = ""
    width: int = 0
    height: int = 0
    detector: str = ""
    model: str = ""
    label_names: tuple[str, ...] = LABELS

    def __post_init__(self) -> None:
        n = len(self.boxes)
        for name, (dtype, shape) in _COLUMNS.items():
            if getattr(self, name) is not None:
                self._column(name, dtype, (n, len(self.label_names)) if name in _SHARES else (n, *shape))

    def _column(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        column: NDArray[Any] = np.array(getattr(self, name), dtype)
        if column.size == 0:
            column = column.reshape(shape)
        if column.shape != shape:
            raise ValueError(f"{name} should have shape {shape}, not {column.shape}")
        column.flags.writeable = False
        object.__setattr__(self, name, column)

    @classmethod
    def none(cls, **about: Any) -> Self:
        """A frame without a face; `about` are the other fields."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32), **about)

    def __len__(self) -> int:
        return len(self.boxes)

    def replace(self, **columns: Any) -> Self:
        """The same faces with some fields changed."""
        return replace(self, **columns)

    def select(self, index: ArrayLike) -> Self:
        """The faces that a mask or a list of indices names, in that order."""
        chosen = np.asarray(index)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.intp)
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return replace(self, **{name: column[chosen] for name, column in columns.items() if column is not None})

    @property
    def confidences(self) -> NDArray[np.float32]:
        """(n,) probability of each face's most likely expression; zeros before classification."""
        if self.probs is None or not len(self):
            return np.zeros(len(self), np.float32)
        best: NDArray[np.float32] = self.probs.max(1)
        return best

    def labels(self, min_confidence: float = 0.0) -> list[str]:
        """Each face's most likely expression, `uncertain` where its probability is below `min_confidence`
        or the face has not been classified."""
        if self.probs is None:
            return [UNCERTAIN] * len(self)
        found = zip(self.probs.argmax(1), self.confidences, strict=True)
        return [self.label_names[k] if p >= min_confidence else UNCERTAIN for k, p in found]

    def rows(self, min_confidence: float = 0.0) -> Iterator[dict[str, Any]]:
        """One dictionary per face, for JSON: box, score, landmarks, then label, confidence, probabilities, raw
        probabilities, quality and id where they are known. Pixels to two decimals, probabilities to four."""
        labels = self.labels(min_confidence)
        for i in range(len(self)):
            row: dict[str, Any] = {} if self.ids is None else {"id": int(self.ids[i])}
            row["box"] = _rounded(self.boxes[i], 2)
            row["score"] = round(float(self.scores[i]), 4)
            known = bool(np.isfinite(self.landmarks[i]).all())
            row["landmarks"] = [_rounded(point, 2) for point in self.landmarks[i]] if known else None
            if self.probs is not None:
                row["label"] = labels[i]
                row["confidence"] = round(float(self.confidences[i]), 4)
                row["probabilities"] = dict(zip(self.label_names, _rounded(self.probs[i], 4), strict=True))
            if self.raw_probs is not None:
                row["raw_probabilities"] = dict(zip(self.label_names, _rounded(self.raw_probs[i], 4), strict=True))
            if self.quality is not None:
                row["quality"] = round(float(self.quality[i]), 4)
            yield row

    def to_dict(self, min_confidence: float = 0.0) -> dict[str, Any]:
        """The frame for JSON: source, width, height, detector, model and its faces; frame and time_s too where people
        are followed through time."""
        moment = {} if self.ids is None else {"frame": self.frame, "time_s": round(self.time, 6)}
        return {
            "source": self.source,
            **moment,
            "width": self.width,
            "height": self.height,
            "detector": self.detector,
            "model": self.model,
            "faces": list(self.rows(min_confidence)),
        }


def _rounded(values: NDArray[np.float32], digits: int) -> list[float]:
    return [round(float(v), digits) for v in values]
