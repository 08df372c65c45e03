"""What `mien predict` shows: bars while it reads, then JSON, or tables of the pictures and of each film's people."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli.console import err, note, out, shows_progress
from mien.cli.formatting import bar, counted, printed
from mien.files import printable

if TYPE_CHECKING:
    from mien.faces import Faces
    from mien.recording.recording import Recording, SourceRecord
    from mien.recording.watch import Progress as Read

_EPISODES = 4
"""So many of each person are printed."""


class Results:
    """Takes what `mien.watch` reads, as its `progress`; a context manager around the call."""

    def __init__(
        self, *, as_json: bool, quiet: bool, min_confidence: float, start: float | None, end: float | None
    ) -> None:
        self._as_json, self._quiet, self._min_confidence = as_json, quiet, min_confidence
        self._start, self._end = start or 0.0, end
        self._pictures = _picture_table()
        self._failed = self._read = self._faces = self._with_faces = 0
        # Lines on the same terminal would tear the bars apart.
        self._bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[about]}"),
            TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
            disable=not shows_progress() or (as_json and out.is_terminal),
        )  # fmt: skip
        self._task = self._bars.add_task("", total=None, visible=False, about="")
        self._began, self._number, self._described = time.monotonic(), 0, ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, read: Read) -> None:
        """Take in a picture, a frame, or the end of a film."""
        if read.record is not None:
            self._end_film(read.record)
        elif read.picture:
            self._show_picture(read)
        elif read.faces is not None:
            self._show_frame(read, read.faces)

    def _show_picture(self, read: Read) -> None:
        if read.of > 1:
            about = f"{read.number}/{read.of}"
            self._bars.update(
                self._task, description="pictures", total=read.of, completed=read.number, about=about, visible=True
            )
        if read.faces is None:
            self._failed += 1
            self._pictures.add_row(printable(read.source), "", Text("failed", "bold red"), "", "")
            return
        self._read += 1
        self._faces += len(read.faces)
        self._with_faces += len(read.faces) > 0
        if self._as_json:
            self._print_json(read.faces)
            return
        name = Text(printable(read.source))
        if not len(read.faces):
            self._pictures.add_row(name, "", Text("no face", "dim"), "", "")
        for i, face in enumerate(read.faces):
            (label,) = face.labels(self._min_confidence)
            place = " ".join(f"{round(v)}" for v in face.box.tolist())
            shown = bar(label, face.confidence, face.label_names)
            self._pictures.add_row(name if i == 0 else "", str(i + 1), *shown, place)

    def _show_frame(self, read: Read, faces: Faces) -> None:
        if self._as_json:
            self._print_json(faces)
        if read.number != self._number:
            self._began, self._number = time.monotonic(), read.number
            self._bars.reset(self._task, description=Path(read.source).name, visible=True)
        total = read.duration
        if total is not None:
            total = max(min(total, self._end or total) - self._start, 0.0)
        took, seconds = max(time.monotonic() - self._began, 1e-6), read.seconds - self._start
        about = f"{read.seconds:.1f} s{f' of {self._start + total:.1f} s' if total is not None else ''}"
        about += f" · {seconds / took:.1f}x · {read.frames / took:.0f} fps"
        self._bars.update(self._task, total=total, completed=seconds, about=about)

    def _end_film(self, record: SourceRecord) -> None:
        if record.coverage.dropped:
            note(
                f"{printable(record.name)}: {record.coverage.dropped} frames came faster than they could be read and "
                "were left out"
            )
        if not (self._as_json or self._quiet):
            self._bars.update(self._task, visible=False)
            _print_people(record, time.monotonic() - self._began)

    def _print_json(self, faces: Faces) -> None:
        print(json.dumps(faces.to_dict(self._min_confidence)), file=out.file, flush=True)

    def finish(self, recording: Recording | None, failed: int) -> None:
        """What is said once at the end; `failed` is the number of all that went wrong."""
        for sentence in recording.notes if recording is not None else ():
            note(sentence)
        if self._as_json or self._quiet:
            return
        if not self._read + self._failed:
            if recording is not None and recording.records:
                out.print(_networks(recording), highlight=False, soft_wrap=True)
            return
        printed(self._pictures)
        about = "" if recording is None else f" · {_networks(recording)}"
        out.print(
            f"{counted(self._faces, 'face')} in {self._with_faces} of {counted(self._read + self._failed, 'image')}"
            f"{f', {failed} failed' if failed else ''}{about}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _networks(recording: Recording) -> str:
    names = recording.provenance
    return f"detector {names['detector']['name']}, model {names['model']['name']}"


def _picture_table() -> Table:
    table = Table("image", box=None, header_style="bold", pad_edge=False)
    table.columns[0].overflow = "fold"
    table.add_column("face", justify="right")
    table.add_column("expression")
    table.add_column("confidence", no_wrap=True)
    table.add_column("box (x1 y1 x2 y2)", style="dim")
    return table


def _print_people(record: SourceRecord, took: float) -> None:
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
        shown = bar(person.label, person.probabilities[person.label], tuple(person.probabilities))
        episodes = by_person.get(person.id, [])
        more = f" and {len(episodes) - _EPISODES} more" if len(episodes) > _EPISODES else ""
        table.add_row(str(person.id), f"{person.seconds:.1f} s", *shown, ", ".join(episodes[:_EPISODES]) + more)
    out.print(Text(printable(record.name), "bold"), soft_wrap=True)
    if record.people:
        printed(table)
    coverage = record.coverage
    out.print(
        f"{counted(len(record.people), 'person', 'people')} in {coverage.seconds:.1f} s, "
        f"faces in {coverage.share:.0%} of {counted(coverage.frames, 'frame')}, "
        f"read at {coverage.frames / max(took, 1e-6):.0f} fps",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
