"""Probabilities over time: how far a face can be trusted, and what its person shows, given all frames so far."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.tracking.tracker import MAX_GAP

TIME_CONSTANT = 0.06
"""Seconds from which on two frames count as two looks at the face."""

_HOLD = 16.0
"""Mean time that an expression lasts, in time constants."""
_SOFTNESS = 1.7
"""Temperature of what is given out: a face that is misread goes on being misread for as long as it keeps still, so
looks agree more often than they are right."""

_SIDE = 48
"""Pixels to which larger faces are reduced before their sharpness is measured: about what the network sees."""
_HALF_SIZE, _HALF_SHARPNESS = 12.0, 0.02
"""Side in pixels, and sharpness, at which half of what can be read is lost."""
_NOSE = 0.4
"""How far the nose moves between the eyes, in distances of the eyes, when the head turns by 45 degrees."""


def quality(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.float32]:
    """How well each face can be read, (n,) float32 in 0..1: the product of `size`, `sharpness`, `pose` and score.

    `image` is the `(H, W, 3)` uint8 RGB frame in which the faces were found.
    """
    score = np.clip(faces.scores, 0, 1)
    product: NDArray[np.float32] = size(faces) * sharpness(image, faces) * pose(faces) * score
    return product


def size(faces: Faces) -> NDArray[np.float32]:
    """Of the faces' resolution alone: s^2 / (s^2 + 12^2), s the square root of a box's area in pixels. 0.8 at 24 px."""
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    area: NDArray[np.float32] = sides.prod(1)
    return area / (area + np.float32(_HALF_SIZE**2))


def sharpness(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.float32]:
    """Of focus and motion blur: r / (r + 0.02), r the variance of the Laplacian (Pech-Pacheco et al. 2000) over that
    of the grey box itself, reduced to 48 pixels, so that neither contrast nor resolution counts. Noise counts as
    sharp. 0 for a box that is plain, or outside the image.
    """
    values = np.zeros(len(faces), np.float32)
    corners = np.maximum(np.rint(faces.boxes), 0).astype(int)
    for i, (x1, y1, x2, y2) in enumerate(corners):
        patch = image[y1:y2, x1:x2]
        if min(patch.shape[:2]) < 3:
            continue
        grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
        if max(grey.shape) > _SIDE:
            grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        ratio = cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0)
        values[i] = ratio / (ratio + _HALF_SHARPNESS)
    return values


def pose(faces: Faces) -> NDArray[np.float32]:
    """Of the head's turn to the side: about the cosine of the yaw, 1 where landmarks are not known.

    The nose stands out from the plane of the eyes, so it moves between them by 0.4 tan(yaw) of their distance. Roll
    does not count, as the crop is turned upright; nodding moves the nose along, not between.
    """
    right, left, nose = (faces.landmarks[:, k].astype(np.float64) for k in range(3))
    axis = left - right
    distance = np.maximum((axis**2).sum(1), 1e-6)
    aside = np.abs(((nose - (right + left) / 2) * axis).sum(1)) / distance
    cosine = 1 / np.hypot(1, aside / _NOSE)
    return np.where(np.isfinite(cosine), cosine, 1).astype(np.float32)


class _Person:
    """What is believed of one track."""

    def __init__(self, probs: NDArray[np.float64], time: float) -> None:
        self.time = time
        self.belief = _normalised(probs**_SOFTNESS)  # so that a first look is given out as it is

    def look(self, probs: NDArray[np.float64], time: float, weight: float, time_constant: float) -> None:
        """Take in what a frame says: forget for the time between, then add the evidence."""
        dt, self.time = max(0.0, time - self.time), time
        stay = np.exp(-dt / (_HOLD * time_constant))
        expected = stay * self.belief + (1 - stay) / len(probs)
        self.belief = _normalised(expected * probs ** (weight * min(1.0, dt / time_constant)))


class Smoother:
    """Probabilities of the faces of one source, given all their frames so far; one smoother per source.

    The forward filter of a hidden Markov model (Rabiner 1989) for each track: an expression lasts, and now and then
    changes into any other; every frame is evidence. Frames that follow within `time_constant` seconds show nearly
    the same, so the evidence of one is raised to the power dt / time_constant (1 at most) times the face's quality.
    That makes the filter one of seconds, whatever the frame rate, and lets it switch soon where faces are clear and
    wait where they are not. A longer time constant is calmer and later; expressions last 16 of them. Somebody not
    seen for more than `max_gap` seconds is forgotten, as the tracker does.

    Chosen over an exponential average of log probabilities by `benchmarks/smoothing.py`.
    """

    def __init__(self, time_constant: float = TIME_CONSTANT, max_gap: float = MAX_GAP) -> None:
        if not time_constant > 0:
            raise ValueError(f"time_constant should be more than 0 seconds, not {time_constant}")
        self.time_constant, self.max_gap = time_constant, max_gap
        self._people: dict[int, _Person] = {}

    def update(self, faces: Faces) -> Faces:
        """The faces of the next frame with `probs` smoothed, and `raw_probs` what they were.

        Faces need `ids` and `probs`, and may have a `quality` (1 otherwise). A track begins with its first frame's
        own probabilities; those with id 0, not followed, keep theirs. Raises ValueError on faces without ids or
        probs.
        """
        if faces.ids is None or faces.probs is None:
            missing = "ids" if faces.ids is None else "probs"
            maker = "Tracker" if faces.ids is None else "Classifier"
            raise ValueError(f"faces need {missing} to be smoothed: they come from mien's {maker}")
        smoothed = faces.probs.copy()
        for i, person_id in enumerate(faces.ids.tolist()):
            if person_id == 0:
                continue
            probs = np.maximum(faces.probs[i].astype(np.float64), 1e-6)
            if person_id not in self._people:
                self._people[person_id] = _Person(probs, faces.time)
            else:
                weight = 1.0 if faces.quality is None else float(faces.quality[i])
                self._people[person_id].look(probs, faces.time, weight, self.time_constant)
            smoothed[i] = _normalised(self._people[person_id].belief ** (1 / _SOFTNESS))
        gone = [i for i, person in self._people.items() if not 0 <= faces.time - person.time <= self.max_gap]
        for person_id in gone:
            del self._people[person_id]
        return faces.replace(probs=smoothed, raw_probs=faces.probs)


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = weights / weights.sum()
    return share
