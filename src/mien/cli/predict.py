"""`mien predict`: finds and reads the faces in pictures, films, cameras and streams."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import be_quiet, complain
from mien.cli.options import (
    DetectorName,
    DetectorWeights,
    FollowPlaylists,
    MinConfidence,
    MinScore,
    MinSize,
    ModelName,
    Quiet,
)
from mien.cli.results import Results
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.media.opening import RawVideo

_FILMS = "Films and streams"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, films, folders, quoted patterns like 'photos/*.jpg', URLs, cameras (0, /dev/video0), "
            "or - for raw frames on standard input.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per image or frame, one per line.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row per face to a .csv, .jsonl or .parquet file.")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a row per frame, with or without a face, to a file of such a kind."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write annotated images and films (.mp4) there, in folders as they came from."
        ),
    ] = None,
    min_confidence: MinConfidence = 0.0,
    min_score: MinScore = None,
    min_size: MinSize = 0.0,
    model: ModelName = None,
    detector: DetectorName = None,
    detector_weights: DetectorWeights = None,
    jobs: Annotated[
        int | None,
        typer.Option(show_default="all cores", help="Images or frames that are worked on at the same time."),
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", rich_help_panel=_FILMS, help="Look at every N-th frame only.")] = 1,
    max_fps: Annotated[
        float | None,
        typer.Option(metavar="FPS", rich_help_panel=_FILMS, help="Look at no more frames in a second."),
    ] = None,
    start: Annotated[float | None, typer.Option(metavar="SECONDS", rich_help_panel=_FILMS, help="Begin there.")] = None,
    end: Annotated[
        float | None, typer.Option(metavar="SECONDS", rich_help_panel=_FILMS, help="End before there.")
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR",
            rich_help_panel=_FILMS,
            help="Write who showed what when: .csv, .json, .vtt or .tsv (ELAN); of several a .csv each into a folder.",
        ),
    ] = None,
    timeline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR",
            rich_help_panel=_FILMS,
            help="Draw it: .png or .html; of several a .png each into a folder.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", rich_help_panel=_FILMS, help="Size of raw rgb24 frames on standard input."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="FPS", rich_help_panel=_FILMS, help="Rate of raw frames on standard input.")
    ] = None,
    follow_playlists: FollowPlaylists = False,
    quiet: Quiet = False,
) -> None:
    """Find the faces in images, films and streams, and read their expressions.

    People in films keep a number, and their probabilities are smoothed over time. Skips what cannot be read, lists it
    at the end and exits with 1. Ctrl-C ends a film early and completes its files.
    """
    from mien.recording.watch import watch

    be_quiet(quiet)
    recording, problems, code = None, [], 0
    with Results(as_json=as_json, quiet=quiet, min_confidence=min_confidence, start=start, end=end) as results:
        try:
            recording = watch(
                paths, table=table, frames=frames, save=save, episodes=episodes, timeline=timeline, model=model,
                detector=detector, detector_weights=detector_weights, min_score=min_score, min_size=min_size,
                every=every, max_fps=max_fps, start=start, end=end, raw=_raw(size, fps), workers=jobs,
                follow_playlists=follow_playlists, min_confidence=min_confidence, keep=False, progress=results.show,
            )  # fmt: skip
        except MienError as error:
            recording = getattr(error, "recording", None)
            problems = list(getattr(error, "problems", [error]))
        except (KeyboardInterrupt, SystemExit) as error:
            recording = getattr(error, "recording", None)
            code = 130 if isinstance(error, KeyboardInterrupt) else int(error.code or 0)
    if recording is not None:
        problems = [*problems, *recording.problems]
    results.finish(recording, len(problems))
    for problem in problems:
        complain(str(problem))
    if code:
        complain("interrupted; everything read so far has been saved" if recording is not None else "interrupted")
    if code or problems:
        raise typer.Exit(code or 1)


def _raw(size: str | None, fps: float | None) -> RawVideo | None:
    from mien.media.opening import RawVideo

    if size is None and fps is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size or "")
    if sides is None or fps is None:
        raise typer.BadParameter("raw frames need both, as in --size 640x480 --fps 25", param_hint="--size and --fps")
    return RawVideo(int(sides[1]), int(sides[2]), fps)
