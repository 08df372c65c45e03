"""Annotated films: H.264 in MP4 with the times of the original's frames and its own sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.codec.codec import UnknownCodecError
from numpy.typing import NDArray

from mien.errors import InputError, OutputError, reason
from mien.files import replacing
from mien.media.opening import open_film
from mien.media.sources import Source
from mien.media.video import Film

Original = str | Path | Callable[[], Film]
"""The film that was annotated: its file, or what opens it."""

_ENCODER = "libx264"
_CODED = {"crf": "20", "preset": "veryfast", "bf": "0"}
"""Without B-frames, whose order confuses how long an MP4 of varying frame rate says it lasts."""
_COPIED = {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "flac", "opus", "libopus"}
"""Decoders of sound that players expect in an MP4; any other is coded as AAC anew."""
_UNTRUSTED = {"avi"}
"""Containers in which the times of sound are estimates that may repeat or fall."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_GAP = 0.1
"""Seconds of silence, in sound coded anew, from which on it is kept."""
_TIME_BASE = Fraction(1, 90_000)
"""Of films whose original has none."""


_READABLE = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "1000000"}
"""A file that can be read up to its last whole second whenever writing breaks off, and an ordinary MP4 in the end."""


class VideoWriter:
    """An open film; made by `open_video`.

    failure   why it is not whole, once writing has failed
    note      what became of the sound where it could not be taken along as it is, in a sentence; or empty
    """

    def __init__(self, path: Path, part: Path, original: Original | None, end: float | None, stack: ExitStack) -> None:
        self.path, self._part, self._original, self._stack = path, part, original, stack
        self._silence = ""
        self.failure: OutputError | None = None
        self._end = float("inf") if end is None else end
        self._out: Any = None
        self._sound: _Sound | None = None
        self._time_base = _TIME_BASE
        self._first = self._last = 0.0
        self._last_stamp = -1

    @property
    def note(self) -> str:
        return self._sound.note if self._sound is not None else self._silence

    @property
    def begun(self) -> bool:
        """Whether there is a frame in it."""
        return self._out is not None

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        """Add an `(H, W, 3)` uint8 RGB frame that is shown at `time` seconds of the original; times ascend.

        All frames take on the first one's size, and odd sides grow by a pixel. Raises OutputError when it cannot be
        written; the film is not put in its place then.
        """
        if self.failure is not None:
            return
        with self._writing():
            if self._out is None:
                self._begin(image, time)
            height, width = self._video.height, self._video.width
            below, right = height - image.shape[0], width - image.shape[1]
            if 0 <= below <= 1 and 0 <= right <= 1:
                if below or right:
                    image = np.pad(image, ((0, below), (0, right), (0, 0)), "edge")
            else:
                image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            self._last = time
            self._last_stamp = max(round((time - self._first) / self._time_base), self._last_stamp + 1)
            frame.pts, frame.time_base = self._last_stamp, self._time_base
            self._out.mux(self._video.encode(frame))
            if self._sound is not None:
                self._sound.copy(time - self._first)

    def _begin(self, image: NDArray[np.uint8], time: float) -> None:
        rate, origin, container = Fraction(25), Fraction(0), None
        if self._original is not None:
            try:
                film = _opened(self._original)
                self._stack.callback(film.close)
                next(film.frames())
                container = self._stack.enter_context(film.reopen())
            except (InputError, av.error.FFmpegError):  # a URL may give its film but once
                self._silence = "its sound is missing, since it could not be opened a second time"
            else:
                self._time_base, rate = film.time_base, film.rate
                origin = (film.origin or 0) * film.time_base
        sound = container.streams.audio[0].codec_context if container and container.streams.audio else None
        # AAC of a transport stream tells its parameters with its packets, too late for such a file's head.
        readable = sound is None or sound.name != "aac" or bool(sound.extradata)
        options = _READABLE if readable else {}
        self._out = self._stack.enter_context(av.open(f"file:{self._part}", "w", format="mp4", options=options))
        height, width = image.shape[:2]
        try:
            self._video = self._out.add_stream(_ENCODER, rate=rate, options=_CODED)
        except UnknownCodecError:
            raise OSError(f"this build of FFmpeg has no {_ENCODER}") from None
        self._video.width, self._video.height = width + width % 2, height + height % 2
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = self._video.codec_context.time_base = self._time_base
        if time > 1 / rate:  # a part of the film begins at zero
            self._first = time
        if sound is not None:
            self._sound = _Sound(container, self._out, origin + Fraction(self._first), self._first > 0)

    def cut(self) -> None:
        """Let the sound end with the last frame: the film has not been read to its end."""
        self._end = self._last

    def finish(self) -> None:
        """Write what is still on its way."""
        if self._out is None:
            return
        with self._writing():
            if self._sound is not None:
                self._sound.copy(self._end - self._first)
                self._sound.finish()
            self._out.mux(self._video.encode(None))
            self._stack.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            self.failure = OutputError(f"cannot write the film {self.path}: {reason(error)}")
            raise self.failure from None


