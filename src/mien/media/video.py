"""Films, network streams and cameras as frames with true timestamps, through PyAV (the libraries of FFmpeg)."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition
from numpy.typing import NDArray

from mien.errors import InputError, reason
from mien.media.clock import Clock
from mien.media.frames import Frame, Pick
from mien.media.images import MAX_PIXELS
from mien.media.lengths import is_cut

OPEN_SECONDS, READ_SECONDS = 10.0, 10.0
"""How long a network stream may keep us waiting."""

_SEEK_FROM = 2.0
"""Seconds that are decoded rather than jumped over."""
_LATEST = 2**62
"""As a time stamp, later than any film ends."""
_SHORT = 0.5
"""Seconds that a film may end before it says it does."""

_DECODING_TIMES = {"avi", "asf", "mxf"}
"""Containers that know when a frame is to be decoded, not when it is to be shown; decoded frames are in order. Without
frames that are coded in another order than they are shown, the last two know both."""
_PLAYLISTS = {"hls", "concat", "dash", "imf", "sdp", "webm_dash_manifest"}
"""Formats that name other files or streams in place of holding a film."""
_ALONE = {"h264", "vp8", "libdav1d"}
"""Decoders that, shared by several threads, hide what is damaged or give up after it."""
_CHOOSY = {"hevc"}
"""Decoders that, after a loss, keep back all frames up to the next key frame unless they are told not to."""
_LENIENT = {"mjpeg"}
"""Decoders that ignore damage unless told to refuse it."""
_FASTEST = 1000
"""Frames a second; more is a container's count of time, not its rate."""
_UNTIMED = {"mpjpeg", "mjpeg"}
"""Live formats without timestamps: their frames' time is that of their arrival."""


