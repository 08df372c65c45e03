"""What is to be read and where everything goes, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError, InputErrors, MienError
from mien.faces import printable
from mien.media.frames import Frames
from mien.media.opening import FrameSource
from mien.media.sources import Source, find_sources
from mien.output.episodes import check_episodes
from mien.output.places import is_folder, mirrored, place_for
from mien.output.tables import Table, check_table
from mien.output.timeline.render import check_timeline
from mien.output.video import check_video

PathLike = str | Path
TableLike = PathLike | Table
ManyPaths = PathLike | Sequence[PathLike] | None
ManyTables = TableLike | Sequence[TableLike] | None


@dataclass
class Destinations:
    """Where everything goes, as `mien.watch` is told."""

    tables: list[TableLike] = field(default_factory=list)
    frames: list[TableLike] = field(default_factory=list)
    video: PathLike | None = None
    save: Path | None = None
    episodes: list[PathLike] = field(default_factory=list)
    timelines: list[PathLike] = field(default_factory=list)

    @classmethod
    def of(
        cls, table: ManyTables, frames: ManyTables, video: PathLike | None, save: PathLike | None, episodes: ManyPaths,
        timeline: ManyPaths,
    ) -> Destinations:  # fmt: skip
        """Each may be one path or several."""
        folder = None if save is None else Path(save)
        return cls(_listed(table), _listed(frames), video, folder, _listed(episodes), _listed(timeline))


class Plan:
    """The sources in their order, and for each of them the files that are its own.

    sources    Source, opened Frames, or an iterable of arrays
    problems   why some that were named are not among them

    Raises InputError when there is nothing to read, or a file cannot be what it is named for.
    """

    def __init__(self, source: FrameSource | Frames, to: Destinations) -> None:
        self.sources, self.problems = _sources(source)
        self.to = to
        self._moving = [i for i in range(len(self.sources)) if not self.is_picture(i)]
        self._names = [self.name(i) for i in self._moving]
        found = [one for one in self.sources if isinstance(one, Source)]
        self._mirrored = mirrored(found, to.save) if to.save is not None else {}
        self._check()

    def name(self, i: int) -> str:
        """What a source is called; "" for arrays."""
        one = self.sources[i]
        return one.name if isinstance(one, Source | Frames) else ""

    def is_picture(self, i: int) -> bool:
        """Whether a source is a picture by itself."""
        one = self.sources[i]
        return isinstance(one, Source) and one.kind == "picture"

    def annotated(self, i: int) -> Path | None:
        """Where the annotated picture or film goes."""
        if self.to.video is not None and not self.is_picture(i):
            return self._place(self.to.video, i, "video")
        return self._mirrored.get(self.sources[i]) if isinstance(self.sources[i], Source) else None

    def episodes(self, i: int) -> list[Path]:
        """Where the episodes of a film go."""
        return [self._place(path, i, "episodes") for path in self.to.episodes]

    def timelines(self, i: int) -> list[Path]:
        """Where its timelines go."""
        return [self._place(path, i, "timeline") for path in self.to.timelines]

    def _place(self, path: PathLike, i: int, what: str) -> Path:
        return place_for(path, self._names, self._moving.index(i), what)

    def _check(self) -> None:
        to = self.to
        for table in (*to.tables, *to.frames):
            if not isinstance(table, Table):
                check_table(table)
        wanted = [
            ([] if to.video is None else [to.video], "video", check_video),
            (to.episodes, "episodes", check_episodes),
            (to.timelines, "timeline", check_timeline),
        ]
        for paths, what, check in wanted:
            for path in paths:
                if not self._moving:
                    raise InputError(f"{path} is for films and streams, and none is named")
                place_for(path, self._names, 0, what)
                if not is_folder(path):
                    check(Path(path))
        named = [*to.tables, *to.frames, *to.episodes, *to.timelines, *([] if to.video is None else [to.video])]
        files = [Path(path) for path in named if not isinstance(path, Table) and not is_folder(path)]
        if twice := [path for i, path in enumerate(files) if path in files[:i]]:
            raise InputError(f"{printable(str(twice[0]))} is named for two outputs; give each a file of its own")


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | Path | Table) else list(value)


def _sources(source: FrameSource | Frames) -> tuple[list[Any], list[MienError]]:
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
        raise InputErrors.of(problems)
    return [*given, *found], list(problems)
