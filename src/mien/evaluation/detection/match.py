"""Detections held against the faces that are there: which are found, how exactly, and which detections are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import yaws
from mien.evaluation.detection.views import View
from mien.faces import Faces
from mien.vision.boxes import areas, overlaps, shared_areas

Floats = NDArray[np.float32]

MATCH = 0.4
"""Least intersection over union of a detection with the face that it finds. The usual 0.5 asks for one convention of
what a face's box encloses; a cascade's square from the brows to the chin, drawn right, may have less with a box from
the hairline to the chin. At 0.4 a detection of the face's size is off by 43 % of it at most, and one in the right place
has between two fifths and five halves of its area."""
COVERED = 0.5
"""Share of a detection that lies in one region to be ignored for it to count neither way."""
FALSE, NEITHER = -1, -2


@dataclass(frozen=True)
class Judged:
    """One detector on one view. Per counted face (f,): `found`, the score of the detection that found it, -1 where none
    did, and `errors`, the mean distance of its five landmarks over the distance of its eyes, NaN where there is none;
    `boxes` (f, 4); `yaws` in degrees, NaN where no landmarks are marked. `false` (k,) are the false alarms' scores,
    `false_boxes` (k, 4)."""

    boxes: Floats
    found: Floats
    errors: Floats
    yaws: Floats
    false: Floats
    false_boxes: Floats


def judge(faces: Faces, view: View) -> Judged:
    """What became of a detector's `faces` on a view."""
    verdicts = match(faces.boxes, faces.scores, view)
    found = np.full(len(view.boxes), -1, np.float32)
    errors = np.full(len(view.boxes), np.nan, np.float32)
    for i in np.flatnonzero(verdicts >= 0):
        found[verdicts[i]] = faces.scores[i]
        errors[verdicts[i]] = landmark_error(faces.landmarks[i], view.landmarks[verdicts[i]])
    false = verdicts == FALSE
    kept = view.counted
    turns = yaws(view.landmarks[kept])
    return Judged(view.boxes[kept], found[kept], errors[kept], turns, faces.scores[false], faces.boxes[false])


def match(boxes: Floats, scores: Floats, view: View) -> NDArray[np.intp]:
    """What each detection `(d, 4)` is: the index of the face that it finds, `FALSE` or `NEITHER`.

    In the order of their scores, each takes of the faces that are left the one that it overlaps most, by `MATCH` at
    least. A second detection of a face is false. One that finds a face which does not count, or lies on such a face or
    on a region to be ignored, is neither.
    """
    limits = np.array(view.pixels.shape[1::-1], np.float32)
    drawn, true = _clipped(boxes, limits), _clipped(view.boxes, limits)
    free = overlaps(drawn, true)
    neutral = np.concatenate([_clipped(view.ignore, limits), true[~view.counted]])
    covered = shared_areas(drawn, neutral) / np.maximum(areas(drawn), 1e-6)[:, None]
    excused = ((overlaps(drawn, neutral) >= MATCH) | (covered >= COVERED)).any(1)
    verdicts = np.where(excused, NEITHER, FALSE)
    for i in np.argsort(-scores, kind="stable"):
        face = int(free[i].argmax()) if len(true) else -1
        if face >= 0 and free[i, face] >= MATCH:
            verdicts[i] = face if view.counted[face] else NEITHER
            free[:, face] = -1  # taken
    return verdicts


def landmark_error(points: Floats, truth: Floats) -> float:
    """Mean distance of five points (5, 2) from the true ones, as a share of the distance between the true eyes."""
    eyes = float(np.linalg.norm(truth[1] - truth[0]))
    return float(np.linalg.norm(points - truth, axis=1).mean()) / max(eyes, 1e-6)


@dataclass(frozen=True)
class Tally:
    """One detector on all views of one variant, in the order of the photographs.

    Per counted face (f,): `found`, `errors`, `yaws`, `boxes` as in `Judged`, and `rows`, which photograph it is in. Per
    false alarm (k,): `false`, `false_boxes`, `false_rows`.
    """

    images: int
    rows: NDArray[np.intp]
    boxes: Floats
    found: Floats
    errors: Floats
    yaws: Floats
    false_rows: NDArray[np.intp]
    false: Floats
    false_boxes: Floats

    @classmethod
    def of(cls, judged: Sequence[tuple[int, Judged]]) -> Tally:
        """All that was judged, each with the row of its photograph."""
        views = [one for _, one in judged]
        return cls(
            len(judged),
            np.repeat([row for row, _ in judged], [len(one.found) for one in views]).astype(np.intp),
            np.concatenate([np.empty((0, 4), np.float32), *(one.boxes for one in views)]),
            np.concatenate([np.empty(0, np.float32), *(one.found for one in views)]),
            np.concatenate([np.empty(0, np.float32), *(one.errors for one in views)]),
            np.concatenate([np.empty(0, np.float32), *(one.yaws for one in views)]),
            np.repeat([row for row, _ in judged], [len(one.false) for one in views]).astype(np.intp),
            np.concatenate([np.empty(0, np.float32), *(one.false for one in views)]),
            np.concatenate([np.empty((0, 4), np.float32), *(one.false_boxes for one in views)]),
        )

    def turned(self, low: float, high: float) -> Tally:
        """The same photographs and false alarms, of the faces those turned aside by `low` degrees to below `high`."""
        kept = (self.yaws >= low) & (self.yaws < high)
        faces = {name: getattr(self, name)[kept] for name in ("rows", "boxes", "found", "errors", "yaws")}
        return replace(self, **faces)

    def recall(self, threshold: float) -> float:
        """Share of the faces that are found with that score or a higher one; there has to be a face."""
        return float((self.found >= threshold).mean())

    def false_alarms(self, threshold: float) -> float:
        """Per image, with that score or a higher one."""
        return float((self.false >= threshold).sum()) / self.images

    def threshold(self, rate: float) -> float:
        """The lowest one with no more than `rate` false alarms per image; 0 where all detections together have not."""
        allowed = int(rate * self.images + 1e-9)
        if len(self.false) <= allowed:
            return 0.0
        barred = np.sort(self.false)[::-1][allowed]
        return float(np.nextafter(barred, np.float32(np.inf), dtype=np.float32))

    def rates(self, points: int = 60) -> list[float]:
        """Rates of false alarms per image at which its curve is worth a look, evenly spaced on a logarithmic scale."""
        most = len(self.false)
        counts = np.unique(np.rint(np.geomspace(1, max(most, 1), points)).astype(int))
        return [0.0, *(count / self.images for count in counts.tolist() if count <= most)]


def _clipped(boxes: Floats, limits: Floats) -> Floats:
    """To the picture: some detectors draw past its border, some cannot."""
    return np.clip(boxes, 0, np.tile(limits, 2))
