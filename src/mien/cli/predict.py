"""`mien predict`: finds and reads the faces in pictures, films, cameras and streams."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import complain
from mien.cli.films import Wish, watch
from mien.cli.options import DetectorName, DetectorWeights, MinConfidence, ModelName
from mien.cli.pictures import JPEG, Pictures
from mien.errors import InputError, MienError

if TYPE_CHECKING:
    from mien.media.sources import RawVideo, Source

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
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write annotated images and films (.mp4) there, in folders as they came from."
        ),
    ] = None,
    min_confidence: MinConfidence = 0.0,
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
            metavar="FILE", rich_help_panel=_FILMS, help="Write who showed what when: .csv, .json, .vtt or .tsv (ELAN)."
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_FILMS, help="Draw it: .png or .html."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", rich_help_panel=_FILMS, help="Size of raw rgb24 frames on standard input."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="FPS", rich_help_panel=_FILMS, help="Rate of raw frames on standard input.")
    ] = None,
) -> None:
    """Find the faces in images, films and streams, and read their expressions.

    People in films keep a number, and their probabilities are smoothed over time. Goes on past what cannot be read;
    lists it at the end and exits with 1. Ctrl-C ends a film early, and its files well.
    """
    from mien.analyzer import load
    from mien.media.sources import find_sources
    from mien.output.episodes import check_episodes
    from mien.output.tables import open_table
    from mien.output.timeline.render import check_timeline

    for value, name in ((max_fps, "--max-fps"), (fps, "--fps")):
        if value is not None and value <= 0:
            raise typer.BadParameter("frames a second should be above 0", param_hint=name)
    if start is not None and end is not None and end <= start:
        raise typer.BadParameter(f"the end ({end:g} s) should come after the start ({start:g} s)", param_hint="--end")
    raw = _raw(size, fps)
    found, problems = find_sources(paths)
    failures: list[MienError] = list(problems)
    if not found:
        _give_up(failures)
    moving = [source for source in found if source.kind != "picture"]
    if timeline is not None:
        check_timeline(timeline)
    if episodes is not None:
        check_episodes(episodes)
    if (timeline or episodes) and len(moving) != 1:
        option = "--timeline" if timeline else "--episodes"
        raise InputError(f"{option} is for one film or stream at a time, and {len(moving)} are named")
    targets = _targets(found, save) if save else {}
    cores = os.cpu_count() or 1
    workers = jobs or cores
    if not moving:
        workers = min(workers, len(found))
    analyzer = load(model, detector, detector_weights, threads=max(1, cores // workers))

    pictures = Pictures(analyzer, workers, min_confidence, as_json)
    wish = Wish(every, max_fps, start, end, raw, workers, min_confidence, as_json, episodes, timeline)
    stopped_by = 0
    with open_table(table, min_confidence, analyzer.labels) if table else nullcontext() as rows:
        for still, group in groupby(found, key=lambda source: source.kind == "picture"):
            if still:
                failures += pictures.read(list(group), rows, targets)
                continue
            for source in group:
                watched = watch(source, analyzer, wish, rows, targets.get(source))
                failures += watched.failures
                stopped_by = stopped_by or watched.stopped_by
                if stopped_by:
                    break
            if stopped_by:
                break
    if pictures.count and not as_json:
        pictures.summary(len(failures))
    if stopped_by:
        complain("interrupted; what had been read until then is written")
        raise typer.Exit(128 + stopped_by)
    if failures:
        _give_up(failures)


def _give_up(failures: list[MienError]) -> None:
    for failure in failures:
        complain(str(failure))
    raise typer.Exit(1)


def _raw(size: str | None, fps: float | None) -> RawVideo | None:
    from mien.media.sources import RawVideo

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
    files = [source for source in found if source.kind in {"picture", "film"}]
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
