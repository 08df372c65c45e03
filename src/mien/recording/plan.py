"""What is to be read and where everything goes, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError, InputErrors, MienError
from mien.files import printable
from mien.media.frames import Frames
from mien.media.images import is_url
from mien.media.opening import FrameSource, named
from mien.media.sources import Source, find_sources
from mien.output.episodes import check_episodes
from mien.output.places import mirrored, places
from mien.output.tables import Table, beside, check_table
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
        found = [one for one in self.sources if isinstance(one, Source)]
        if to.save is not None and len(found) < len(self.sources):
            raise InputError("save is for files: what is read here has no name; give video for an annotated film")
        self._annotated = mirrored(found, to.save) if to.save is not None else {}
        self._videos = self._places([to.video] if to.video is not None else [], "video", check_video)
        self._episodes = self._places(to.episodes, "episodes", check_episodes)
        self._timelines = self._places(to.timelines, "timeline", check_timeline)
        for table in (*to.tables, *to.frames):
            if not isinstance(table, Table):
                check_table(table)
        self._check_collisions()

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
        if self._videos and not self.is_picture(i):
            return self._videos[i][0]
        return self._annotated.get(self.sources[i]) if isinstance(self.sources[i], Source) else None

    def episodes(self, i: int) -> list[Path]:
        """Where the episodes of a film go."""
        return self._episodes.get(i, [])

    def timelines(self, i: int) -> list[Path]:
        """Where its timelines go."""
        return self._timelines.get(i, [])

    def _places(self, paths: Sequence[PathLike], what: str, check: Callable[[Path], None]) -> dict[int, list[Path]]:
        """The files of each film."""
        found: dict[int, list[Path]] = {}
        for path in paths:
            if not self._moving:
                raise InputError(f"{path} needs a film or stream, but only pictures were given")
            for i, place in zip(self._moving, places(path, [self.name(i) for i in self._moving], what), strict=True):
                check(place)
                found.setdefault(i, []).append(place)
        return found

    def _check_collisions(self) -> None:
        """No file is written twice, and none that is read."""
        outputs: list[Path] = []
        for table in (*self.to.tables, *self.to.frames):
            if not isinstance(table, Table):
                outputs += [Path(table), *beside(Path(table))]
        for each in (self._videos, self._episodes, self._timelines):
            outputs += [place for found in each.values() for place in found]
        if not self._videos:
            outputs += self._annotated.values()
        sources = {
            _resolved(one.path) for one in self.sources
            if isinstance(one, Source) and one.kind in {"picture", "film"} and not is_url(one.name)
        }  # fmt: skip
        sources |= {_resolved(one.file) for one in self.sources if isinstance(one, Frames) and one.file is not None}
        seen: set[Path] = set()
        for output in outputs:
            place = _resolved(output)
            if place in sources:
                raise InputError(f"{printable(output)} would overwrite what is to be read; name another file")
            if place in seen:
                raise InputError(f"{printable(output)} is named for two outputs; give each a file of its own")
            seen.add(place)


def _resolved(path: Path) -> Path:
    """Links in folders followed, so that one file has one name."""
    return path.parent.resolve() / path.name


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | Path | Table) else list(value)


def _sources(source: FrameSource | Frames) -> tuple[list[Any], list[MienError]]:
    if isinstance(source, Frames):
        return [source], []
    names, pictures = named(source)
    if names is None:
        return [pictures], []
    given = [item for item in names if isinstance(item, Source)]
    found, problems = find_sources([str(i) if isinstance(i, int) else i for i in names if not isinstance(i, Source)])
    if not given and not found:
        raise InputErrors.of(problems)
    return [*given, *found], list(problems)
