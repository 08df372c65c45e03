"""Probabilities over time: what a person shows, given all frames so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.tracking.tracker import MAX_GAP

TIME_CONSTANT = 0.06
"""Seconds from which on two frames count as two observations of the face."""

_HOLD = 16.0
"""Mean time that an expression lasts, in time constants."""
_SOFTNESS = 1.7
"""Temperature of what is given out: a face that is misread goes on being misread for as long as it keeps still, so
observations agree more often than they are right."""


class _Person:
    """What is believed of one track."""

    def __init__(self, probs: NDArray[np.float64], time: float) -> None:
        self.time = time
        self.belief = _normalised(probs**_SOFTNESS)  # so that a first observation is given out as it is

    def observe(self, probs: NDArray[np.float64], time: float, weight: float, time_constant: float) -> None:
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
                self._people[person_id].observe(probs, faces.time, weight, self.time_constant)
            smoothed[i] = _normalised(self._people[person_id].belief ** (1 / _SOFTNESS))
        gone = [i for i, person in self._people.items() if not 0 <= faces.time - person.time <= self.max_gap]
        for person_id in gone:
            del self._people[person_id]
        return faces.replace(probs=smoothed, raw_probs=faces.probs)


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = weights / weights.sum()
    return share