def _opened(original: Original) -> Film:
    return original() if callable(original) else open_film(Source(str(original), "film"))


class _Sound:
    """The sound of an open film, copied as it is or coded anew, from `start` seconds on by its own clock."""

    def __init__(self, container: Any, out: Any, start: Fraction, from_within: bool) -> None:
        self._stream = container.streams.best("audio") or container.streams.audio[0]
        self._out, self._start, self._from_within = out, start, from_within
        trusted = container.format.name not in _UNTRUSTED
        self._copies = trusted and self._stream.codec_context.name in _COPIED
        if self._copies:
            self._target = out.add_stream_from_template(self._stream)
        else:
            channels = self._stream.codec_context.layout.nb_channels
            self._target = out.add_stream("aac", rate=self._stream.rate, layout=_LAYOUTS.get(channels, "stereo"))
        self._samples: int | None = None
        self._last: int | None = None
        self.note = ""
        self._packets = self._demuxed(container)
        self._next = next(self._packets, None)

    def _demuxed(self, container: Any) -> Iterator[Any]:
        try:
            yield from (p for p in container.demux(self._stream) if p.pts is not None and p.size)
        except av.error.FFmpegError:  # damaged, or the network is gone; the picture goes on
            self.note = "its sound could not be read to its end, and stops before the picture does"

    def copy(self, until: float) -> None:
        """Write what begins up to `until` seconds of the new film."""
        while self._next is not None:
            packet = self._next
            if float(packet.pts * packet.time_base - self._start) > until:
                return
            ends = (packet.pts + (packet.duration or 0)) * packet.time_base
            if not self._from_within or ends > self._start:
                try:
                    self._write(packet)
                except (av.error.ArgumentError, av.error.InvalidDataError):
                    moment = max(float(packet.pts * packet.time_base - self._start), 0.0)
                    self.note = (
                        f"its sound could be neither copied nor re-encoded, and is missing from {moment:.1f} s on"
                    )
                    self._next = None
                    return
            self._next = next(self._packets, None)

    def _write(self, packet: Any) -> None:
        if self._copies:
            shift = round(self._start / packet.time_base)
            packet.pts -= shift
            if self._last is not None:
                packet.pts = max(packet.pts, self._last + 1)  # MP4 takes no times that repeat or fall
            packet.dts = self._last = packet.pts
            packet.stream = self._target
            self._out.mux(packet)
            return
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in frames:
            # Containers round times, to milliseconds for one; samples simply follow each other unless there is a gap.
            stamp = round((frame.pts * frame.time_base - self._start) * frame.sample_rate)
            if self._samples is None or stamp - self._samples > _GAP * frame.sample_rate:
                self._samples = stamp
            frame.pts, frame.time_base = self._samples, Fraction(1, frame.sample_rate)
            self._samples += frame.samples
            self._out.mux(self._target.encode(frame))

    def finish(self) -> None:
        if not self._copies and self._samples is not None:
            self._out.mux(self._target.encode(None))


@contextmanager
def open_video(path: str | Path, original: Original | None = None, end: float | None = None) -> Iterator[VideoWriter]:
    """A film to write annotated frames to, as H.264 (yuv420p) in MP4.

        with open_video("annotated.mp4", source) as film:
            film.write(annotate(frame.image, faces), frame.time)

    Frames keep the times they have in `original`, a film file or what opens a film, whose sound is copied packet by
    packet (coded as AAC where MP4 players would not know it, or its timestamps are not to be trusted) up to `end`
    seconds. A film that does not begin with the original's first frame begins at zero. The file appears under its name
    when the block ends well, and not at all without a frame; after an exception what was there before is unchanged.

    Raises OutputError when the place cannot be written. If that happens on the way, on a full disk, then what was
    written stays as `NAME.cut.mp4`, a film that players open, which the error names. Raises InputError when `path` does
    not end in .mp4.
    """
    path = Path(path)
    check_video(path)
    with replacing(path, f"the film {path}", salvage=True) as part:
        stack = ExitStack()
        writer = VideoWriter(path, part, original, end, stack)
        try:
            yield writer
            if writer.failure is None:
                writer.finish()
                if not writer.begun:
                    part.unlink()
        finally:
            with suppress(av.error.FFmpegError, OSError):
                stack.close()
        if writer.failure is not None:
            raise writer.failure


def check_video(path: str | Path) -> None:
    """Raises InputError when a film cannot be written as a file of that kind."""
    if Path(path).suffix.lower() != ".mp4":
        raise InputError(f"{path} should end in .mp4: annotated films are H.264 in MP4")
