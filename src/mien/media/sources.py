"""What a source is: pictures, films, cameras, streams and pipes by their names, and one iterator over their frames."""

from __future__ import annotations

import glob
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Literal

import numpy as np

from mien.errors import InputError, reason
from mien.media.frames import Frame, Frames, Pick
from mien.media.images import SUFFIXES, is_image, read_image, unreachable
from mien.media.video import Film

#: Endings by which films are found in folders; a file that is named itself may be called anything.
FILM_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv",
     ".3gp", ".ogv", ".mxf", ".vob", ".y4m", ".h264", ".hevc", ".mjpeg")
)  # fmt: skip

Kind = Literal["picture", "film", "camera", "stream", "pipe"]

PIPE = "-"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CAMERA = re.compile(r"/dev/video\d+")
_RETRIES = 8
"""How often a stream that drops is asked again, after 1, 2, 4 ... and at most 30 seconds."""


@dataclass(frozen=True)
class Source:
    """Something to look at.

    name   path, URL, number or device of a camera, or `-` for raw frames on standard input
    root   for a file the folder from which it was found: the one named, or the one it lies in
    """

    name: str
    kind: Kind
    root: Path = Path()

    @property
    def path(self) -> Path:
        """Of a file."""
        return Path(self.name)


def find_images(paths: Sequence[str | Path]) -> tuple[list[Source], list[InputError]]:
    """Image files, in the order of `paths`, and one error for each path that yields none.

    A path is an image, a folder (searched through all its folders in the order of names, hidden ones and
    links to folders left out) or a pattern with `*`, `?`, `[...]` or `**`. A file found twice is listed once.
    """
    return _find([Path(path) for path in paths], _Search("image", SUFFIXES))


def find_sources(names: Sequence[str | Path]) -> tuple[list[Source], list[InputError]]:
    """As `find_images`, for films too, and for names that are no files: URLs, `-`, and cameras (`/dev/video0`, or
    `0` where no file is called so)."""
    return _find(names, _Search("image or film", SUFFIXES | FILM_SUFFIXES))


@dataclass(frozen=True)
class _Search:
    """What is looked for in folders."""

    what: str
    suffixes: frozenset[str]

    @property
    def known(self) -> str:
        return "known endings are " + ", ".join(sorted(self.suffixes))


def _find(names: Sequence[str | Path], search: _Search) -> tuple[list[Source], list[InputError]]:
    found: dict[str | Path, Source] = {}
    problems: list[InputError] = []
    for name in names:
        kind = _kind_of_name(name) if isinstance(name, str) else None
        if kind is not None:
            found.setdefault(str(name), Source(str(name), kind))
            continue
        path = Path(name)
        try:
            for item, root in _expand(path, search, problems):
                found.setdefault(item.absolute(), Source(str(item), _kind_of_file(item), root))
        except InputError as problem:
            problems.append(problem)
        except OSError as error:
            problems.append(unreachable(path, error))
    return list(found.values()), problems


def _kind_of_name(name: str) -> Kind | None:
    """What a name stands for that is none of a file."""
    if name == PIPE:
        return "pipe"
    if _URL.match(name):
        return "stream"
    if _CAMERA.fullmatch(name) or (name.isdecimal() and not os.path.lexists(name)):
        return "camera"
    return None


def _kind_of_file(path: Path) -> Kind:
    ending = path.suffix.lower()
    if ending in FILM_SUFFIXES or (ending not in SUFFIXES and path.is_file() and not is_image(path)):
        return "film"
    return "picture"


def _expand(path: Path, search: _Search, problems: list[InputError]) -> Iterator[tuple[Path, Path]]:
    """The files that one argument stands for and their root; folders that cannot be entered go to `problems`."""
    if path.is_dir():
        files = list(_walk(path, search, problems))
        if not files:
            raise InputError(f"{path} is a folder without {search.what.replace(' or ', 's or ')}s ({search.known})")
        yield from ((file, path) for file in files)
    elif os.path.lexists(path):
        yield path, path.parent
    elif glob.has_magic(str(path)):
        files = list(_matches(path, search, problems))
        if not files:
            raise InputError(f"no {search.what} matches {path} ({search.known})")
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        yield from ((file, root) for file in files)
    else:
        raise InputError(f"{path} does not exist; name an {search.what}, a folder or a pattern like 'photos/*.jpg'")


def _matches(pattern: Path, search: _Search, problems: list[InputError]) -> Iterator[Path]:
    # Path.glob takes hidden files along, glob.glob leaves them out as a shell does.
    for match in map(Path, sorted(glob.glob(str(pattern), recursive=True))):  # noqa: PTH207
        if match.is_dir():
            yield from _walk(match, search, problems)
        elif match.suffix.lower() in search.suffixes:
            yield match


