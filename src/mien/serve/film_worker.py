"""The process in which a film that nobody vouches for is opened and read: `python -m mien.serve.film_worker`.

It bounds its own memory, processor time and output first, reads `film` in the current folder, writes into `results`,
and says on standard output, as JSON lines, how far it is. It ends when its standard input does, so that it never
outlives the server.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import av
import av.error

from mien.errors import InputError
from mien.media.frames import Frame, Frames, Pick
from mien.media.video import Film, in_one_sentence
from mien.tracking.episodes import Episode, EpisodeFinder

_URL = "file:film"
_OPTIONS = {
    # Containers alone: playlists (HLS, DASH, concat) would have FFmpeg open other files, or ask the network.
    "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf",
    "protocol_whitelist": "file",
}
_OUTPUT = 1 << 30
_SAY = 0.2
"""Seconds between two words on how far it is."""


@dataclass(frozen=True)
class Order:
    """What is to be read, how, and within which limits; see `mien.serve.settings`. `name` is only for people."""

    name: str
    every: int
    max_fps: float | None
    model: str | None
    detector: str
    detector_weights: str | None
    max_pixels: int
    max_seconds: float
    memory: int
    cpu_seconds: int


def limit(order: Order) -> None:
    """Bound this process, where the system can: memory, processor time, size of files, and no core dump.

    Where memory runs out nevertheless, Linux is asked to end this process, not the server.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    try:
        import resource
    except ImportError:  # Windows: there the server's own clock is all
        return
    for what, most in (
        (resource.RLIMIT_AS, order.memory),
        (resource.RLIMIT_CPU, order.cpu_seconds),
        (resource.RLIMIT_FSIZE, _OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _open(name: str) -> Any:
    try:
        return av.open(_URL, options=_OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError:  # said of what is not on the list
        raise InputError(
            f"{name} is no film of a kind that is taken here (MP4, MOV, MKV, WebM, AVI, MPEG, OGG)"
        ) from None


def look(order: Order) -> dict[str, Any]:
    """Whether there is a film at all, within the limits: its duration, or a status and a sentence."""
    name = order.name
    try:
        with in_one_sentence(name), _open(name) as container:
            seconds = container.duration / av.time_base if container.duration else None
            contexts = [stream.codec_context for stream in container.streams.video]
            sizes = [(context.width, context.height) for context in contexts if context is not None]
    except InputError as error:
        return {"refused": 415, "detail": str(error)}
    if seconds is not None and seconds > order.max_seconds:
        return {"refused": 413, "detail": f"{name} lasts {seconds:,.0f} s; up to {order.max_seconds:,.0f} s are read"}
    for width, height in sizes:
        if width * height > order.max_pixels:
            return {
                "refused": 413,
                "detail": f"{name} has {width:,} x {height:,} pixels; up to {order.max_pixels:,} are read",
            }
    try:
        film = Film(name, _URL, options=_OPTIONS)
        try:
            next(film.frames())
        finally:
            film.close()
    except InputError as error:
        return {"refused": 422, "detail": str(error)}
    return {"duration": film.duration}


def read(order: Order) -> Iterator[dict[str, Any]]:
    """Read the film and write all its results; says how far it is, and at last how it ended."""
    from mien.analyzer import load
    from mien.output.episodes import save_episodes
    from mien.output.tables import open_table
    from mien.output.timeline.bins import Timeline
    from mien.output.timeline.render import save_timeline
    from mien.stream import Stream

    if hasattr(os, "nice"):
        os.nice(5)  # who watches live comes first
    results = Path("results")
    results.mkdir()
    kinds = ["csv", "jsonl", *(["parquet"] if importlib.util.find_spec("polars") else [])]
    analyzer = load(order.model, order.detector, order.detector_weights, threads=1)
    film = Film(order.name, _URL, options=_OPTIONS)
    timeline, finder = Timeline(), EpisodeFinder()
    episodes: list[Episode] = []
    problem = ""
    count, seconds, said = 0, 0.0, 0.0
    with ExitStack() as stack:
        frames = Frames(lambda stop: _frames(film, Pick(order.every, order.max_fps), order, stop), film.duration)
        stream = stack.enter_context(Stream(analyzer, frames))
        tables = [stack.enter_context(open_table(results / f"table.{kind}", labels=analyzer.labels)) for kind in kinds]
        try:
            for faces in stream:
                count, seconds = count + 1, faces.time
                timeline.add(faces)
                episodes += finder.update(faces)
                for table in tables:
                    table.write(faces)
                if time.monotonic() - said > _SAY:
                    said = time.monotonic()
                    yield {"seconds": seconds, "frames": count}
        except InputError as error:  # a film that is cut short is still worth what was read
            problem = str(error)
    if not count:
        yield {"state": "failed", "detail": problem or f"{order.name} holds no frame that can be read"}
        return
    episodes += finder.close()
    for ending in ("csv", "json", "vtt", "tsv"):
        save_episodes(results / f"episodes.{ending}", order.name, episodes)
    for ending in ("png", "html"):
        save_timeline(results / f"timeline.{ending}", timeline, episodes)
    yield {"seconds": seconds, "frames": count, "state": "done", "detail": problem}


def _frames(film: Film, pick: Pick, order: Order, stop: Event) -> Iterator[Frame]:
    """The film's frames; what it says of its own length and size is not believed."""
    try:
        for frame in film.frames(pick):
            if stop.is_set():
                return
            height, width = frame.image.shape[:2]
            if width * height > order.max_pixels:
                raise InputError(f"{order.name} has frames of {width:,} x {height:,} pixels, which is too large")
            if frame.time > order.max_seconds:
                raise InputError(f"{order.name} is longer than {order.max_seconds:,.0f} s; the rest was not read")
            yield frame
    finally:
        film.close()


def _watch_server() -> None:
    """End with the server, which holds the other end of standard input."""
    while os.read(0, 1):  # not through sys.stdin, whose lock would be in the way of the interpreter's exit
        pass
    os._exit(1)


def main() -> None:
    task, order = sys.argv[1], Order(**json.loads(sys.argv[2]))
    limit(order)
    Thread(target=_watch_server, daemon=True).start()
    for message in [look(order)] if task == "look" else read(order):
        print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
