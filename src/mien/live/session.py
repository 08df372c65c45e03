"""`Live`: a camera, stream or film watched as time passes; the newest frame wins, is read, annotated and recorded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Thread

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.analyzer import Analyzer
from mien.drawing.annotate import annotate
from mien.errors import InputError, MienError
from mien.faces import Faces
from mien.files import replacing
from mien.live.recordings import Recordings, unused
from mien.media.frames import Closing, Frame, Frames
from mien.media.opening import open_frames
from mien.media.sources import Source
from mien.stream import Stream

_SPAN = 2.0
"""Seconds over which frames a second and latency are taken."""


@dataclass(frozen=True, eq=False)
class Arrived(Frame):
    """A frame, and the value of `time.monotonic()` when it came."""

    came: float = 0.0


@dataclass(frozen=True, eq=False)
class View:
    """A frame as it is shown.

    image   (H, W, 3) uint8 RGB, annotated
    faces   what was read in it
    came    `time.monotonic()` when the frame came
    """

    image: NDArray[np.uint8]
    faces: Faces
    came: float


@dataclass(frozen=True)
class Status:
    """What there is to know beside the picture.

    fps        frames shown in a second
    latency    seconds from a frame's coming to its being shown, or None while nothing is shown
    dropped    frames that gave way to newer ones before they could be read
    paused     the picture stands still
    recording  seconds recorded so far, or None
    silent     seconds since the last frame came
    over       no more frames will come
    """

    fps: float
    latency: float | None
    dropped: int
    paused: bool
    recording: float | None
    silent: float
    over: bool


class Live(Closing):
    """One source watched until it ends or is closed, by threads of its own; whoever shows it takes `wait`'s views.

    A thread takes every frame as it comes and keeps the newest; another reads it, draws, and records. So a machine
    that is slower than the camera leaves frames out, and never falls behind. A film is played at its own pace, as if
    a camera saw it. Recordings and snapshots go to `folder`.

    Raises InputError when the source cannot be opened. Use it as a context manager, or close it: that finishes the
    recording.
    """

    def __init__(
        self,
        source: Source,
        analyzer: Analyzer,
        folder: Path,
        *,
        smoothing: bool = True,
        min_confidence: float = 0.0,
        follow_playlists: bool = False,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence should be 0 to 1, not {min_confidence!r}")
        if source.kind not in {"camera", "film", "stream"}:
            raise InputError(f"{source.name} is no camera, film or stream; to read it use: mien predict")
        self.paused, self.shown = False, 0
        self.failure: MienError | None = None
        """Why the last recording ended before it should."""
        self.written: list[Path] = []
        """Recordings, their tables, and snapshots, as they are finished."""
        self._folder, self._min_confidence = folder, min_confidence
        self._recordings = Recordings(folder, analyzer, min_confidence, smoothing, self.written)
        self._stream = Stream(analyzer, None, smoothing=smoothing)
        self._times: deque[tuple[float, float]] = deque()
        self._news, self._stopped = Condition(), Event()
        self._view: View | None = None
        self._problem: Exception | None = None
        self._over = False
        self._source = open_frames(source, follow_playlists=follow_playlists)
        self._last_came = time.monotonic()
        self._newest = Frames(self._arrivals, live=True, newest=True)
        self._thread = Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def _arrivals(self, stop: Event) -> Iterator[Frame]:
        """Frames as they come; those of a film when their time has come."""
        began: float | None = None
        with self._source as frames:
            for frame in frames:
                if not frames.live:
                    began = time.monotonic() - frame.time if began is None else began
                    if stop.wait(max(0.0, began + frame.time - time.monotonic())):
                        return
                self._last_came = time.monotonic()
                yield Arrived(frame.image, frame.index, frame.time, frame.source, came=self._last_came)

    def _run(self) -> None:
        try:
            for frame in self._newest:
                assert isinstance(frame, Arrived)
                if self.paused:
                    continue
                faces = self._stream.push(frame)
                view = View(annotate(frame.image, faces, self._min_confidence), faces, frame.came)
                with self._news:
                    self._view = view
                    self._news.notify_all()
                self._record(view)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the views are taken
            with self._news:
                self._problem = error
                self._news.notify_all()
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()
            self._finish_recording()

    def wait(self, last: View | None = None, timeout: float = 0.0) -> View | None:
        """The newest view if it is not `last`; waits for one up to `timeout` seconds, or until the source ends, and
        then gives None.

        Raises InputError, after all views, for what went wrong with the source.
        """
        with self._news:
            over = self._over
            self._news.wait_for(
                lambda: self._view is not last or self._problem is not None or self._over is not over, timeout
            )
            if self._view is not last:
                return self._view
            if self._problem is not None:
                raise self._problem
        return None

    def mark_shown(self, view: View) -> None:
        """Tell that a view has just come on the screen."""
        self.shown += 1
        self._times.append((time.monotonic(), view.came))

    def status(self) -> Status:
        now = time.monotonic()
        while self._times and self._times[0][0] < now - _SPAN:
            self._times.popleft()
        fps, latency = 0.0, None
        if self._times:
            took = self._times[-1][0] - self._times[0][0]
            fps = (len(self._times) - 1) / took if took else 0.0
            latency = sum(shown - came for shown, came in self._times) / len(self._times)
        return Status(
            fps, latency, self._newest.dropped, self.paused, self._recordings.seconds, now - self._last_came, self._over
        )

    def snapshot(self) -> Path | None:
        """Save the newest view as a PNG and give its path; None before the first. Raises InputError when it cannot."""
        view = self._view
        if view is None:
            return None
        path = unused(self._folder, ".png")
        with replacing(path, f"the snapshot {path}") as part:
            Image.fromarray(view.image).save(part, "PNG")
        self.written.append(path)
        return path

    def toggle_pause(self) -> None:
        """Let the picture stand still, or go on; frames that come meanwhile are let pass, and not counted."""
        self.paused = not self.paused

    def toggle_recording(self) -> Path | None:
        """Begin to record, or finish; gives the film that was finished. Raises InputError when that fails."""
        if self._recordings.seconds is not None:
            return self._recordings.finish()
        if not self._over:
            self._recordings.start()
        return None

    def _record(self, view: View) -> None:
        try:
            self._recordings.write(view.image, view.faces)
        except MienError as error:  # a full disk is no reason to look away
            self.failure = error

    def _finish_recording(self) -> None:
        try:
            self._recordings.finish()
        except MienError as error:
            self.failure = error

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Ask whoever shows this to end. For keys and signal handlers."""
        self._stopped.set()

    def close(self) -> None:
        """Stop watching, and finish the recording."""
        self._stopped.set()
        self._source.stop()
        self._newest.close()
        self._thread.join()
