"""`watch`: one pass over everything that is named, with every output that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from signal import SIGINT
from typing import Any

from mien.analyzer import Analyzer, load
from mien.checks import number, whole
from mien.drawing.annotate import annotate
from mien.errors import InputError, InputErrors, MienError, OutputError
from mien.faces import Faces
from mien.interrupt import stopping_by_default
from mien.media.frames import Frames, Pick
from mien.media.images import Color, check_color, read_image
from mien.media.opening import FrameSource, RawVideo, open_frames
from mien.media.sources import Source
from mien.output.pictures import save_picture
from mien.output.tables import Table, open_frames_table, open_table
from mien.provenance import provenance
from mien.recording.log import FaceLog
from mien.recording.outputs import Outputs
from mien.recording.plan import Destinations, ManyPaths, ManyTables, PathLike, Plan
from mien.recording.recorder import Recorder
from mien.recording.recording import Coverage, Recording, SourceRecord, total
from mien.stream import Stream
from mien.threads import in_order


@dataclass(frozen=True)
class Progress:
    """How far `watch` is: after every picture and frame, and when a film has been read to its end.

    source    the name of what is being read, the `number`-th of `of`
    picture   it is a picture by itself
    seconds   time of the frame that was read last; `duration` is that of the whole film, where it is known
    frames    read so far of this source
    faces     those of that frame; None at the end of a film, and for a picture that could not be read
    problem   why that picture could not be read
    record    what was read of a film, at its end
    """

    source: str
    number: int
    of: int
    picture: bool = False
    seconds: float = 0.0
    duration: float | None = None
    frames: int = 0
    faces: Faces | None = None
    problem: MienError | None = None
    record: SourceRecord | None = None


def watch(
    source: FrameSource | Frames,
    *,
    table: ManyTables = None,
    frames: ManyTables = None,
    video: PathLike | None = None,
    save: PathLike | None = None,
    episodes: ManyPaths = None,
    timeline: ManyPaths = None,
    geometry: bool = False,
    analyzer: Analyzer | None = None,
    model: PathLike | None = None,
    detector: str | None = None,
    detector_weights: PathLike | None = None,
    min_score: float | None = None,
    min_size: float = 0.0,
    every: int = 1,
    max_fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    raw: RawVideo | None = None,
    follow_playlists: bool = False,
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

    `source` is a film, a camera, a URL, a picture, a folder or pattern, several of these, a sequence of arrays, or
    opened Frames; how they are read is as in `Analyzer.stream`, by `analyzer` or else by one that is loaded with
    `model`, `detector`, `detector_weights`, `min_score` and `min_size`. Files that only name other files are refused
    unless `follow_playlists`. `workers` pictures or frames are read at the same time (None: as many as there are
    cores).

    table       a row per face: .csv, .jsonl or .parquet; of all sources together. A list writes several
    frames      a row per picture or frame, with or without a face, likewise
    video       the annotated film, .mp4
    save        a folder for annotated pictures and films, in folders as they came from
    episodes    who showed what when: .csv, .json, .vtt or .tsv (ELAN)
    timeline    the same drawn: .png or .html
    geometry    head pose and what the face does; this version has no network for it and refuses it

    Of several films `video`, `episodes` and `timeline` are folders. `min_confidence` is the probability below which an
    expression is called uncertain in them. With `keep` the recording holds the faces of every frame (about 200 bytes
    each); without, memory stays the same however long a film is, and pictures share a record. `progress` is called
    after every frame.

    Files appear when they are whole. What is wrong with a source, or an output that fails, is in the recording's
    `problems`, and all that could be read is written nevertheless. Ctrl-C completes the files, too: KeyboardInterrupt
    is raised then, with the Recording so far as its `recording`.

    Raises InputError when nothing can be opened, or an option makes no sense, and OutputError, ModelError or FetchError
    when something that is needed is not there.
    """
    if geometry:
        raise InputError("this version of mien has no network for geometry; leave geometry out")
    if workers is not None:
        workers = whole("workers", workers)
    min_confidence = number("min_confidence", min_confidence, least=0, most=1)
    number("fps", fps, above=0)
    check_color(color)
    Pick(every, max_fps, start, end)  # raises on what makes no sense
    plan = Plan(source, Destinations.of(table, frames, video, save, episodes, timeline))
    cores = os.cpu_count() or 1
    workers = workers or cores
    if all(plan.is_picture(i) for i in range(len(plan.sources))):
        workers = min(workers, len(plan.sources))
    if analyzer is None:
        threads = max(1, cores // workers)
        analyzer = load(model, detector, detector_weights, threads, min_score=min_score, min_size=min_size)
    elif min_score is not None or min_size or model or detector or detector_weights:
        raise InputError(
            "model, detector, detector_weights, min_score and min_size are for loading an analyzer: leave them out"
        )
    choice = {"every": every, "max_fps": max_fps, "start": start, "end": end}
    arrays = {} if isinstance(plan.sources[0], Source | Frames) else {"fps": fps, "color": color}
    about = describe(analyzer, {**choice, **arrays, "smoothing": smoothing, "min_confidence": min_confidence})

    def opened(one: Any) -> Frames:
        if isinstance(one, Frames):
            return one
        return open_frames(
            one, every=every, max_fps=max_fps, start=start, end=end, raw=raw, newest=True, fps=fps, color=color,
            follow_playlists=follow_playlists,
        )  # fmt: skip

    return _Run(plan, analyzer, about, workers, min_confidence, keep, progress).read(opened, smoothing, end)


def describe(analyzer: Analyzer, options: dict[str, Any]) -> dict[str, Any]:
    """What a table says of how it was made: version, machine, date, command, networks with their SHA-256, options."""
    card = analyzer.classifier.card
    finder = analyzer.detector
    return {
        **provenance(),
        "model": {"name": card.name, "sha256": card.sha256},
        "detector": {"name": finder.name, "sha256": getattr(finder, "sha256", None)},
        "options": {
            **options,
            "min_score": max(analyzer.min_score, getattr(finder, "min_score", 0.0)),
            "min_size": analyzer.min_size,
        },
    }


class _Run:
    """One call of `watch`."""

    def __init__(
        self, plan: Plan, analyzer: Analyzer, about: dict[str, Any], workers: int, min_confidence: float, keep: bool,
        progress: Callable[[Progress], object] | None,
    ) -> None:  # fmt: skip
        self._plan, self._analyzer, self._workers, self._keep = plan, analyzer, workers, keep
        self._min_confidence, self._progress = min_confidence, progress
        self._recording = Recording(problems=plan.problems, provenance=about)
        self._outputs = Outputs()
        self._tables = self._opened(
            plan.to.tables, lambda path: open_table(path, min_confidence, analyzer.label_names, about)
        )
        self._frame_tables = self._opened(plan.to.frames, lambda path: open_frames_table(path, about))
        self._reading: Frames | None = None
        self._interrupted = False

    def _opened(self, tables: Sequence[PathLike | Table], opened: Callable[[Path], Any]) -> list[Table]:
        return [
            table if isinstance(table, Table) else self._outputs.open(opened(Path(table)), Path(table))
            for table in tables
        ]

    def read(self, opened: Callable[[Any], Frames], smoothing: bool, end: float | None) -> Recording:
        """Everything, in its order. Whatever is raised on the way is raised once all files are complete."""
        recording, failure = self._recording, None
        signals: list[int] = []
        try:
            with stopping_by_default(self._stop) as signals:
                for picture, group in groupby(range(len(self._plan.sources)), key=self._plan.is_picture):
                    if picture:
                        self._read_pictures(list(group))
                    else:
                        for i in group:
                            self._watch(i, opened, smoothing, end)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
        if not recording.records and failure is None and recording.problems and not self._interrupted:
            failure = InputErrors.of(recording.problems)
            recording.problems = []
        if recording.records:
            self._outputs.close()
        else:
            self._outputs.give_up()
        recording.written += self._outputs.written
        recording.problems += self._outputs.problems
        if signals and failure is None:
            failure = KeyboardInterrupt() if signals[0] == SIGINT else SystemExit(128 + signals[0])
        if failure is not None:
            recording.interrupted |= isinstance(failure, KeyboardInterrupt)
            failure.recording = recording  # type: ignore[attr-defined]
            raise failure
        return recording

    def _stop(self) -> None:
        """Read no further; for signal handlers."""
        self._interrupted = True
        if self._reading is not None:
            self._reading.stop()

    def _read_pictures(self, chosen: list[int]) -> None:
        """Pictures that follow each other, several at a time."""
        log = FaceLog() if self._keep else None
        if log is not None:
            self._recording.logs.append(log)
        results = in_order(self._read_picture, chosen, min(self._workers, len(chosen)))
        for i, result in zip(chosen, results, strict=True):
            name, of = self._plan.name(i), len(self._plan.sources)
            if isinstance(result, MienError):
                self._recording.problems.append(result)
                self._tell(Progress(name, i + 1, of, picture=True, problem=result))
            else:
                if log is not None:
                    log.add(result)
                self._count(name, result, first=i == chosen[0])
                tables = [*self._tables, *self._frame_tables]
                for table in tables:
                    with suppress(OutputError):  # closing it says why
                        table.write(result)
                if tables and all(table.failure is not None for table in tables):
                    raise _Stopped
                self._tell(Progress(name, i + 1, of, picture=True, frames=1, faces=result))
            self._check_stopped()

    def _count(self, name: str, faces: Faces, first: bool) -> None:
        """A record for each picture, or one for all that follow each other where nothing is to be kept."""
        records, coverage = self._recording.records, Coverage(name, 1, int(len(faces) > 0), len(faces), 0.0)
        if self._keep or first or not records or records[-1].timeline is not None:
            records.append(SourceRecord(name, coverage))
            return
        both = total([records[-1].coverage, coverage], "pictures")
        records[-1] = SourceRecord("pictures", both)

    def _read_picture(self, i: int) -> Faces | MienError:
        try:
            image = read_image(self._plan.name(i))
            faces = self._analyzer.analyze(image, keep_image=False).replace(source=self._plan.name(i))
        except MienError as error:
            return error
        try:
            if (place := self._plan.annotated(i)) is not None:
                save_picture(place, annotate(image, faces, self._min_confidence))
                self._recording.written.append(place)
        except OutputError as error:
            self._recording.problems.append(error)
        return faces

    def _watch(self, i: int, opened: Callable[[Any], Frames], smoothing: bool, end: float | None) -> None:
        """A film, stream or camera, to its end."""
        self._check_stopped()
        plan, recording, name, of = self._plan, self._recording, self._plan.name(i), len(self._plan.sources)
        try:
            frames = self._reading = opened(plan.sources[i])
            if self._interrupted:  # while it was being opened
                frames.stop()
        except MienError as error:
            recording.problems.append(error)
            return
        try:
            recorder = Recorder(
                name, self._analyzer.label_names, tables=self._tables, frame_tables=self._frame_tables,
                video=plan.annotated(i), original=frames.reopen, end=end, episodes=plan.episodes(i),
                timelines=plan.timelines(i), min_confidence=self._min_confidence, keep=self._keep,
            )  # fmt: skip
        except MienError as error:
            frames.close()
            recording.problems.append(error)
            return
        finished = False
        try:
            with Stream(self._analyzer, frames, smoothing=smoothing, workers=self._workers) as stream:
                for frame, faces in stream.pairs():
                    recorder.write(frame.image, faces)
                    if recorder.failed:
                        raise _Stopped
                    count = recorder.frames
                    self._tell(
                        Progress(
                            name, i + 1, of, seconds=frame.time, duration=frames.duration, frames=count, faces=faces
                        )
                    )
            finished = True
        except _Stopped:
            recording.notes.append(
                f"{name}: nothing more could be written, so reading stopped at {recorder.last:.1f} s"
            )
        except InputError as error:  # a film that is cut short is still worth what was read
            recording.problems.append(error)
            finished = True
        finally:
            recorder.dropped = frames.dropped
            recording.interrupted |= frames.interrupted
            record = recorder.finish(interrupted=not finished or frames.interrupted)
            if recorder.frames:
                recording.records.append(record)
            if recorder.log is not None:
                recording.logs.append(recorder.log)
            recording.written += recorder.written
            recording.notes += recorder.notes
            recording.problems += recorder.problems
        if recorder.frames:
            self._tell(Progress(name, i + 1, of, seconds=recorder.last, frames=recorder.frames, record=record))
        if not finished:
            raise _Stopped
        self._check_stopped()

    def _tell(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress(progress)

    def _check_stopped(self) -> None:
        if self._interrupted or (self._reading is not None and self._reading.interrupted):
            self._recording.interrupted = True
            raise _Stopped


class _Stopped(Exception):
    """Nothing more is to be read."""
