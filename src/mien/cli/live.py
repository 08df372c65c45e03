"""`mien live`: a camera, stream or film in a window, with what its faces show."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import complain, err, out
from mien.cli.formatting import counted
from mien.cli.options import DetectorName, DetectorWeights, FollowPlaylists, MinConfidence, ModelName
from mien.errors import InputError, MissingExtraError
from mien.files import printable
from mien.interrupt import stopping

if TYPE_CHECKING:
    from mien.live.session import Live, View
    from mien.media.sources import Source


def live(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A camera (0, /dev/video0), the URL of a stream, or a film.")
    ] = "0",
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where recordings and snapshots go, named by date and time.")
    ] = Path("live"),
    no_smoothing: Annotated[
        bool, typer.Option("--no-smoothing", help="Show what each frame says alone, not smoothed over time.")
    ] = False,
    min_confidence: MinConfidence = 0.0,
    follow_playlists: FollowPlaylists = False,
    model: ModelName = None,
    detector: DetectorName = None,
    detector_weights: DetectorWeights = None,
) -> None:
    """Watch a camera, stream or film in a window.

    Keys: space pauses, r records a film and a table, s saves a picture, q quits.
    A machine that is slower than the camera leaves frames out, and counts them.
    Ctrl-C ends it too, and finishes the recording.
    """
    if find_spec("pygame") is None:
        raise MissingExtraError("the live window", "live")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # its greeting on standard output
    from mien.analyzer import load
    from mien.live.session import Live
    from mien.live.window import Window, display

    found = _one(source)
    with display():
        with err.status(f"opening {printable(source)}"):
            analyzer = load(model, detector, detector_weights)
            watched = Live(
                found, analyzer, folder, smoothing=not no_smoothing, min_confidence=min_confidence,
                follow_playlists=follow_playlists,
            )  # fmt: skip
        try:
            with stopping(watched.stop) as stopped, watched:
                first = _first(watched, source)
                if first is not None:
                    Window(watched, first, f"{printable(source)} - mien").run()
        finally:
            for path in watched.written:
                print(path)
    status = watched.status()
    out.print(
        f"{counted(watched.shown, 'frame')} shown, {status.dropped} dropped"
        f" · detector {analyzer.detector.name}, model {analyzer.classifier.card.name}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if watched.failure is not None:
        raise watched.failure
    if stopped:
        complain("interrupted; what had been recorded until then is written")
        raise typer.Exit(128 + stopped[0])


def _one(name: str) -> Source:
    from mien.media.sources import find_sources

    found, problems = find_sources([name])
    if problems:
        raise problems[0]
    if len(found) > 1:
        raise InputError(f"{name} stands for {len(found)} files, and a window shows one camera, film or stream")
    return found[0]


def _first(watched: Live, name: str) -> View | None:
    """The first view, or None when Ctrl-C comes before it."""
    with err.status(f"waiting for {printable(name)}"):
        while not watched.stopped:
            view = watched.wait(timeout=0.1)
            if view is not None:
                return view
    return None
