"""Who is who from frame to frame: `Faces` of one source, in order, to `Faces` with ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.tracking.assignment import assign

MAX_GAP = 1.0
"""Seconds for which somebody unseen is still expected back; after that the track has ended."""

START_SCORE = 0.7
"""Faces of this detector score and above are matched first."""

_CONFIRMED, _CONFIRMED_SECONDS = 3, 0.4
"""Sightings after which somebody who appears within a shot is confirmed, and the time between two that does as well:
what a detector takes for a face in one frame is seldom there in the next (`min_hits` of SORT, Bewley et al. 2016). Of
those who were never seen clearly only the time counts."""
_PATIENCE = 0.2
"""Seconds for which somebody not yet confirmed may be missed."""

# The motion model. Lengths are in sizes of the face (the square root of its box's area), sizes in their logarithms.
_JITTER, _SIZE_JITTER = 0.07, 0.08
"""Standard deviation of a detected centre and size around the true ones."""
_START_SPEED = 2.0
"""Standard deviation of the speed of somebody new, per second."""
_ACCELERATION = 2.0
"""Standard deviation of the speed that is picked up at random in one second."""
_GROWTH = 0.2
"""Standard deviation of the change of size in one second."""

_LEAPS, _LEAP = 0.05, 0.3
"""Share of sightings to which the model does not hold (a shaken camera, a box that slips), and how far off they are."""

_STRANGER = 4.5
"""Minus the log density of strangers' faces over places (in face areas) and log sizes: one in 30 face areas and over
sizes that differ by a factor of 20. A face to which no track gives more than this is somebody new."""

_SAME_PERSON, _EMBEDDING_WEIGHT, _EMBEDDING_LIMIT = 0.45, 8.0, 3.0
"""Log likelihood ratio of two embeddings being one person's: weight * (cosine - same embedding), within +- the limit.
FER2013's faces, moved as a detector's jitter moves them, have cosines of 0.78 +- 0.14 with themselves and of 0.08 +-
0.25 with each other; people in one light are more alike than that, so the even point lies above the middle."""
_EMBEDDING_TIME = 1.0
"""Seconds, the time constant with which a track's embedding follows its face."""
_EMBEDDING_SIDE = 16
_OTHER_SHAPE = 0.03
"""Difference of two aspect ratios' logarithms from which on the view is another."""


def appearance(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.float32]:
    """What tells people apart when they cross: unit vectors `(n, 768)`, whose products are cosines.

    The colours inside the boxes of an `(H, W, 3)` uint8 RGB image on a grid of 16 x 16, less their mean. A box
    outside the image, or on a plain surface, gives zeros.
    """
    embeddings = np.zeros((len(faces), _EMBEDDING_SIDE * _EMBEDDING_SIDE * 3), np.float32)
    corners = np.maximum(np.rint(faces.boxes), 0).astype(int)
    for embedding, (x1, y1, x2, y2) in zip(embeddings, corners, strict=True):
        patch = image[y1:y2, x1:x2]
        if patch.size:
            embedding[:] = cv2.resize(patch, (_EMBEDDING_SIDE, _EMBEDDING_SIDE), interpolation=cv2.INTER_AREA).ravel()
    embeddings -= embeddings.mean(1, keepdims=True)
    embeddings /= np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1)
    return embeddings


@dataclass(frozen=True)
class _Sightings:
    """The faces of one frame as the tracker measures them."""

    centers: NDArray[np.float64]
    log_sizes: NDArray[np.float64]
    scores: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None


