"""Films, network streams and cameras as frames with true timestamps, through PyAV (the libraries of FFmpeg)."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from mien.errors import InputError, reason
from mien.media.frames import Frame, Pick
from mien.media.images import MAX_PIXELS

OPEN_SECONDS, READ_SECONDS = 10.0, 10.0
"""How long a network stream may keep us waiting."""

_SEEK_FROM = 2.0
"""Seconds that are decoded rather than jumped over."""
_SHORT = 0.5
"""Seconds that a film may end before it says it does."""

_DECODING_TIMES = {"avi"}
"""Containers that know when a frame is to be decoded, not when it is to be shown; decoded frames are in order."""
_UNTIMED = {"mpjpeg", "mjpeg"}
"""Live formats without timestamps: their frames' time is that of their arrival."""


class Film:
    """An open film, stream or camera; `frames` can be asked for once.

    name         what errors and frames call it
    duration     seconds that the container promises, or None
    time_base    of the timestamps, in seconds
    origin       timestamp of the first frame that is shown, once it was decoded
    damaged      packets that could not be decoded, so far
    live         frames come as time passes: there is no duration, and no seeking
    is_picture   it is a single image file, such as the URL of a photograph

    Raises InputError when it cannot be opened or holds no picture that can be decoded.
    """

    def __init__(
        self, name: str, url: str, *, container: str | None = None, options: dict[str, str] | None = None
    ) -> None:
        self.name, self.damaged = name, 0
        self.origin: int | None = None
        remote = not url.startswith("file:")
        self._reopen = partial(
            av.open, url, format=container, options=options or {}, metadata_errors="replace",
            timeout=(OPEN_SECONDS, READ_SECONDS) if remote else None,
        )  # fmt: skip
        with in_one_sentence(name):
            self._container = self._reopen()
        try:
            self._stream = self._picture()
        except InputError:
            self.close()
            raise
        self.time_base = Fraction(self._stream.time_base)
        self._shown_times = self._container.format.name not in _DECODING_TIMES
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        length = self._container.duration
        self.duration = length / av.time_base if length and length > 0 else None
        self.is_picture = self._container.format.name.endswith("_pipe") or self._container.format.name == "image2"
        self.live = remote and self.duration is None and not self.is_picture

    def _picture(self) -> Any:
        streams = self._container.streams
        shown = [s for s in streams.video if not s.disposition & Disposition.attached_pic]
        if not shown:
            raise InputError(f"{self.name} has {'sound but no picture' if streams.audio else 'no picture in it'}")
        stream = next((s for s in shown if s.disposition & Disposition.default), shown[0])
        codec = stream.codec_context
        if codec is None:
            raise InputError(f"{self.name} is coded in a way that this build of FFmpeg cannot read")
        if codec.width * codec.height > MAX_PIXELS:
            raise InputError(
                f"{self.name} is too large ({codec.width:,} x {codec.height:,} pixels); scale it down first"
            )
        return stream

    def frames(self, pick: Pick | None = None) -> Iterator[Frame]:
        """The frames that are wanted, in the order in which they are shown; then what was wrong is raised.

        Times count from the first frame that is shown, by the container's timestamps and edit lists. Rotation and
        the shape of the pixels are applied. A packet that cannot be decoded costs its frame and is counted.

        Raises InputError, after all frames that could be read, when the film is cut short or damaged, holds no frame,
        or ends before the first wanted one.
        """
        pick = pick or Pick()
        seen, last, began = 0, 0.0, time.monotonic()
        for index, frame in self._located(pick):
            seen += 1
            if self._container.format.name in _UNTIMED and self.live:
                began = began if seen > 1 else time.monotonic()
                last = time.monotonic() - began
            elif self.origin is not None and (stamp := self._stamp(frame)) is not None:
                last = float((stamp - self.origin) * self.time_base)
            elif seen > 1:
                last += float(1 / self.rate)
            if pick.over(last):
                return
            if pick.wants(index, last):
                yield Frame(self._upright(frame), index, last, self.name)
        if not seen:
            raise InputError(f"{self.name} holds no frame that can be decoded")
        if last < pick.start - 1e-6:
            raise InputError(f"{self.name} ends at {last:.2f} s, before the start at {pick.start:g} s")
        if (
            self.duration is not None
            and last + _SHORT < self.duration
            and (end := self._end()) + _SHORT < self.duration
        ):
            raise InputError(
                f"{self.name} is cut short or damaged: it should last {self.duration:.1f} s and ends after {end:.1f} s"
            )

        if self.damaged and not self.live:
            raise InputError(f"{self.name} is damaged: {self.damaged} of its packets could not be decoded")

    def _located(self, pick: Pick) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their numbers, from the last key frame before the start on where one can jump."""
        frames = self._decoded()
        first = next(frames, None)
        if first is None:
            return
        self.origin = self._stamp(first)
        if pick.start > _SEEK_FROM and self.origin is not None and not self.live and self._shown_times:
            stamps, key = self._stamps(self.origin + int(pick.start / self.time_base))
            if key is not None and key > self.origin:
                with in_one_sentence(self.name):
                    self._container.seek(key, stream=self._stream)
                landed = next(self._decoded(), None)
                if landed is not None and landed.pts is not None and landed.pts <= key:
                    yield from enumerate(self._chained(landed), bisect_left(stamps, landed.pts))
                    return
                self._container.close()
                with in_one_sentence(self.name):
                    self._container = self._reopen()
                self._stream = self._picture()
                yield from enumerate(self._decoded())
                return
        yield 0, first
        yield from enumerate(frames, 1)

    def _stamp(self, frame: Any) -> int | None:
        stamp: int | None = frame.pts if self._shown_times else frame.dts
        return stamp

    def _chained(self, first: Any) -> Iterator[Any]:
        yield first
        yield from self._decoded()

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames from where the container stands, in the order in which they are shown."""
        failed = 0
        with in_one_sentence(self.name):
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                    failed = 0
                except (av.error.InvalidDataError, av.error.UndefinedError, av.error.PatchWelcomeError):
                    self.damaged += 1
                    failed += 1
                    if failed > 500:
                        return

    def _stamps(self, until: int) -> tuple[list[int], int | None]:
        """Timestamps of all frames about up to one, in order, and of the last key frame not after it; not decoded."""
        stamps: list[int] = []
        key = None
        with in_one_sentence(self.name), self._reopen() as again:
            for packet in again.demux(again.streams[self._stream.index]):
                if packet.pts is None or packet.is_discard:
                    continue
                stamps.append(packet.pts)
                if packet.is_keyframe and packet.pts <= until:
                    key = packet.pts
                if packet.dts is not None and packet.dts > until:
                    break
        return sorted(stamps), key

    def _end(self) -> float:
        """Seconds after the container's start at which its last packet of any kind ends."""
        end = 0.0
        with in_one_sentence(self.name), self._reopen() as again:
            start = (again.start_time or 0) / av.time_base
            for packet in again.demux():
                if packet.pts is not None and packet.size:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        return end

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        """RGB as it is to be seen: square pixels, turned."""
        ratio = float(self._stream.sample_aspect_ratio or 1)
        width = round(frame.width * ratio) if 0.2 < ratio < 5 else frame.width
        with in_one_sentence(self.name):
            image: NDArray[np.uint8] = frame.reformat(width=width, format="rgb24").to_ndarray()
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def close(self) -> None:
        self._container.close()


@contextmanager
def in_one_sentence(name: str) -> Iterator[None]:
    """What PyAV raises on opening or reading becomes an InputError."""
    try:
        yield
    except (av.error.InvalidDataError, av.error.DemuxerNotFoundError):
        raise InputError(f"{name} is not a readable film, or is damaged: {_hint(name)}") from None
    except av.error.DecoderNotFoundError:
        raise InputError(f"{name} is coded in a way that this build of FFmpeg cannot read") from None
    except (av.error.ExitError, av.error.TimeoutError):
        raise InputError(f"{name} is not responding: no data for {READ_SECONDS:g} seconds") from None
    except av.error.FFmpegError as error:
        raise InputError(f"cannot read {name}: {reason(error)}") from None


def _hint(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        return "no video was found there"
    if path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    if path.suffix.lower() in {".mp4", ".m4v", ".mov"}:
        return "its table of contents is missing, as in a file that was cut short"
    return "it contains no video"
