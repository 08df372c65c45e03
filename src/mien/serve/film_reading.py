"""A film that nobody vouches for: whether it is one, and all that is read from it; see `mien.serve.film_worker`."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import av
import av.error

from mien.errors import InputError
from mien.media.frames import Frame, Frames, Pick
from mien.media.video import Film, in_one_sentence

_URL = "file:film"
_OPTIONS = {
    # Containers alone: playlists (HLS, DASH, concat) would have FFmpeg open other files, or ask the network.
    "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf",
    "protocol_whitelist": "file",
}
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


def _open(name: str) -> Any:
    try:
        return av.open(_URL, options=_OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError:  # said of what is not on the list
        raise InputError(
            f"{name} is no film of a kind that is taken here (MP4, MOV, MKV, WebM, AVI, MPEG, OGG)"
        ) from None


def probe(order: Order) -> dict[str, Any]:
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


def read(order: Order, say: Callable[[dict[str, Any]], object]) -> None:
    """Read the film and write all its results; says how far it is, and at last how it ended."""
    from mien.analyzer import load
    from mien.recording.watch import Progress, watch

    if hasattr(os, "nice"):
        os.nice(5)  # who watches live comes first
    results = Path("results")
    results.mkdir()
    tables = ["csv", "jsonl", *(["parquet"] if importlib.util.find_spec("polars") else [])]
    analyzer = load(order.model, order.detector, order.detector_weights, threads=1)
    film = Film(order.name, _URL, options=_OPTIONS)
    pick = Pick(order.every, order.max_fps)
    frames = Frames(lambda stop: _frames(film, pick, order, stop), film.duration, name=order.name)
    said = last = 0.0

    def progress(done: Progress) -> None:
        nonlocal said, last
        last = done.seconds
        if time.monotonic() - said > _SAY:
            said = time.monotonic()
            say({"seconds": done.seconds, "frames": done.frames})

    try:
        recording = watch(
            frames, analyzer=analyzer, workers=1, keep=False, progress=progress,
            table=[results / f"table.{kind}" for kind in tables],
            frames=results / "frames.csv",
            episodes=[results / f"episodes.{kind}" for kind in ("csv", "json", "vtt", "tsv")],
            timeline=[results / f"timeline.{kind}" for kind in ("png", "html")],
        )  # fmt: skip
    except InputError as error:
        say({"state": "failed", "detail": str(error)})
        return
    detail = "; ".join(str(problem) for problem in recording.problems)
    if recording.records:
        say({"seconds": last, "frames": recording.coverage.frames, "state": "done", "detail": detail})
    else:
        say({"state": "failed", "detail": detail or f"{order.name} holds no frame that can be read"})


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
