"""Opens any source, and reads its frames."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from PIL import Image

from mien.checks import number
from mien.errors import InputError, InputErrors
from mien.media.cameras import capture, find_camera
from mien.media.frames import Frame, Frames, Pick
from mien.media.images import MAX_PIXELS, Color, ImageLike, check_color, is_empty, load_image, read_image, unreachable
from mien.media.sources import PIPE, Source, find_sources
from mien.media.video import Film

FrameSource = str | Path | int | Source | Iterable[str | Path | Source | ImageLike]
"""What `open_frames` opens."""
_RETRIES = 8
"""How often a stream that drops is asked again, after 1, 2, 4 ... and at most 30 seconds."""


@dataclass(frozen=True)
class RawVideo:
    """How to read raw frames on standard input: rgb24, `width * height * 3` bytes each, `fps` of them a second. Raises
    InputError when they are too large, or `fps` is not above 0."""

    width: int
    height: int
    fps: float

    def __post_init__(self) -> None:
        number("fps", self.fps, above=0)
        if not 0 < self.width * self.height <= MAX_PIXELS:
            raise InputError(f"raw frames should have 1 to {MAX_PIXELS:,} pixels, not {self.width}x{self.height}")


def named(source: FrameSource) -> tuple[list[Any] | None, Iterable[Any]]:
    """The names that a source consists of, or None and its pictures. Raises InputError on what is neither."""
    if isinstance(source, str | Path | int | Source) and not isinstance(source, bool):
        return [source], ()
    single = isinstance(source, bytes | bytearray | memoryview | Image.Image) or hasattr(source, "read")
    if single or (isinstance(source, np.ndarray) and source.ndim < 4):
        raise InputError("a single picture is not a sequence: read it with analyze, or give a list of pictures")
    try:
        given = iter(source)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"a source should be a film, a folder, a camera, a URL or a list of pictures, not {type(source).__name__}"
        ) from None
    first = next(given, None)
    if first is None:
        raise InputError("no source was given: name a film, a folder, a camera or a URL, or give pictures")
    if not isinstance(first, str | Path | int | Source):
        return None, chain([first], given)
    names = [first, *given]
    if odd := [item for item in names if not isinstance(item, str | Path | int | Source)]:
        raise InputError(
            f"files and pictures in memory cannot be mixed: {type(odd[0]).__name__} is not the name of a file"
        )
    return names, ()


def open_frames(
    source: FrameSource,
    *,
    every: int = 1,
    max_fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    raw: RawVideo | None = None,
    newest: bool = False,
    fps: float = 25.0,
    color: Color = "rgb",
    follow_playlists: bool = False,
) -> Frames:
    """The frames of any source, read ahead in a thread of its own.

    `source` is a picture, a film, a folder, a pattern, several of them, the number or device of a camera, a URL, or
    `-` for raw frames on standard input, which `raw` describes; or arrays (any iterable of what `load_image` takes),
    which are one sequence of `fps` frames a second with channels in the order `color`. Of moving pictures every
    `every`-th frame is taken, no more than `max_fps` in a second, from `start` to before `end` in seconds. `newest`
    is for sources that are live: whoever is slower gets the newest frame, and `dropped` counts those left out. Files
    that only name other files (playlists such as .m3u8, FFmpeg's concat scripts, whatever they are called) are refused
    unless `follow_playlists` says that those are to be read.

    Raises InputError when nothing can be opened, or a choice makes no sense. What goes wrong later is raised after all
    that could be read.
    """
    Pick(every, max_fps, start, end)  # raises on what makes no sense
    names, given = named(source)
    if names is None:
        check_color(color)
        number("fps", fps, above=0)
        return Frames(partial(_array_frames, given, fps, color, Pick(every, max_fps, start, end)))
    sources = [item for item in names if isinstance(item, Source)]
    found, problems = find_sources(
        [str(item) if isinstance(item, int) else item for item in names if not isinstance(item, Source)]
    )
    sources += found
    if not sources:
        raise InputErrors.of(problems)
    if len(sources) == 1 and not problems:
        one = sources[0]
        opened = _open(one, Pick(every, max_fps, start, end), raw, follow_playlists)
        file = one.path if one.kind == "film" else None
        return Frames(opened.read, opened.duration, opened.live, newest and opened.live, one.name, file, opened.reopen)

    def read(stop: Event) -> Iterator[Frame]:
        for one in sources:
            try:
                yield from _open(one, Pick(every, max_fps, start, end), raw, follow_playlists).read(stop)
            except InputError as problem:
                problems.append(problem)
        if problems:
            raise InputErrors.of(problems)

    return Frames(read)


@dataclass(frozen=True)
class _Opened:
    read: Callable[[Event], Iterator[Frame]]
    duration: float | None = None
    live: bool = False
    reopen: Callable[[], Film] | None = None


def _open(source: Source, pick: Pick, raw: RawVideo | None, follow_playlists: bool) -> _Opened:
    if source.kind == "picture":
        return _Opened(lambda _: iter([Frame(read_image(source.name), source=source.name, still=True)]))
    if source.kind == "pipe":
        return _Opened(partial(_raw_frames, raw, pick))
    if source.kind == "camera" and sys.platform == "win32":
        return _Opened(partial(_stoppable, capture(int(source.name), source.name), pick), live=True)
    film = open_film(source, follow_playlists)
    if source.kind == "stream" and film.is_picture:
        film.close()
        return _open(replace(source, kind="picture"), pick, raw, follow_playlists)
    if source.kind == "stream" and film.live:
        return _Opened(partial(_reconnecting, source, film, pick), live=True)
    again = None if film.live else partial(open_film, source, follow_playlists)
    return _Opened(partial(_film_frames, film, pick), film.duration, film.live, again)


def open_film(source: Source, follow_playlists: bool = False) -> Film:
    """A film file, stream or camera, opened; raises InputError when that fails."""
    if source.kind == "camera":
        device, container = find_camera(source.name)
        return Film(source.name, device, container=container)
    if source.kind == "stream":
        options = {"rtsp_transport": "tcp"} if source.name.lower().startswith("rtsp") else None
        return Film(source.name, source.name, options=options)
    try:
        if not source.path.is_file():
            source.path.stat()  # raises where nothing is there
            raise InputError(f"{source.path} is no regular file; name an image, a film, a camera or a URL")
        with source.path.open("rb"):
            pass
        if is_empty(source.path):
            raise InputError(f"{source.path} is empty (0 bytes)")
    except OSError as error:
        raise unreachable(source.path, error) from None
    return Film(source.name, f"file:{source.path}", follow_playlists=follow_playlists)


def _film_frames(film: Film, pick: Pick, stop: Event) -> Iterator[Frame]:
    try:
        for frame in film.frames(pick):
            if stop.is_set():
                return
            yield frame
    finally:
        film.close()


def _stoppable(frames: Iterator[Frame], pick: Pick, stop: Event) -> Iterator[Frame]:
    """Those of an unending source that are wanted."""
    for frame in frames:
        if stop.is_set() or pick.over(frame.time):
            return
        if pick.wants(frame.index, frame.time):
            yield frame


def _array_frames(images: Iterable[Any], fps: float, color: Color, pick: Pick, stop: Event) -> Iterator[Frame]:
    for index, image in enumerate(images):
        now = index / fps
        if stop.is_set() or pick.over(now):
            return
        if pick.wants(index, now):
            pixels, name = load_image(image, color)
            yield Frame(pixels, index, now, "" if name else name)


def _reconnecting(source: Source, film: Film, pick: Pick, stop: Event) -> Iterator[Frame]:
    """The frames of a live stream, over its interruptions; numbers and times go on as time passes."""
    began, count, offset, failures, last = time.monotonic(), 0, 0.0, 0, 0.0
    while True:
        problem = InputError(f"{source.name} has ended")
        try:
            for frame in _film_frames(film, Pick(), stop):
                if not failures and not count:
                    began = time.monotonic()
                elif failures:
                    now = max(time.monotonic() - began, last + float(1 / film.rate))
                    offset, failures = now - frame.time, 0
                moved = replace(frame, index=count, time=frame.time + offset)
                last = moved.time
                count += 1
                if pick.over(moved.time):
                    return
                if pick.wants(moved.index, moved.time):
                    yield moved
        except InputError as error:
            problem = error
        while True:
            failures += 1
            if failures > _RETRIES:
                raise problem
            if stop.wait(min(2.0 ** (failures - 1), 30.0)):
                return
            try:
                film = open_film(source)
                break
            except InputError as error:
                problem = error


def _raw_frames(raw: RawVideo | None, pick: Pick, stop: Event) -> Iterator[Frame]:
    if raw is None:
        raise InputError("raw frames need their size and rate: raw=RawVideo(640, 480, 25), or --size 640x480 --fps 25")
    length = raw.width * raw.height * 3
    index = 0
    # Not the buffer above it: that one's lock, held by a thread that waits here, would break the interpreter's exit.
    pipe = io.FileIO(sys.stdin.fileno(), closefd=False)
    while content := _exactly(pipe, length):
        if len(content) < length:
            raise InputError(
                f"standard input ends within frame {index}: a frame of {raw.width}x{raw.height} rgb24 has {length:,} "
                f"bytes, the last has {len(content):,}"
            )
        now = index / raw.fps
        if stop.is_set() or pick.over(now):
            return
        if pick.wants(index, now):
            yield Frame(np.frombuffer(content, np.uint8).reshape(raw.height, raw.width, 3), index, now, PIPE)
        index += 1
    if not index:
        raise InputError("standard input is empty: no frame came")


def _exactly(pipe: io.FileIO, length: int) -> bytes:
    """So many bytes, or fewer at the end."""
    content = bytearray()
    while len(content) < length and (part := pipe.read(length - len(content))):
        content += part
    return bytes(content)