class _Track:
    """Somebody followed: a Kalman filter of constant velocity over the centre, and of a random walk over the size.

    Both axes have the same covariance `(2, 2)` of place and velocity, in squares of the face's size.
    """

    def __init__(self, seen: _Sightings, face: int, time: float) -> None:
        self.id = 0  # until there is evidence enough
        self.sightings = 1
        self.first_seen = self.last_seen = time
        self.center, self.velocity = seen.centers[face], np.zeros(2)
        self.covariance = np.diag([_JITTER**2, _START_SPEED**2])
        self.log_size, self.size_variance = float(seen.log_sizes[face]), _SIZE_JITTER**2
        self.embedding = None if seen.embeddings is None else seen.embeddings[face]

    @property
    def often_seen(self) -> bool:
        """Often enough to be somebody who is clearly seen."""
        return self.sightings >= _CONFIRMED

    @property
    def long_seen(self) -> bool:
        """Long enough to be somebody, however faint."""
        return self.sightings > 1 and self.last_seen - self.first_seen >= _CONFIRMED_SECONDS

    def predict(self, dt: float) -> None:
        """Move on by `dt` seconds, under white-noise acceleration (Bar-Shalom, Li & Kirubarajan 2001, ch. 6.2)."""
        self.center = self.center + self.velocity * dt
        step = np.array([[1, dt], [0, 1]])
        noise = _ACCELERATION**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        self.covariance = step @ self.covariance @ step.T + noise
        self.size_variance += _GROWTH**2 * dt

    def rescale(self, factor: float) -> None:
        """Go on in frames that show the same at another size; the covariances count in face sizes."""
        self.center, self.velocity = self.center * factor, self.velocity * factor
        self.log_size += float(np.log(factor))

    def surprise(self, seen: _Sightings) -> NDArray[np.float64]:
        """Minus the log likelihood of each face by place and size, (n,), in face areas and log sizes."""
        variance, size_variance = self.covariance[0, 0] + _JITTER**2, self.size_variance + _SIZE_JITTER**2
        offset = (seen.centers - self.center) / np.exp(self.log_size)
        growth = seen.log_sizes - self.log_size
        squares = (offset**2).sum(1), growth**2
        expected = _log_density(squares, variance, size_variance) + np.log(1 - _LEAPS)
        leap = _log_density(squares, variance + _LEAP**2, size_variance + _LEAP**2) + np.log(_LEAPS)
        surprise: NDArray[np.float64] = -np.logaddexp(expected, leap)
        return surprise

    def likeness(self, seen: _Sightings) -> NDArray[np.float64]:
        """Log likelihood ratio of each face's embedding, (n,), for this person against another; 0 where not known."""
        if self.embedding is None or seen.embeddings is None:
            return np.zeros(len(seen.centers))
        cosines = seen.embeddings.astype(np.float64) @ self.embedding
        ratio: NDArray[np.float64] = np.clip(
            _EMBEDDING_WEIGHT * (cosines - _SAME_PERSON), -_EMBEDDING_LIMIT, _EMBEDDING_LIMIT
        )
        return ratio

    def see(self, seen: _Sightings, face: int, time: float) -> None:
        """Take in where and how the face was found."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + _JITTER**2)
        error = seen.centers[face] - self.center
        self.center = self.center + gain[0] * error
        self.velocity = self.velocity + gain[1] * error
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        size_gain = self.size_variance / (self.size_variance + _SIZE_JITTER**2)
        self.log_size += size_gain * (float(seen.log_sizes[face]) - self.log_size)
        self.size_variance *= 1 - size_gain
        if seen.embeddings is not None:
            old = seen.embeddings[face] if self.embedding is None else self.embedding
            embedding = old + (1 - np.exp((self.last_seen - time) / _EMBEDDING_TIME)) * (seen.embeddings[face] - old)
            self.embedding = embedding / max(float(np.linalg.norm(embedding)), 1e-6)
        self.sightings += 1
        self.last_seen = time


def _log_density(
    squares: tuple[NDArray[np.float64], NDArray[np.float64]], variance: float, size_variance: float
) -> NDArray[np.float64]:
    """Of normal places (two axes alike) and log sizes, at these squared distances from their means."""
    exponents = squares[0] / variance + squares[1] / size_variance
    density: NDArray[np.float64] = -(exponents + np.log((2 * np.pi) ** 3 * variance**2 * size_variance)) / 2
    return density


class Tracker:
    """Gives the faces of one source their ids; one tracker per source, frames in order.

    Everybody followed is predicted to the time of the new frame, and faces are given to tracks so that the whole
    is most likely, by place, size and, where the caller knows it, appearance, against being a stranger. Sure faces
    choose first, then faint ones (as in ByteTrack, Zhang et al. 2022: a faint face is mostly somebody half hidden).
    Motion is modelled in seconds, so the frame rate may be low or vary.

    A track ends when frames come for more than `max_gap` seconds without showing it, at a cut, and when time steps
    back; a pause without frames ends none, so that a film may be sampled as thinly as one likes. Frames of another
    size are taken to show the same view scaled, those of another shape to begin another shot.
    """

    def __init__(self, max_gap: float = MAX_GAP, start_score: float = START_SCORE, least_score: float = 0.0) -> None:
        self.max_gap, self.start_score, self.least_score = max_gap, start_score, least_score
        self._tracks: list[_Track] = []
        self._time = 0.0
        self._last_id = 0
        self._begun = False
        self._size = (0, 0)

    def update(self, faces: Faces, cut: bool = False, embeddings: NDArray[np.float32] | None = None) -> Faces:
        """The faces of the next frame with their `ids`: from 1 up, never used twice; 0 for a face that is not confirmed
        yet. Those in the first frame of a shot are confirmed at once unless they are faint. Faces below
        `least_score` are left out unless they continue somebody confirmed.

        `cut` says that this frame begins another shot; `embeddings` are unit vectors `(n, d)`, as from `appearance`.
        Raises ValueError when there is not one embedding per face.
        """
        if embeddings is not None and (embeddings.ndim != 2 or len(embeddings) != len(faces)):
            raise ValueError(f"embeddings should have shape ({len(faces)}, d), not {embeddings.shape}")
        dt, self._time = faces.time - self._time, faces.time
        begins = cut or dt < 0 or not self._fits(faces.width, faces.height) or not self._begun
        self._begun = True
        if begins:
            self._tracks = []
        for track in self._tracks:
            track.predict(dt)
        boxes = faces.boxes.astype(np.float64)
        sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
        seen = _Sightings((boxes[:, :2] + boxes[:, 2:]) / 2, np.log(sizes).mean(1), faces.scores, embeddings)

        owners: dict[int, _Track] = {}
        for track, face in self._pairs(seen):
            track.see(seen, face, faces.time)
            owners[face] = track
        self._tracks = [track for track in self._tracks if self._goes_on(track)]
        # From left to right, so that ids do not hang on the order in which a detector lists the faces.
        for face in sorted(range(len(faces)), key=lambda i: tuple(boxes[i])):
            if face not in owners:
                if faces.scores[face] < self.least_score:
                    continue
                owners[face] = _Track(seen, face, faces.time)
                self._tracks.append(owners[face])
            track = owners[face]
            clearly_seen = faces.scores[face] >= self.start_score and (begins or track.often_seen)
            if not track.id and (clearly_seen or track.long_seen):
                self._last_id += 1
                track.id = self._last_id
        kept = [face in owners for face in range(len(faces))]
        return faces.select(kept).replace(ids=[owners[face].id for face in range(len(faces)) if kept[face]])

    def _fits(self, width: int, height: int) -> bool:
        """Take the tracks along to a frame of another size; False where its shape is another, too."""
        (old_width, old_height), self._size = self._size, (width, height)
        if (width, height) == (old_width, old_height) or not (width and height and old_width and old_height):
            return True
        if abs(np.log(width * old_height / (height * old_width))) > _OTHER_SHAPE:
            return False
        for track in self._tracks:
            track.rescale(width / old_width)
        return True

    def _pairs(self, seen: _Sightings) -> Iterator[tuple[_Track, int]]:
        """Tracks and the faces that are theirs: sure faces to people followed, faint faces to those left over,
        and what then remains to those of whom there is little evidence yet."""
        sure, likely = seen.scores >= max(self.start_score, self.least_score), seen.scores >= self.least_score
        known = np.array([track.id > 0 for track in self._tracks], bool)
        free, alone = np.ones(len(sure), bool), np.ones(len(known), bool)
        costs = np.empty((len(known), len(sure)))
        for row, track in zip(costs, self._tracks, strict=True):
            row[:] = track.surprise(seen) - track.likeness(seen)
        for tracks, faces in ((known, sure), (known, ~sure), (~known, likely)):
            rows, columns = np.flatnonzero(tracks & alone), np.flatnonzero(faces & free)
            for i, j in zip(*assign(costs[np.ix_(rows, columns)], _STRANGER), strict=True):
                alone[rows[i]] = free[columns[j]] = False
                yield self._tracks[rows[i]], int(columns[j])

    def _goes_on(self, track: _Track) -> bool:
        missing = self._time - track.last_seen
        return missing <= (self.max_gap if track.id else min(_PATIENCE, self.max_gap))
