"""Watching one film, stream or camera for `mien predict`: everything that is wanted of it, in one pass."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli.console import err, note, out
from mien.cli.shown import bar, counted, printed, readable
from mien.cli.stopping import stopping
from mien.errors import InputError, MienError

if TYPE_CHECKING:
    from mien.analyzer import Analyzer
    from mien.media.frames import Frames
    from mien.media.sources import RawVideo, Source
    from mien.output.tables import Table as FacesTable
    from mien.output.timeline.bins import Timeline
    from mien.tracking.episodes import Episode


_EPISODES = 4
"""So many of each person are printed."""


@dataclass(frozen=True)
class Wish:
    """What is asked of every film."""

    every: int = 1
    max_fps: float | None = None
    start: float | None = None
    end: float | None = None
    raw: RawVideo | None = None
    workers: int = 1
    min_confidence: float = 0.0
    as_json: bool = False
    episodes: Path | None = None
    timeline: Path | None = None


@dataclass
class Watched:
    """How it went."""

    failures: list[MienError] = field(default_factory=list)
    stopped_by: int = 0
    """The signal that ended it early, or 0."""


def watch(source: Source, analyzer: Analyzer, wish: Wish, rows: FacesTable | None, target: Path | None) -> Watched:
    """Watch a source to its end, or until Ctrl-C; what was read is written whatever happens.

    Prints one JSON object per frame, or a table of people at the end.
    """
    from mien.media.sources import open_frames
    from mien.output.annotate import annotate
    from mien.output.episodes import save_episodes
    from mien.output.timeline.bins import Timeline
    from mien.output.timeline.render import save_timeline
    from mien.output.video import save_film
    from mien.stream import Stream
    from mien.tracking.episodes import EpisodeFinder

    done = Watched()
    try:
        frames = open_frames(
            source, every=wish.every, max_fps=wish.max_fps, start=wish.start, end=wish.end, raw=wish.raw,
            newest=source.kind in {"camera", "stream"},
        )  # fmt: skip
    except MienError as error:
        done.failures.append(error)
        return done
    timeline, finder = Timeline(), EpisodeFinder()
    episodes: list[Episode] = []
    began, count, last = time.monotonic(), 0, 0.0
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(Stream(analyzer, frames, workers=wish.workers))
            stopped = stack.enter_context(stopping(frames.stop))
            original = source if source.kind == "film" else None
            film = stack.enter_context(save_film(target, original, wish.end)) if target else None
            show = stack.enter_context(_progress(source.name, frames, wish))
            try:
                for frame, faces in stream.pairs():
                    count, last = count + 1, frame.time
                    timeline.add(faces)
                    episodes += finder.update(faces)
                    if rows is not None:
                        rows.write(faces)
                    if film is not None:
                        film.write(annotate(frame.image, faces, wish.min_confidence), frame.time)
                    if wish.as_json:
                        print(json.dumps(faces.to_dict(wish.min_confidence)), file=out.file, flush=True)
                    show(frame.time, count)
            except InputError as error:  # a film that is cut short is still worth what was read
                done.failures.append(error)
            if film is not None and stopped:
                film.cut()
            done.stopped_by = stopped[0] if stopped else 0
    except MienError as error:
        done.failures.append(error)
    episodes += finder.close()
    if count and wish.episodes is not None:
        save_episodes(wish.episodes, source.name, episodes)
    if count and wish.timeline is not None:
        save_timeline(wish.timeline, timeline, episodes)
    if frames.dropped:
        note(f"{source.name}: {frames.dropped} frames came faster than they could be read and were left out")
    if count and not wish.as_json:
        _people(source, timeline, episodes, analyzer, count, last - (wish.start or 0.0), time.monotonic() - began)
    return done


def _people(
    source: Source,
    timeline: Timeline,
    episodes: list[Episode],
    analyzer: Analyzer,
    count: int,
    seconds: float,
    took: float,
) -> None:
    table = Table("person", box=None, header_style="bold", pad_edge=False)
    table.columns[0].justify = "right"
    table.add_column("seen", justify="right")
    table.add_column("mostly")
    table.add_column("mean probability", no_wrap=True)
    table.add_column("episodes")
    shown: dict[int, list[str]] = {}
    for episode in sorted(episodes, key=lambda e: e.onset):
        onset, offset = round(episode.onset, 3), round(episode.offset, 3)  # as files have them
        shown.setdefault(episode.id, []).append(f"{episode.label} {onset:.1f}-{offset:.1f} s")
    people = sorted(timeline.people())
    for person in people:
        mean = timeline.mean(person)
        label = timeline.labels[int(mean.argmax())]
        table.add_row(
            str(person),
            f"{timeline.seconds(person):.1f} s",
            *bar(label, float(mean.max()), timeline.labels),
            _few(shown.get(person, [])),
        )
    out.print(Text(readable(source.name), "bold"), soft_wrap=True)
    if people:
        printed(table)
    out.print(
        f"{len(people)} {'person' if len(people) == 1 else 'people'} in {seconds:.1f} s, {counted(count, 'frame')}"
        f" at {count / max(took, 1e-6):.0f} a second · detector {analyzer.detector.name}, "
        f"model {analyzer.classifier.card.name}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _few(episodes: list[str]) -> str:
    more = len(episodes) - _EPISODES
    return ", ".join(episodes[:_EPISODES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _progress(name: str, frames: Frames, wish: Wish) -> Iterator[Callable[[float, int], None]]:
    """Time in the film, how much faster than that it goes, and when it will be through."""
    first, total = wish.start or 0.0, frames.duration
    if total is not None:
        total = max(min(total, wish.end or total) - first, 0.0)
    shown = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[about]}"),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
        disable=not err.is_terminal or (wish.as_json and out.is_terminal),
    )  # fmt: skip
    began = time.monotonic()
    with shown:
        task = shown.add_task(Path(name).name, total=total, about="")

        def show(now: float, count: int) -> None:
            took = max(time.monotonic() - began, 1e-6)
            about = f"{now:.1f} s{f' of {first + total:.1f} s' if total is not None else ''}"
            shown.update(
                task, completed=now - first, about=f"{about} · {(now - first) / took:.1f}x · {count / took:.0f} fps"
            )

        yield show
