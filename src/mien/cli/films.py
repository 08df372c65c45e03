"""`mien predict` on a film, stream or camera: `mien.watch` with a progress bar, and a table of people at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli.console import err, note, out, shows_progress
from mien.cli.formatting import bar, counted, printed, readable
from mien.interrupt import stopping

if TYPE_CHECKING:
    from mien.analyzer import Analyzer
    from mien.media.frames import Frames
    from mien.recording.recording import Recording
    from mien.recording.watch import Progress as Read

_EPISODES = 4
"""So many of each person are printed."""


def watch_film(
    source: Frames, analyzer: Analyzer, *, as_json: bool, quiet: bool, start: float | None, end: float | None,
    **options: Any,
) -> tuple[Recording, int]:  # fmt: skip
    """Watch a source to its end, or until Ctrl-C, with the other `options` of `mien.watch`. Prints one JSON object per
    frame, or a table of people at the end.

    Gives what was read, and the signal that ended it early, or 0.
    """
    from mien.recording.watch import watch

    began = time.monotonic()
    with stopping(source.stop) as stopped, _progress(source, start or 0.0, end, as_json) as show:

        def progress(read: Read) -> None:
            if as_json:
                print(json.dumps(read.faces.to_dict(options["min_confidence"])), file=out.file, flush=True)
            show(read.seconds, read.frames)

        recording = watch(source, analyzer=analyzer, start=start, end=end, keep=False, progress=progress, **options)
    for sentence in recording.notes:
        note(sentence)
    (record,) = recording.records
    if record.coverage.dropped:
        note(f"{record.name}: {record.coverage.dropped} frames came faster than they could be read and were left out")
    if record.coverage.frames and not as_json and not quiet:
        _print_people(recording, analyzer, time.monotonic() - began)
    return recording, stopped[0] if stopped else 0


def _print_people(recording: Recording, analyzer: Analyzer, took: float) -> None:
    (record,) = recording.records
    table = Table("person", box=None, header_style="bold", pad_edge=False)
    table.columns[0].justify = "right"
    table.add_column("seen", justify="right")
    table.add_column("mostly")
    table.add_column("mean probability", no_wrap=True)
    table.add_column("episodes")
    by_person: dict[int, list[str]] = {}
    for episode in record.episodes:
        onset, offset = round(episode.onset, 3), round(episode.offset, 3)  # as files have them
        by_person.setdefault(episode.id, []).append(f"{episode.label} {onset:.1f}-{offset:.1f} s")
    for person in record.people:
        table.add_row(
            str(person.id),
            f"{person.seconds:.1f} s",
            *bar(person.label, person.probabilities[person.label], analyzer.label_names),
            _few(by_person.get(person.id, [])),
        )
    out.print(Text(readable(record.name), "bold"), soft_wrap=True)
    if record.people:
        printed(table)
    coverage = record.coverage
    out.print(
        f"{counted(len(record.people), 'person', 'people')} in {coverage.seconds:.1f} s, "
        f"faces in {coverage.share:.0%} of {counted(coverage.frames, 'frame')} at "
        f"{coverage.frames / max(took, 1e-6):.0f} fps · detector {analyzer.detector.name}, "
        f"model {analyzer.classifier.card.name}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _few(episodes: list[str]) -> str:
    more = len(episodes) - _EPISODES
    return ", ".join(episodes[:_EPISODES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _progress(frames: Frames, start: float, end: float | None, as_json: bool) -> Iterator[Callable[[float, int], None]]:
    """Time in the film, how much faster than that it goes, and the ETA."""
    total = frames.duration
    if total is not None:
        total = max(min(total, end or total) - start, 0.0)
    shown = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[about]}"),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
        disable=not shows_progress() or (as_json and out.is_terminal),
    )  # fmt: skip
    began = time.monotonic()
    with shown:
        task = shown.add_task(Path(frames.name).name, total=total, about="")

        def show(now: float, count: int) -> None:
            took = max(time.monotonic() - began, 1e-6)
            about = f"{now:.1f} s{f' of {start + total:.1f} s' if total is not None else ''}"
            shown.update(
                task, completed=now - start, about=f"{about} · {(now - start) / took:.1f}x · {count / took:.0f} fps"
            )

        yield show