class Film:
    """An open film, stream or camera; `frames` can be asked for once.

    name         what errors and frames call it
    duration     seconds that the container promises, or None
    time_base    of the timestamps, in seconds
    origin       timestamp of the first frame that is shown, once it was decoded
    damaged      packets that could not be read whole, so far
    incomplete   frames of which the decoder had to guess a part, so far
    live         frames come as time passes: there is no duration, and no seeking
    is_picture   it is a single image file, such as the URL of a photograph

    A file that only names others (a playlist, a script that joins films) is read with `follow_playlists` alone; what
    lies at the URL of a network is followed always.

    Raises InputError when it cannot be opened, is such a file, or holds no picture that can be decoded.
    """

    def __init__(
        self, name: str, url: str, *, container: str | None = None, options: dict[str, str] | None = None,
        follow_playlists: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.damaged, self.incomplete = name, 0, 0
        self.origin: int | None = None
        self._lenient: Any = None
        """The film opened again, for what is left of pictures that a strict decoder refuses."""
        remote = not url.startswith("file:")
        self._path = None if remote else Path(url.removeprefix("file:"))
        self.reopen: Callable[[], Any] = partial(
            av.open, url, format=container, options=options or {}, metadata_errors="replace",
            timeout=(OPEN_SECONDS, READ_SECONDS) if remote else None,
        )  # fmt: skip
        """Opens the same again and gives PyAV's container."""
        with in_one_sentence(name):
            self._container = self.reopen()
        self._format: str = self._container.format.name
        self.duration = self._duration()
        self.is_picture = self._format.endswith("_pipe") or self._format == "image2"
        whole = self.duration is not None or (self._format not in _PLAYLISTS and self._container.size > 0)
        self.live = remote and not whole and not self.is_picture
        try:
            if self._format in _PLAYLISTS and not (remote or follow_playlists):
                raise InputError(
                    f"{name} holds no film but the names of others, which are read only if you ask for it: "
                    "follow_playlists=True, or --follow-playlists"
                )
            self._stream = self._picture()
        except InputError:
            self.close()
            raise
        self.time_base = Fraction(self._stream.time_base)
        reorders = self._format == "avi" or self._stream.codec_context.has_b_frames
        self._shown_times = not (self._format in _DECODING_TIMES and reorders)
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        self.rate = Fraction(next((rate for rate in rates if rate and rate <= _FASTEST), 25))

    def _duration(self) -> float | None:
        length, start = self._container.duration or 0, self._container.start_time or 0
        if self._format.startswith(("matroska", "nut")) and 0 < start < length:
            length -= start  # some writers count from 0 and others from the first frame: never promise too much
        return length / av.time_base if length > 0 else None

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
        codec.flags |= Flags.unaligned  # or a part that is cut off on the left would be seen
        if codec.name in _ALONE and not self.live:
            codec.thread_count = 1
        if codec.name in _CHOOSY and not self.live:
            codec.flags |= Flags.output_corrupt
        if codec.name in _LENIENT and not self.live:
            codec.options = {"err_detect": "explode"}
        return stream

    def frames(self, pick: Pick | None = None) -> Iterator[Frame]:
        """The frames that are wanted, in the order in which they are shown; then what was wrong is raised.

        Times count from the first frame that is shown, by the container's timestamps and edit lists, and never fall.
        Rotation, mirroring and the shape of the pixels are applied. A packet that cannot be decoded, or not to its end,
        is counted; the former costs its frame.

        Raises InputError, after all frames that could be read, when the film is cut short or damaged, holds no frame,
        or none of those that are wanted.
        """
        pick = pick or Pick()
        seen, given, last, began = 0, 0, 0.0, time.monotonic()
        clock: Clock | None = None
        for seen, (index, frame) in enumerate(self._located(pick), 1):
            if self._format in _UNTIMED and self.live:
                began = began if seen > 1 else time.monotonic()
                last = time.monotonic() - began
            else:
                clock = clock or Clock(self.origin, self.time_base, self.rate)
                last = clock.time(self._stamp(frame))
            if pick.over(last):
                break
            if pick.wants(index, last):
                given += 1
                self.incomplete += frame.is_corrupt
                yield Frame(self._upright(frame), index, last, self.name)
        else:
            self._check_whole(seen, last, pick)
        if not given:
            raise InputError(f"{self.name} has no frame {pick}")

    def _check_whole(self, seen: int, last: float, pick: Pick) -> None:
        """Whether all is well at the end, after so many frames and seconds."""
        if not seen:
            raise InputError(f"{self.name} holds no frame that can be decoded")
        if last < pick.start - 1e-6:
            raise InputError(f"{self.name} ends at {last:.2f} s, before the start at {pick.start:g} s")
        if self.live:
            return
        if (
            self.duration is not None
            and last + _SHORT < self.duration
            and (end := self._end()) + _SHORT < self.duration
        ):
            raise InputError(
                f"{self.name} is cut short or damaged: it should last {self.duration:.1f} s and ends after {end:.1f} s"
            )
        if self._path is not None and is_cut(self._path, self._format):
            raise InputError(f"{self.name} is cut short: it ends after {last:.1f} s, and before its file should end")
        what = []
        if self.damaged:
            what.append(f"{self.damaged} of its packets could not be read whole")
        if self.incomplete:
            what.append(f"{self.incomplete} of its frames {'is' if self.incomplete == 1 else 'are'} incomplete")
        if what:
            raise InputError(f"{self.name} is damaged: {', '.join(what)}")

    def _located(self, pick: Pick) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their numbers, from the last key frame before the start on where one can jump."""
        frames = self._decoded()
        first = next(frames, None)
        if first is None:
            return
        self.origin = self._stamp(first)
        if pick.start > _SEEK_FROM and self.origin is not None and not self.live and self._shown_times:
            stamps, key = self._stamps(self.origin + int(min(pick.start / self.time_base, _LATEST)))
            if key is not None and key > self.origin:
                with in_one_sentence(self.name):
                    self._container.seek(key, stream=self._stream)
                landed = next(self._decoded(), None)
                if landed is not None and landed.pts is not None and landed.pts <= key:
                    yield from enumerate(self._chained(landed), bisect_left(stamps, landed.pts))
                    return
                self._container.close()
                with in_one_sentence(self.name):
                    self._container = self.reopen()
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
                    frames = packet.decode()
                except av.error.DecoderNotFoundError:
                    raise
                except av.error.FFmpegError:  # of many kinds, by the decoder
                    self.damaged += 1
                    frames = self._left_of(packet)
                    failed = 0 if frames else failed + 1
                    if failed > 500:
                        return
                else:
                    failed = 0
                yield from frames

    def _left_of(self, packet: Any) -> list[Any]:
        """What can be decoded of a refused packet, where each packet is a whole picture."""
        if self._stream.codec_context.name not in _LENIENT or self.live:
            return []
        self._lenient = self._lenient or self.reopen()
        try:
            frames: list[Any] = self._lenient.streams[self._stream.index].codec_context.decode(packet)
        except av.error.FFmpegError:
            return []
        return frames

    def _stamps(self, until: int) -> tuple[list[int], int | None]:
        """Timestamps of all frames about up to one, in order, and of the last key frame not after it; not decoded."""
        stamps: list[int] = []
        key = last = None
        with in_one_sentence(self.name), self.reopen() as again:
            for packet in again.demux(again.streams[self._stream.index]):
                if packet.pts is None or packet.is_discard:
                    continue
                if packet.dts is not None:
                    if last is not None and packet.dts < last:  # films that were joined: times lead nowhere
                        return [], None
                    last = packet.dts
                stamps.append(packet.pts)
                if packet.is_keyframe and packet.pts <= until:
                    key = packet.pts
                if packet.dts is not None and packet.dts > until:
                    break
        return sorted(stamps), key

    def _end(self) -> float:
        """Seconds after the container's start at which its last packet of any kind ends."""
        end = 0.0
        with in_one_sentence(self.name), self.reopen() as again:
            start = (again.start_time or 0) / av.time_base
            for packet in again.demux():
                if packet.pts is not None and packet.size:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        return end

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        """RGB as it is to be seen: square pixels, turned and mirrored."""
        ratio = float(self._stream.sample_aspect_ratio or 1)
        width = round(frame.width * ratio) if 0.2 < ratio < 5 else frame.width
        with in_one_sentence(self.name):
            image: NDArray[np.uint8] = frame.reformat(width=width, format="rgb24").to_ndarray()
        right, down = _axes(frame)
        if abs(right[0]) + abs(down[1]) < abs(right[1]) + abs(down[0]):
            image, right, down = image.transpose(1, 0, 2), down, right
        return np.ascontiguousarray(image[:: -1 if down[1] < 0 else 1, :: -1 if right[0] < 0 else 1])

    def close(self) -> None:
        self._container.close()
        if self._lenient is not None:
            self._lenient.close()


def _axes(frame: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where, in x and y of the screen, the stored picture's x and y axes point, by its display matrix."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know all that may lie beside it, but the angle it always knows
        turns = (((1, 0), (0, 1)), ((0, -1), (1, 0)), ((-1, 0), (0, -1)), ((0, 1), (-1, 0)))
        return turns[round(frame.rotation / 90) % 4]
    if matrix is None:
        return (1, 0), (0, 1)
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    return (a, b), (c, d)


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
    if path.suffix.lower() in {".mp4", ".m4v", ".mov"}:
        return "its table of contents is missing, as in a file that was cut short"
    return "it contains no video"
