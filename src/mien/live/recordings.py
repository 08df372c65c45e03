"""Recordings of what is watched live, one after the other, named by date and time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer
from mien.errors import MienError
from mien.faces import Faces
from mien.recording.recorder import Recorder
from mien.recording.watch import describe


class Recordings:
    """Each is an annotated film, and beside it a table of the faces with the same times.

    Both begin at zero with the first frame; the table's `frame` counts the film's frames. Safe to be begun and ended
    by one thread while another writes. They go to `folder`, and those that are finished are added to `written`.
    """

    def __init__(
        self, folder: Path, analyzer: Analyzer, min_confidence: float, smoothing: bool, written: list[Path]
    ) -> None:
        self._folder, self._analyzer, self._written = folder, analyzer, written
        self._min_confidence, self._smoothing = min_confidence, smoothing
        self._lock = Lock()
        self._recorder: Recorder | None = None
        self._path = folder
        self._first = 0.0
        self.seconds: float | None = None
        """Recorded so far; None while nothing is recorded."""

    def start(self) -> None:
        """Record from the next frame on."""
        self.seconds = 0.0

    def write(self, image: NDArray[np.uint8], faces: Faces) -> None:
        """Add an annotated `(H, W, 3)` uint8 RGB frame and its faces, if a recording has been started.

        Raises OutputError when it cannot be written; the recording is finished then, and what could be written is kept.
        """
        with self._lock:
            if self.seconds is None:
                return
            try:
                if self._recorder is None:
                    self._recorder = self._open(faces.time)
                seconds = faces.time - self._first
                faces = faces.replace(frame=self._recorder.frames, time=seconds)
                self._recorder.write(image, faces, annotated=True)
                self.seconds = seconds
                for failure in self._recorder.failures:
                    raise failure
            except MienError as error:
                problems = self._close()
                raise (problems or [error])[0] from None

    def finish(self) -> Path | None:
        """End the recording; gives the film, or None if no frame came. Raises OutputError when it cannot be written."""
        with self._lock:
            begun = self._recorder is not None
            for problem in self._close():
                raise problem
            return self._path if begun else None

    def _open(self, first: float) -> Recorder:
        self._path = unused(self._folder, ".mp4", ".csv")
        self._first = first
        options = {"smoothing": self._smoothing, "min_confidence": self._min_confidence}
        return Recorder(
            self._path.name, self._analyzer.label_names, video=self._path, tables=[self._path.with_suffix(".csv")],
            min_confidence=self._min_confidence, provenance=describe(self._analyzer, options),
        )  # fmt: skip

    def _close(self) -> list[MienError]:
        recorder, self._recorder, self.seconds = self._recorder, None, None
        if recorder is None:
            return []
        recorder.finish()
        self._written += recorder.written
        return recorder.problems


def unused(folder: Path, *endings: str) -> Path:
    """A path in a folder, named by date and time, that is free with all these endings; it has the first of them."""
    stem = datetime.now().strftime("mien-%Y-%m-%d-%H%M%S")
    count = 1
    while True:
        path = folder / (stem if count == 1 else f"{stem}-{count}")
        if not any(path.with_suffix(ending).exists() for ending in endings):
            return path.with_suffix(endings[0])
        count += 1