def _walk(folder: Path, search: _Search, problems: list[InputError]) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        problems.append(InputError(f"cannot read the folder {error.filename}: {reason(error)}"))

    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in search.suffixes:
                yield Path(parent, name)


@dataclass(frozen=True)
class RawVideo:
    """How to read raw frames on standard input: rgb24, `width * height * 3` bytes each, `fps` of them a second."""

    width: int
    height: int
    fps: float


def open_frames(
    source: str | Path | int | Source | Sequence[str | Path | Source],
    *,
    every: int = 1,
    max_fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    raw: RawVideo | None = None,
    newest: bool = False,
) -> Frames:
    """The frames of any source, read ahead in a thread of its own.

    `source` is a picture, a film, a folder, a pattern, several of them, the number or device of a camera, a URL, or
    `-` for raw frames on standard input, which `raw` describes. Of moving pictures every `every`-th frame is taken,
    no more than `max_fps` in a second, from `start` to before `end` in seconds. `newest` is for live use: whoever is
    slower than the source gets its newest frame, and `dropped` counts those left out.

    Raises InputError when nothing can be opened. What goes wrong later is raised after all that could be read.
    """
    items = [source] if isinstance(source, str | Path | int | Source) else list(source)
    sources = [item for item in items if isinstance(item, Source)]
    found, problems = find_sources(
        [str(item) if isinstance(item, int) else item for item in items if not isinstance(item, Source)]
    )
    sources += found
    if not sources:
        raise _together(problems)
    if len(sources) == 1 and not problems:
        opened = _open(sources[0], Pick(every, max_fps, start, end), raw)
        return Frames(opened.read, opened.duration, opened.live, newest)

    def read(stop: Event) -> Iterator[Frame]:
        for one in sources:
            try:
                yield from _open(one, Pick(every, max_fps, start, end), raw).read(stop)
            except InputError as problem:
                problems.append(problem)
        if problems:
            raise _together(problems)

    return Frames(read, newest=newest)


def _together(problems: Sequence[InputError]) -> InputError:
    if len(problems) == 1:
        return problems[0]
    return InputError(f"{len(problems)} sources could not be read: " + "; ".join(map(str, problems)))


@dataclass(frozen=True)
class _Opened:
    read: Callable[[Event], Iterator[Frame]]
    duration: float | None = None
    live: bool = False


def _open(source: Source, pick: Pick, raw: RawVideo | None) -> _Opened:
    if source.kind == "picture":
        return _Opened(lambda _: iter([Frame(read_image(source.path), source=source.name, still=True)]))
    if source.kind == "pipe":
        return _Opened(partial(_raw_frames, raw, pick))
    film = open_film(source)
    if source.kind == "stream" and film.live:
        return _Opened(partial(_reconnecting, source, film, pick), live=True)
    return _Opened(partial(_film_frames, film, pick), film.duration, film.live)


def open_film(source: Source) -> Film:
    """A film file, stream or camera, opened; raises InputError when that fails."""
    if source.kind == "camera":
        device, container = _camera(source.name)
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
    except OSError as error:
        raise unreachable(source.path, error) from None
    return Film(source.name, f"file:{source.path}")


def _camera(name: str) -> tuple[str, str]:
    """Device and its kind, as FFmpeg calls them on this system."""
    if sys.platform == "darwin":
        return name, "avfoundation"
    if not sys.platform.startswith("linux"):
        raise InputError(f"cameras are opened on Linux and macOS only; give the URL of a stream instead of {name}")
    device = Path(f"/dev/video{name}" if name.isdecimal() else name)
    if not device.exists():
        there = ", ".join(str(p) for p in sorted(Path("/dev").glob("video*"))) or "none"
        raise InputError(f"no camera {name}: {device} does not exist; there are: {there}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise InputError(
            f"no permission to open camera {name} ({device}); join the group that owns it, mostly by: "
            "sudo usermod -aG video $USER"
        )
    return str(device), "v4l2"


def _film_frames(film: Film, pick: Pick, stop: Event) -> Iterator[Frame]:
    try:
        for frame in film.frames(pick):
            if stop.is_set():
                return
            yield frame
    finally:
        film.close()


def _reconnecting(source: Source, film: Film, pick: Pick, stop: Event) -> Iterator[Frame]:
    """The frames of a live stream, over its interruptions; numbers and times go on as time passes."""
    began, count, offset, failures = time.monotonic(), 0, 0.0, 0
    while True:
        problem = InputError(f"{source.name} has ended")
        try:
            for frame in _film_frames(film, Pick(), stop):
                if not failures and not count:
                    began = time.monotonic()
                elif failures:
                    offset, failures = time.monotonic() - began - frame.time, 0
                moved = replace(frame, index=count, time=frame.time + offset)
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
        raise InputError("raw frames on standard input need their size and rate, as in --size 640x480 --fps 25")
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
