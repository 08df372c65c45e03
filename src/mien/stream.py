"""`Stream`: one source watched through time; holds who is who and what was seen before, for that source alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces
from mien.media.frames import Closing, Frame, Frames
from mien.threads import in_order
from mien.tracking.shots import CutDetector
from mien.tracking.smoother import Smoother, quality
from mien.tracking.tracker import Tracker, appearance

if TYPE_CHECKING:
    from mien.analyzer import Analyzer


class Stream(Closing):
    """The faces of one source, frame by frame, with ids and with probabilities smoothed over time.

        for faces in mien.load().stream("film.mp4"):
            print(faces.time, faces.ids, faces.labels())

    Made by `Analyzer.stream`. Pictures among the frames are read each by itself: nobody in them is followed. When
    the frames of another source follow, everything begins anew. Close it when it is left early, or use it as a
    context manager.
    """

    def __init__(self, analyzer: Analyzer, frames: Frames | None, smoothing: bool = True, workers: int = 1) -> None:
        self.analyzer, self.frames, self.smoothing, self.workers = analyzer, frames, smoothing, workers
        self._begin("")

    def _begin(self, source: str) -> None:
        self._source = source
        self._tracker, self._cuts, self._smoother = Tracker(), CutDetector(), Smoother()

    def push(self, frame: Frame) -> Faces:
        """The faces of the next frame; frames have to come in order. For sources of one's own, and live use."""
        return self._follow(frame, *self._read(frame))

    def pairs(self) -> Iterator[tuple[Frame, Faces]]:
        """Frames and their faces, for whoever draws.

        Frames are decoded and read in threads ahead of whoever takes them; live ones only decoded, so that no frame
        waits. Raises InputError, after all frames that could be read, for what was wrong with the source.
        """
        if self.frames is None:
            raise InputError("this stream has no source: push frames into it, or name a source")
        with self.frames as frames:
            if frames.live:
                for frame in frames:
                    yield frame, self.push(frame)
                return
            for frame, read in in_order(lambda frame: (frame, self._read(frame)), frames, self.workers):
                yield frame, self._follow(frame, *read)

    def __iter__(self) -> Iterator[Faces]:
        for _, faces in self.pairs():
            yield faces

    def _read(self, frame: Frame) -> tuple[Faces, NDArray[np.float32]]:
        """What a frame says by itself: its faces, and their looks."""
        faces = self.analyzer.analyze(frame.image).replace(source=frame.source, frame=frame.index, time=frame.time)
        return faces.replace(quality=quality(frame.image, faces)), appearance(frame.image, faces)

    def _follow(self, frame: Frame, faces: Faces, looks: NDArray[np.float32]) -> Faces:
        """What it says after those before it."""
        if frame.still:
            return faces.replace(quality=None)
        if frame.source != self._source:
            self._begin(frame.source)
        faces = self._tracker.update(faces, self._cuts.update(frame.image), looks)
        return self._smoother.update(faces) if self.smoothing else faces

    def close(self) -> None:
        """Stop reading the source."""
        if self.frames is not None:
            self.frames.close()
