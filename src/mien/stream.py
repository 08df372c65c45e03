"""`Stream`: one source watched through time; holds who is who and what was seen before, for that source alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.checks import number, whole
from mien.errors import InputError
from mien.faces import Faces
from mien.media.frames import Closing, Frame, Frames
from mien.media.images import Color, ImageLike, check_color, load_image
from mien.threads import in_order
from mien.tracking.quality import quality
from mien.tracking.shots import CutDetector
from mien.tracking.smoother import Smoother
from mien.tracking.tracker import Tracker, appearance


class Reads(Protocol):
    """What a stream needs of an analyzer."""

    def analyze(self, image: NDArray[np.uint8], *, keep_image: bool) -> Faces:
        """The faces in an `(H, W, 3)` uint8 RGB picture with their probabilities."""
        ...

    def expecting(self) -> tuple[Reads, float]:
        """One for frames in which somebody is expected, and the score from which others count, too."""
        ...


class Stream(Closing):
    """The faces of one source, frame by frame, with ids and with probabilities smoothed over time.

        for faces in mien.load().stream("film.mp4"):
            print(faces.time, faces.ids, faces.labels())

    Made by `Analyzer.stream`. Pictures among the frames are read each by itself: nobody in them is followed. When
    the frames of another source follow, everything begins anew. A stream is read once. Close it when it is left early,
    or use it as a context manager.

    Raises InputError when `workers` is not a whole number from 1 on, or `fps`, the rate of frames that are pushed
    without a time, is not above 0.
    """

    def __init__(
        self, analyzer: Reads, frames: Frames | None, *, smoothing: bool = True, workers: int = 1,
        fps: float = 25.0, color: Color = "rgb",
    ) -> None:  # fmt: skip
        workers, fps = whole("workers", workers), number("fps", fps, above=0)
        check_color(color)
        self.analyzer, self.frames, self.smoothing, self.workers = analyzer, frames, smoothing, workers
        self._fps, self._color, self._pushed, self._time, self._read_already = fps, color, 0, 0.0, False
        self._expecting, self._least_score = analyzer.expecting()
        self._begin("")

    def _begin(self, source: str) -> None:
        self._source = source
        self._tracker, self._cuts, self._smoother = Tracker(least_score=self._least_score), CutDetector(), Smoother()

    def push(self, image: Frame | ImageLike, time: float | None = None) -> Faces:
        """The faces of the next frame, for sources of one's own and live use; frames have to come in order.

        `image` is a `Frame`, or a picture in any form that `Analyzer.analyze` takes, which is shown at `time` seconds;
        None is the next moment at the stream's `fps`. Raises InputError when it is none of these.
        """
        if isinstance(image, Frame):
            if time is not None:
                raise InputError("a Frame has a time of its own; leave time out")
            frame = image
        else:
            time = self._pushed / self._fps if time is None else time
            frame = Frame(load_image(image, self._color)[0], self._pushed, time)
        now = number("time", frame.time, least=0)
        if frame.source == self._source and not frame.still and now < self._time:
            raise InputError(f"frames should come in order: {now:g} s is before {self._time:g} s")
        self._time = now
        self._pushed += 1
        return self._follow(frame, *self._read(frame))

    def pairs(self) -> Iterator[tuple[Frame, Faces]]:
        """Frames and their faces, for whoever draws.

        Frames are decoded and read in threads ahead of whoever takes them; live ones only decoded, so that no frame
        waits. Raises InputError, after all frames that could be read, for what was wrong with the source, and at once
        when there is no source or it has been read already.
        """
        if self.frames is None:
            raise InputError("this stream has no source: push frames into it, or name a source")
        if self._read_already or self.frames.over:
            raise InputError("this stream has already been read or closed; open the source again")
        self._read_already = True
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
        """What a frame says by itself: its faces, and their appearance."""
        reader = self.analyzer if frame.still else self._expecting
        faces = reader.analyze(frame.image, keep_image=False)
        faces = faces.replace(source=frame.source, frame=frame.index, time=frame.time)
        return faces.replace(quality=quality(frame.image, faces)), appearance(frame.image, faces)

    def _follow(self, frame: Frame, faces: Faces, embeddings: NDArray[np.float32]) -> Faces:
        """What it says after those before it."""
        if frame.still:
            return faces.replace(quality=None)
        if frame.source != self._source:
            self._begin(frame.source)
        faces = self._tracker.update(faces, self._cuts.update(frame.image), embeddings)
        return self._smoother.update(faces) if self.smoothing else faces

    def close(self) -> None:
        """Stop reading the source."""
        if self.frames is not None:
            self.frames.close()
