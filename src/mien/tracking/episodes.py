"""From probabilities over time to episodes: who showed what, from when to when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.tracking.tracker import MAX_GAP

ENTER, LEAVE = 0.5, 0.35
"""An expression begins when its probability reaches the first, and lasts until it is below the second."""

MIN_DURATION = 0.3
"""Seconds; what is shorter is no episode."""


@dataclass(frozen=True)
class Episode:
    """A stretch of one track with one dominant expression; times are seconds from the start of the source.

    onset       the first frame of it
    apex        the frame of the highest probability, the first of equals
    offset      the first frame after it, or where the person was not seen any more the last one of it
    peak, mean  highest and mean probability over its frames, 0..1
    frames      how many frames of it show the person
    """

    source: str
    id: int
    label: str
    onset: float
    apex: float
    offset: float
    peak: float
    mean: float
    frames: int

    @property
    def duration(self) -> float:
        """Seconds from onset to offset."""
        return self.offset - self.onset


class _Open:
    """An episode that goes on."""

    def __init__(self, expression: int, label: str, onset: float) -> None:
        self.expression, self.label, self.onset = expression, label, onset
        self.apex = self.last_seen = onset
        self.peak = self.total = 0.0
        self.frames = 0

    def add(self, time: float, probability: float) -> None:
        if probability > self.peak:
            self.apex, self.peak = time, probability
        self.total += probability
        self.frames += 1
        self.last_seen = time

    def ended(self, source: str, person: int, offset: float) -> Episode:
        return Episode(
            source, person, self.label, self.onset, self.apex, offset,
            self.peak, self.total / self.frames, self.frames,
        )  # fmt: skip


class EpisodeFinder:
    """Finds the episodes of a source as its frames come, and then those of the next.

    An episode begins when an expression reaches the probability `enter`, and ends when it falls below `leave` or
    another expression reaches `enter` and more than its own (a threshold with hysteresis, so that noise around one
    level makes no crowd of episodes). Neutral is an expression like the others. Frames without the person do not
    end it until they last more than `max_gap` seconds. Episodes shorter than `min_duration` seconds are left out.
    Memory is bounded by the number of people followed at one time.
    """

    def __init__(
        self, enter: float = ENTER, leave: float = LEAVE, min_duration: float = MIN_DURATION, max_gap: float = MAX_GAP
    ) -> None:
        if not 0 < leave <= enter <= 1:
            raise ValueError(f"thresholds should be 0 < leave <= enter <= 1, not leave {leave} and enter {enter}")
        self.enter, self.leave, self.min_duration, self.max_gap = enter, leave, min_duration, max_gap
        self._open: dict[int, _Open] = {}
        self._source = ""

    def update(self, faces: Faces) -> list[Episode]:
        """Take in the next frame; the episodes that ended with it, by their onset.

        Faces with id 0 are not followed, and have none. The first frame of another source ends all episodes of the one
        before. Raises ValueError on faces without ids or probs.
        """
        if faces.ids is None or faces.probs is None:
            missing = "ids" if faces.ids is None else "probs"
            raise ValueError(f"faces need {missing} to have episodes")
        closed = self.close() if faces.source != self._source else []
        self._source = faces.source
        for person, probs in zip(faces.ids.tolist(), faces.probs, strict=True):
            if person:
                closed += self._follow(person, probs, faces)
        for person, episode in list(self._open.items()):
            if not 0 <= faces.time - episode.last_seen <= self.max_gap:
                closed += self._close(person, episode.last_seen)
        return sorted(closed, key=_order)

    def close(self) -> list[Episode]:
        """The episodes that go on to the end of the source, which is now."""
        closed = [e for person, episode in list(self._open.items()) for e in self._close(person, episode.last_seen)]
        return sorted(closed, key=_order)

    def _follow(self, person: int, probs: NDArray[np.float32], faces: Faces) -> list[Episode]:
        closed: list[Episode] = []
        best = int(probs.argmax())
        begins = probs[best] >= self.enter
        now = self._open.get(person)
        if now is not None and (probs[now.expression] < self.leave or (begins and best != now.expression)):
            closed, now = self._close(person, faces.time), None
        if now is None and begins:
            now = self._open[person] = _Open(best, faces.label_names[best], faces.time)
        if now is not None:
            now.add(faces.time, float(probs[now.expression]))
        return closed

    def _close(self, person: int, offset: float) -> list[Episode]:
        """End somebody's episode; the list is empty when it was too short."""
        episode = self._open.pop(person).ended(self._source, person, offset)
        return [episode] if episode.duration >= self.min_duration else []


def _order(episode: Episode) -> tuple[float, int]:
    return episode.onset, episode.id
