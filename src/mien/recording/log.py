"""`FaceLog`: the faces of many frames, packed into columns so that hours of film fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.columns import LANDMARK_COLUMNS, table_columns
from mien.faces import Faces
from mien.files import printable
from mien.labels import LABELS, UNCERTAIN

_PACK = 512
"""Frames that wait to be packed together."""
_COLUMNS = ("boxes", "scores", "landmarks", "probs", "raw_probs", "ids", "quality")


class FaceLog:
    """Some 200 bytes for each face of each frame, and 40 for each frame."""

    def __init__(self) -> None:
        self.label_names = LABELS
        self._waiting: list[Faces] = []
        self._packs: list[dict[str, NDArray[Any]]] = []

    def add(self, faces: Faces) -> None:
        """Keep a frame's faces."""
        self.label_names = faces.label_names
        self._waiting.append(faces)
        if len(self._waiting) >= _PACK:
            self._pack()

    def _pack(self) -> None:
        if not self._waiting:
            return
        frames, self._waiting = self._waiting, []
        counts = np.array([len(faces) for faces in frames])
        pack: dict[str, NDArray[Any]] = {
            "counts": counts,
            "frame": np.array([faces.frame for faces in frames]),
            "time": np.array([faces.time for faces in frames]),
            "size": np.array([(faces.width, faces.height) for faces in frames]),
            "about": np.array([(printable(f.source), f.detector, f.model) for f in frames], object),
        }
        k = len(self.label_names)
        tails = {"boxes": (4,), "landmarks": (5, 2), "probs": (k,), "raw_probs": (k,)}
        for name in _COLUMNS:
            unknown = -1 if name == "ids" else np.nan
            dtype = np.int64 if name == "ids" else np.float32
            parts = [
                np.full((len(faces), *tails.get(name, ())), unknown, dtype) if column is None else column
                for faces in frames
                for column in [getattr(faces, name)]
            ]
            pack[name] = np.concatenate(parts)
            pack[f"{name} known"] = np.array([getattr(faces, name) is not None for faces in frames])
        self._packs.append(pack)

    def _column(self, name: str, tail: tuple[int, ...] = ()) -> NDArray[Any]:
        self._pack()
        if not self._packs:
            return np.empty((0, *tail))
        return np.concatenate([pack[name] for pack in self._packs])

    def __len__(self) -> int:
        """How many frames."""
        return sum(len(pack["counts"]) for pack in self._packs) + len(self._waiting)

    def columns(self, min_confidence: float = 0.0) -> dict[str, list[Any]]:
        """A value per face for each of `table_columns`, None where nothing is known; as in the tables that are
        written."""
        counts = self._column("counts").astype(int)
        about = np.repeat(self._column("about", (3,)), counts, axis=0)
        probs, raw = (
            self._column("probs", (len(self.label_names),)),
            self._column("raw_probs", (len(self.label_names),)),
        )
        known = ~np.isnan(probs).any(1)
        best = np.where(known, np.nan_to_num(probs).argmax(1) if len(probs) else 0, 0)
        confidence = np.where(known, probs[np.arange(len(probs)), best], np.nan)
        labels: list[str | None] = [
            None if not there else self.label_names[k] if p >= min_confidence else UNCERTAIN
            for there, k, p in zip(known.tolist(), best.tolist(), confidence.tolist(), strict=True)
        ]
        ids = self._column("ids").astype(int).tolist()
        columns: dict[str, list[Any]] = {
            "source": about[:, 0].tolist(),
            "frame": np.repeat(self._column("frame").astype(int), counts).tolist(),
            "time_s": _rounded(np.repeat(self._column("time"), counts), 6),
            "id": [None if one < 0 else one for one in ids],
            "detector": about[:, 1].tolist(),
            "model": about[:, 2].tolist(),
            "score": _rounded(self._column("scores"), 4),
            "label": labels,
            "confidence": _rounded(confidence, 4),
            "quality": _rounded(self._column("quality"), 4),
        }
        for name, values in zip(("x1", "y1", "x2", "y2"), self._column("boxes", (4,)).T, strict=True):
            columns[name] = _rounded(values, 2)
        points = self._column("landmarks", (5, 2)).reshape(-1, 10)
        points = np.where(np.isfinite(points).all(1, keepdims=True), points, np.nan)
        for name, values in zip(LANDMARK_COLUMNS, points.T, strict=True):
            columns[name] = _rounded(values, 2)
        for k, label in enumerate(self.label_names):
            columns[label], columns[f"raw_{label}"] = _rounded(probs[:, k], 4), _rounded(raw[:, k], 4)
        return {name: columns[name] for name in table_columns(self.label_names)}

    def frames(self) -> Iterator[Faces]:
        """The frames again, one by one, as they were added, without pictures."""
        self._pack()
        for pack in self._packs:
            ends = np.cumsum(pack["counts"])
            for i, end in enumerate(ends):
                part = slice(end - pack["counts"][i], end)
                some: dict[str, Any] = {name: pack[name][part] for name in _COLUMNS}
                some = {name: values if pack[f"{name} known"][i] else None for name, values in some.items()}
                source, detector, model = pack["about"][i]
                width, height = pack["size"][i].tolist()
                yield Faces(
                    **some, frame=int(pack["frame"][i]), time=float(pack["time"][i]), source=source, width=width,
                    height=height, detector=detector, model=model, label_names=self.label_names,
                )  # fmt: skip


def _rounded(values: NDArray[Any], digits: int) -> list[float | None]:
    exact = np.round(values.astype(np.float64), digits).tolist()
    return [None if value != value else value for value in exact]
