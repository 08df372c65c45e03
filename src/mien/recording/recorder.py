"""`Recorder`: one source's frames and faces, as they come, to every output that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.drawing.annotate import annotate
from mien.errors import MienError, OutputError
from mien.faces import Faces
from mien.labels import LABELS
from mien.output.episodes import save_episodes
from mien.output.tables import Table, open_frames_table, open_table
from mien.output.timeline.bins import Timeline
from mien.output.timeline.render import save_timeline
from mien.output.video import Original, open_video
from mien.recording.log import FaceLog
from mien.recording.outputs import Outputs
from mien.recording.recording import Coverage, Person, SourceRecord
from mien.tracking.episodes import Episode, EpisodeFinder


class Recorder:
    """Takes one source's frames in their order; `finish` completes the files and gives what was read.

    Tables are paths, or tables that are open and stay so. `original` is the film whose sound goes into the annotated
    film, up to `end` seconds. With `keep` the faces of every frame stay in memory, too. Raises InputError for a path
    whose ending says nothing, OutputError for a place that cannot be written.
    """

    def __init__(
        self,
        name: str,
        label_names: tuple[str, ...] = LABELS,
        *,
        tables: Sequence[Path | Table] = (),
        frame_tables: Sequence[Path | Table] = (),
        video: Path | None = None,
        original: Original | None = None,
        end: float | None = None,
        episodes: Sequence[Path] = (),
        timelines: Sequence[Path] = (),
        min_confidence: float = 0.0,
        provenance: dict[str, Any] | None = None,
        keep: bool = False,
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self.frames, self.dropped = 0, 0
        self._frames_with_faces = self._faces = 0
        self._first = self.last = 0.0
        self._min_confidence = min_confidence
        self._episode_paths, self._timeline_paths = episodes, timelines
        self._finder, self._timeline = EpisodeFinder(), Timeline()
        self._episodes: list[Episode] = []
        self._seen: dict[int, tuple[float, float]] = {}
        self.log = FaceLog() if keep else None
        self._outputs = Outputs()
        self._video = self._outputs.open(open_video(video, original, end), video) if video is not None else None
        self._tables: list[Table] = []
        for table in tables:
            if isinstance(table, Path):
                table = self._outputs.open(open_table(table, min_confidence, label_names, provenance), table)
            self._tables.append(table)
        for table in frame_tables:
            if isinstance(table, Path):
                table = self._outputs.open(open_frames_table(table, provenance), table)
            self._tables.append(table)

    def write(self, image: NDArray[np.uint8] | None, faces: Faces, *, annotated: bool = False) -> None:
        """Take in the next frame, `(H, W, 3)` uint8 RGB, which only the annotated film needs; `annotated` says that the
        faces are drawn in already.

        An output that fails takes nothing more, and `finish` says why; see `failed`.
        """
        self._first = faces.time if not self.frames else self._first
        self.frames, self.last = self.frames + 1, faces.time
        self._frames_with_faces += len(faces) > 0
        self._faces += len(faces)
        if self.log is not None:
            self.log.add(faces.replace(image=None))
        if faces.ids is not None:
            self._timeline.add(faces)
            if faces.probs is not None:
                self._episodes += self._finder.update(faces)
            for person in faces.ids[faces.ids > 0].tolist():
                self._seen[person] = (self._seen.get(person, (faces.time, 0.0))[0], faces.time)
        for table in self._tables:
            with suppress(OutputError):  # closing it says so
                table.write(faces)
        if self._video is not None and image is not None and self._video.failure is None:
            drawn = image if annotated else annotate(image, faces, self._min_confidence)
            with suppress(OutputError):
                self._video.write(drawn, faces.time)

    @property
    def failures(self) -> list[OutputError]:
        """Why tables or the film take nothing more."""
        each = [table.failure for table in self._tables] + [self._video.failure if self._video is not None else None]
        return [failure for failure in each if failure is not None]

    @property
    def failed(self) -> bool:
        """Whether everything that is to be written has failed."""
        begun = len(self._tables) + (self._video is not None)
        return 0 < begun == len(self.failures) and not (self._episode_paths or self._timeline_paths)

    def finish(self, *, interrupted: bool = False) -> SourceRecord:
        """Complete all outputs; those that fail are in `problems`. `interrupted` ends the film's sound with its last
        frame."""
        if self._video is not None and interrupted:
            self._video.cut()
        self._outputs.close()
        if self._video is not None and self._video.note:
            self.notes.append(f"{self.name}: {self._video.note}")
        self._episodes += self._finder.close()
        self._episodes.sort(key=lambda episode: (episode.onset, episode.id))
        if self.frames:
            for path in self._episode_paths:
                self._save(path, lambda path: save_episodes(path, self.name, self._episodes))
            for path in self._timeline_paths:
                self._save(path, lambda path: save_timeline(path, self._timeline, self._episodes))
        seconds = self.last - self._first + self._timeline.interval if self.frames else 0.0
        coverage = Coverage(self.name, self.frames, self._frames_with_faces, self._faces, seconds, self.dropped)
        return SourceRecord(self.name, coverage, self._people(), self._episodes, self._timeline)

    def _save(self, path: Path, save: Callable[[Path], None]) -> None:
        try:
            save(path)
        except OutputError as error:
            self.problems.append(error)
        else:
            self.written.append(path)

    @property
    def written(self) -> list[Path]:
        """The files that are whole."""
        return self._outputs.written

    @property
    def problems(self) -> list[MienError]:
        """Why others are not."""
        return self._outputs.problems

    def _people(self) -> list[Person]:
        people = []
        for person in sorted(self._timeline.people()):
            mean = self._timeline.mean(person)
            names = self._timeline.label_names
            people.append(
                Person(
                    self.name, person, *self._seen[person], self._timeline.seconds(person), names[int(mean.argmax())],
                    dict(zip(names, mean.tolist(), strict=True)),
                )
            )  # fmt: skip
        return people
