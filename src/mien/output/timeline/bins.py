"""Timelines: who showed what when, gathered frame by frame in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces
from mien.labels import LABELS

BINS = 1024
"""Stretches of time that are told apart; they grow longer with the film."""

_FINEST = 1 / 64
"""Seconds of the first, shortest bins."""
_GAP_SECONDS = 0.25
"""For which somebody unseen still counts as seen."""


class Timeline:
    """Sums of probabilities over stretches of time, for each person of one source."""

    def __init__(self) -> None:
        self.source, self.label_names = "", LABELS
        self._bin, self._frames, self._last = _FINEST, 0, 0.0
        self._sums: dict[int, dict[int, NDArray[np.float64]]] = {}

    def add(self, faces: Faces) -> None:
        """Take in a frame whose faces have ids and probabilities; who is not followed (id 0) is left out. Raises
        InputError on a frame of another source."""
        if self._frames and faces.source != self.source:
            raise InputError(f"a timeline is of one source: this one is of {self.source}, not of {faces.source}")
        self.source, self.label_names, self._last = faces.source, faces.label_names, max(self._last, faces.time)
        self._frames += 1
        while faces.time >= self._bin * BINS:
            self._coarsen()
        if faces.ids is None or faces.probs is None:
            return
        where = int(faces.time / self._bin)
        for person, probs in zip(faces.ids.tolist(), faces.probs, strict=True):
            if person:
                sums = self._sums.setdefault(person, {})
                sums[where] = sums.get(where, 0) + np.append(probs, 1.0)

    def _coarsen(self) -> None:
        self._bin *= 2
        for person, sums in self._sums.items():
            merged: dict[int, NDArray[np.float64]] = {}
            for where, values in sums.items():
                merged[where // 2] = merged.get(where // 2, 0) + values
            self._sums[person] = merged

    @property
    def interval(self) -> float:
        """Mean seconds from frame to frame; 0 for a single one."""
        return self._last / max(self._frames - 1, 1)

    @property
    def duration(self) -> float:
        """Seconds to the end of the last frame."""
        return self._last + self.interval

    def people(self) -> list[int]:
        """Everybody, longest seen first."""
        return sorted(self._sums, key=lambda person: (-len(self._sums[person]), person))

    def seconds(self, person: int) -> float:
        """How long somebody was seen."""
        return float(sum(edges[-1] - edges[0] for edges, _ in self.runs(person)))

    def runs(self, person: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Stretches in which somebody was seen: edges in seconds `(k + 1,)`, mean probabilities between them
        `(k, labels)`.

        What lies between two frames takes the values of the one before, unless it is long.
        """
        sums = self._sums[person]
        reach = max(_GAP_SECONDS, 1.5 * self.interval) / self._bin
        stretches: list[list[int]] = []
        for where in sorted(sums):
            if not stretches or where - stretches[-1][-1] > max(reach, 1):
                stretches.append([])
            stretches[-1].append(where)
        runs = []
        for run in stretches:
            edges = np.append(np.array(run) * self._bin, run[-1] * self._bin + max(self.interval, self._bin))
            runs.append((edges, np.array([sums[where][:-1] / sums[where][-1] for where in run])))
        return runs

    def mean(self, person: int) -> NDArray[np.float64]:
        """Mean probabilities (labels,) over all frames of somebody."""
        total = np.sum(list(self._sums[person].values()), axis=0)
        mean: NDArray[np.float64] = total[:-1] / total[-1]
        return mean
