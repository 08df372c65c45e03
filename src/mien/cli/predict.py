"""`mien predict`: finds and reads the faces in pictures, films, cameras and streams."""

from __future__ import annotations

import os
import re
from itertools import groupby
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import be_quiet, complain
from mien.cli.films import watch_film
from mien.cli.options import DetectorName, DetectorWeights, MinConfidence, MinScore, MinSize, ModelName, Quiet
from mien.cli.pictures import JPEG, Pictures
from mien.errors import InputError, MienError, OutputError

if TYPE_CHECKING:
    from mien.media.opening import RawVideo
    from mien.media.sources import Source

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
        typer.Option(min=1, show_default="all cores", help="Images or frames that are worked on at the same time."),
    ] = None,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=_FILMS, help="Look at every N-th frame only.")
    ] = 1,
    max_fps: Annotated[
        float | None,
        typer.Option(metavar="FPS", rich_help_panel=_FILMS, help="Look at no more frames in a second."),
    ] = None,
    start: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", rich_help_panel=_FILMS, help="Begin there.")
    ] = None,
    end: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", rich_help_panel=_FILMS, help="End before there.")
    ] = None,
    episodes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            rich_help_panel=_FILMS,
            help="Write who showed what when: .csv, .json, .vtt or .tsv (ELAN); of several a .csv each into a folder.",
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
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
    quiet: Quiet = False,
) -> None:
    """Find the faces in images, films and streams, and read their expressions.

    People in films keep a number, and their probabilities are smoothed over time. Skips what cannot be read, lists it
    at the end and exits with 1. Ctrl-C ends a film early and completes its files.
    """
    from mien.analyzer import load
    from mien.media.opening import open_frames
    from mien.media.sources import find_sources
    from mien.output.places import place_for
    from mien.output.tables import open_frames_table, open_table
    from mien.recording.outputs import Outputs
    from mien.recording.watch import check_outputs, describe

    be_quiet(quiet)
    _check(max_fps, fps, start, end)
    raw = _raw(size, fps)
    found, problems = find_sources(paths)
    failures: list[MienError] = list(problems)
    if not found:
        _give_up(failures)
    moving = [source for source in found if source.kind != "picture"]
    if (timeline or episodes) and not moving:
        raise InputError(f"{'--timeline' if timeline else '--episodes'} is for films and streams, and none is named")
    names = [source.name for source in moving]
    check_outputs(
        tables=[table] if table else [], frames=[frames] if frames else [], episodes=[episodes] if episodes else [],
        timelines=[timeline] if timeline else [], names=names,
    )  # fmt: skip
    targets = _targets(found, save) if save else {}
    cores = os.cpu_count() or 1
    workers = jobs or cores
    if not moving:
        workers = min(workers, len(found))
    analyzer = load(
        model, detector, detector_weights, threads=max(1, cores // workers), min_score=min_score, min_size=min_size
    )

    pictures = Pictures(analyzer, workers, min_confidence, as_json)
    about = describe(
        analyzer,
        {
            "every": every,
            "max_fps": max_fps,
            "start": start,
            "end": end,
            "smoothing": True,
            "min_confidence": min_confidence,
        },
    )
    outputs = Outputs()
    rows = [outputs.open(open_table(table, min_confidence, analyzer.label_names, about), table)] if table else []
    frame_rows = [outputs.open(open_frames_table(frames, about), frames)] if frames else []
    tables = [*rows, *frame_rows]

    def read_film(source: Source) -> int:
        """Gives the signal that ended it early, or 0. Raises OutputError when a table cannot be written any more."""
        try:
            opened = open_frames(source, every=every, max_fps=max_fps, start=start, end=end, raw=raw, newest=True)
        except MienError as error:
            failures.append(error)
            return 0
        i = moving.index(source)
        recording, signal = watch_film(
            opened, analyzer, as_json=as_json, quiet=quiet, start=start, end=end, every=every, max_fps=max_fps,
            workers=workers, min_confidence=min_confidence, table=rows, frames=frame_rows, video=targets.get(source),
            episodes=place_for(episodes, names, i, "episodes") if episodes else None,
            timeline=place_for(timeline, names, i, "timeline") if timeline else None,
        )  # fmt: skip
        failures.extend(recording.problems)
        for one in tables:
            if one.failure is not None:
                raise one.failure
        return signal

    stopped_by = 0
    try:
        for still, group in groupby(found, key=lambda source: source.kind == "picture"):
            if still:
                failures += pictures.read(list(group), tables, targets)
            else:
                stopped_by = next((signal for source in group if (signal := read_film(source))), 0)
            if stopped_by:
                break
    except OutputError:
        pass  # closing it says why
    outputs.close()
    failures += outputs.problems
    if pictures.count and not as_json and not quiet:
        pictures.summary(len(failures))
    if stopped_by:
        for failure in failures:
            complain(str(failure))
        complain("interrupted; what had been read until then is written")
        raise typer.Exit(128 + stopped_by)
    if failures:
        _give_up(failures)


def _check(max_fps: float | None, fps: float | None, start: float | None, end: float | None) -> None:
    """Raises typer.BadParameter, by the name of its option, on a choice of frames that makes no sense."""
    for name, value in (("--max-fps", max_fps), ("--fps", fps)):
        if value is not None and not 0 < value < inf:
            raise typer.BadParameter("frames a second should be above 0", param_hint=name)
    if start is not None and not start < inf:
        raise typer.BadParameter(f"{start} is no time", param_hint="--start")
    if end is not None and not end > (start or 0.0):
        raise typer.BadParameter(
            f"the end ({end:g} s) should come after the start ({start or 0:g} s)", param_hint="--end"
        )


def _give_up(failures: list[MienError]) -> None:
    for failure in failures:
        complain(str(failure))
    raise typer.Exit(1)


def _raw(size: str | None, fps: float | None) -> RawVideo | None:
    from mien.media.opening import RawVideo

    if size is None and fps is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size or "")
    if sides is None or fps is None:
        raise typer.BadParameter("raw frames need both, as in --size 640x480 --fps 25", param_hint="--size and --fps")
    return RawVideo(int(sides[1]), int(sides[2]), fps)


def _targets(found: list[Source], folder: Path) -> dict[Source, Path]:
    """Where each annotated image or film goes: under `folder` as it lies under what all the named folders share;
    what is no file, by its name.

    Raises InputError where that would overwrite a file that was named.
    """
    from mien.media.images import is_url

    files = [s for s in found if s.kind in {"picture", "film"} and not is_url(s.name)]
    places = {source: source.path.parent.resolve() / source.path.name for source in files}
    try:
        folders = [p for source, place in places.items() for p in (place.parent, source.root.resolve())]
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # Windows, where drives share nothing
        raise InputError("with --save all files should lie on one drive; name those of one drive at a time") from None
    targets: dict[Source, Path] = {}
    used: set[Path] = set()
    for source in found:
        if source in places:
            target = folder / places[source].relative_to(shared)
        else:
            target = folder / (re.sub(r"[^A-Za-z0-9]+", "-", source.name).strip("-") or "stdin")
        endings = {*JPEG, ".png"} if source.kind == "picture" else {".mp4"}
        if target.suffix.lower() not in endings:
            target = target.with_name(f"{target.name}{'.png' if source.kind == 'picture' else '.mp4'}")
        while target in used:
            target = target.with_stem(f"{target.stem}_")
        used.add(target)
        targets[source] = target
    originals = set(places.values())
    for target in targets.values():
        if target.parent.resolve() / target.name in originals:
            raise InputError(f"--save {folder} would overwrite {target} itself; name another folder")
    return targets
