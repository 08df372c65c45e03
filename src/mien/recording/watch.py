"""`watch`: one pass over a source, with every output that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

from mien.analyzer import Analyzer, load
from mien.errors import InputError, MienError, OutputError
from mien.faces import Faces, printable
from mien.interrupt import stopping_by_default
from mien.media.frames import Frames
from mien.media.images import Color
from mien.media.opening import FrameSource, RawVideo, open_frames
from mien.media.sources import Source, find_sources
from mien.output.episodes import check_episodes
from mien.output.places import is_folder, place_for
from mien.output.tables import Table, check_table, open_frames_table, open_table
from mien.output.timeline.render import check_timeline
from mien.output.video import check_video
from mien.provenance import provenance
from mien.recording.outputs import Outputs
from mien.recording.recorder import Recorder
from mien.recording.recording import Recording
from mien.stream import Stream

PathLike = str | Path
TableLike = PathLike | Table


@dataclass(frozen=True)
class Progress:
    """How far `watch` is.

    source      the name of the source that is being read, the `number`-th of `of`
    seconds     time of the frame that was read last; `duration` is that of the whole source, where it is known
    frames      read so far of this source
    faces       those of that frame
    """

    source: str
    number: int
    of: int
    seconds: float
    duration: float | None
    frames: int
    faces: Faces


def watch(
    source: FrameSource | Frames,
    *,
    table: TableLike | Sequence[TableLike] | None = None,
    frames: TableLike | Sequence[TableLike] | None = None,
    video: PathLike | None = None,
    episodes: PathLike | Sequence[PathLike] | None = None,
    timeline: PathLike | Sequence[PathLike] | None = None,
    geometry: bool = False,
    analyzer: Analyzer | None = None,
    model: PathLike | None = None,
    detector: str | None = None,
    min_score: float | None = None,
    min_size: float = 0.0,
    every: int = 1,
    max_fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    raw: RawVideo | None = None,
    fps: float = 25.0,
    color: Color = "rgb",
    smoothing: bool = True,
    workers: int | None = None,
    min_confidence: float = 0.0,
    keep: bool = True,
    progress: Callable[[Progress], object] | None = None,
) -> Recording:
    """Read a source to its end, and write everything that is asked for in one pass.

        recording = mien.watch("film.mp4", table="faces.parquet", episodes="film.vtt", timeline="film.png")
        recording.people, recording.episodes, recording.coverage
        recording.to_polars()

    `source` is a film, a camera, a URL, a folder or pattern, several of these, a sequence of arrays, or opened Frames;
    how they are read is as in `Analyzer.stream`, by `analyzer` or else by one that is loaded with `model`, `detector`,
    `min_score` and `min_size`. `workers` frames are read at the same time (None: as many as there are cores).

    table       a row per face: .csv, .jsonl or .parquet; of all sources together. A list writes several
    frames      a row per frame, with or without a face, likewise
    video       the annotated film, .mp4
    episodes    who showed what when: .csv, .json, .vtt or .tsv (ELAN)
    timeline    the same drawn: .png or .html
    geometry    head pose and what the face does; this version has no network for it and refuses it

    Of several sources `video`, `episodes` and `timeline` are folders. `min_confidence` is the probability below which
    an expression is called uncertain in them. With `keep` the recording holds the faces of every frame (about 200 bytes
    each); without, memory stays the same however long the source is. `progress` is called after every frame.

    Files appear when they are whole. What is wrong with a source, or an output that fails, is in the recording's
    `problems`, and all that could be read is written nevertheless. Ctrl-C completes the files, too: KeyboardInterrupt
    is raised then, with the Recording so far as its `recording`.

    Raises InputError when nothing can be opened, or an option makes no sense, and OutputError, ModelError or FetchError
    when something that is needed is not there.
    """
    if geometry:
        raise InputError("this version of mien has no network for geometry; leave geometry out")
    if workers is not None and workers < 1:
        raise InputError(f"workers should be a whole number from 1 on, not {workers!r}")
    cores = os.cpu_count() or 1
    options = {
        "every": every, "max_fps": max_fps, "start": start, "end": end, "smoothing": smoothing,
        "min_confidence": min_confidence,
    }  # fmt: skip

    opened, problems = _sources(source)
    names = [one.name if isinstance(one, Source | Frames) else "" for one in opened]
    tables, frame_tables = _listed(table), _listed(frames)
    episode_paths, timeline_paths = _listed(episodes), _listed(timeline)
    check_outputs(
        tables=tables, frames=frame_tables, video=video, episodes=episode_paths, timelines=timeline_paths, names=names
    )

    def start_reading(one: Any) -> Frames:
        if isinstance(one, Frames):
            return one
        return open_frames(
            one, every=every, max_fps=max_fps, start=start, end=end, raw=raw, newest=True, fps=fps, color=color
        )

    # Before anything is loaded or written, so that a source that is not there costs nothing.
    first = start_reading(opened[0]) if len(opened) == 1 else None
    if analyzer is None:
        threads = max(1, cores // (workers or cores))
        analyzer = load(model, detector, threads=threads, min_score=min_score, min_size=min_size)
    elif min_score is not None or min_size or model or detector:
        raise InputError("model, detector, min_score and min_size are the analyzer's: leave them out, or the analyzer")
    recording = Recording(problems=problems, provenance=describe(analyzer, options))
    outputs = Outputs()
    shared = [
        table if isinstance(table, Table)
        else outputs.open(open_table(table, min_confidence, analyzer.label_names, recording.provenance), Path(table))
        for table in tables
    ]  # fmt: skip
    shared_frames = [
        table if isinstance(table, Table)
        else outputs.open(open_frames_table(table, recording.provenance), Path(table))
        for table in frame_tables
    ]  # fmt: skip
    failure: BaseException | None = None
    for i, one in enumerate(opened):
        try:
            reading = first or start_reading(one)
            recorder = Recorder(
                names[i], analyzer.label_names, tables=shared, frame_tables=shared_frames,
                video=None if video is None else place_for(video, names, i, "video"), original=reading.file, end=end,
                episodes=[place_for(path, names, i, "episodes") for path in episode_paths],
                timelines=[place_for(path, names, i, "timeline") for path in timeline_paths],
                min_confidence=min_confidence, provenance=recording.provenance, keep=keep,
            )  # fmt: skip
        except MienError as error:
            if first is not None:
                first.close()
                failure = error
            problems.append(error)
            continue
        stopped = False
        stream = Stream(analyzer, reading, smoothing=smoothing, workers=workers or cores)
        signals: list[int] = []
        try:
            with stopping_by_default(reading.stop) as signals:
                for frame, faces in stream.pairs():
                    recorder.write(frame.image, faces)
                    if progress is not None:
                        done = recorder.frames
                        progress(Progress(names[i], i + 1, len(opened), frame.time, reading.duration, done, faces))
        except OutputError:
            stopped = True  # closing it says why
        except InputError as error:  # a film that is cut short is still worth what was read
            problems.append(error)
        except BaseException as error:  # noqa: BLE001 - raised below, once all files are complete
            failure = error
            recording.interrupted |= isinstance(error, KeyboardInterrupt)
        finally:
            stream.close()
        if signals and failure is None:
            failure = KeyboardInterrupt() if signals[0] == SIGINT else SystemExit(128 + signals[0])
        recorder.dropped = reading.dropped
        recording.interrupted |= reading.interrupted
        stopped |= recording.interrupted or failure is not None
        recording.records.append(recorder.finish(interrupted=stopped))
        recording.written += recorder.written
        recording.notes += recorder.notes
        problems += recorder.problems
        if stopped:
            break
    outputs.close()
    recording.written += outputs.written
    problems += outputs.problems
    if failure is not None:
        failure.recording = recording  # type: ignore[attr-defined]
        raise failure
    return recording


def describe(analyzer: Analyzer, options: dict[str, Any]) -> dict[str, Any]:
    """What a table says of how it was made: version, machine, date, command, networks with their SHA-256, options."""
    card = analyzer.classifier.card
    finder = analyzer.detector
    return {
        **provenance(),
        "model": {"name": card.name, "sha256": card.sha256},
        "detector": {"name": finder.name, "sha256": getattr(finder, "sha256", None)},
        "options": {**options, "min_score": getattr(finder, "min_score", 0.0), "min_size": analyzer.min_size},
    }


def _sources(source: FrameSource | Frames) -> tuple[list[Any], list[MienError]]:
    """What is to be opened one after the other; raises InputError when there is nothing."""
    if isinstance(source, Frames | Source):
        return [source], []
    if isinstance(source, str | Path | int):
        items: list[Any] = [source]
    elif isinstance(source, list | tuple) and all(isinstance(item, str | Path | Source) for item in source):
        items = list(source)
    else:
        return [source], []
    given = [item for item in items if isinstance(item, Source)]
    found, problems = find_sources([str(i) if isinstance(i, int) else i for i in items if not isinstance(i, Source)])
    if not given and not found:
        if not problems:
            raise InputError("no source was given: name a film, a folder, a camera or a URL")
        raise problems[0] if len(problems) == 1 else InputError("; ".join(map(str, problems)))
    return [*given, *found], list(problems)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | Path | Table) else list(value)


def check_outputs(
    *, tables: Sequence[TableLike] = (), frames: Sequence[TableLike] = (), video: PathLike | None = None,
    episodes: Sequence[PathLike] = (), timelines: Sequence[PathLike] = (), names: Sequence[str],
) -> None:  # fmt: skip
    """Whatever can be refused of outputs for the sources `names` is refused here, before anything is read. Raises
    InputError."""
    for table in (*tables, *frames):
        if not isinstance(table, Table):
            check_table(table)
    for paths, what, check in (
        ([] if video is None else [video], "video", check_video),
        (episodes, "episodes", check_episodes),
        (timelines, "timeline", check_timeline),
    ):
        for path in paths:
            if names:
                place_for(path, names, 0, what)
            if not is_folder(path):
                check(Path(path))
    named = [*tables, *frames, *episodes, *timelines, *([] if video is None else [video])]
    files = [Path(path) for path in named if not isinstance(path, Table) and not is_folder(path)]
    if twice := [path for i, path in enumerate(files) if path in files[:i]]:
        raise InputError(f"{printable(str(twice[0]))} is named for two outputs; give each a file of its own")
