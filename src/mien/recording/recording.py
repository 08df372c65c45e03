"""`Recording`: everything that was read from one source, or from several; what `mien.watch` returns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.checks import number
from mien.columns import columns_to_pandas, columns_to_polars
from mien.errors import InputError, MienError
from mien.faces import Faces
from mien.files import printable, replacing
from mien.labels import LABELS
from mien.output.episodes import check_episodes, save_episodes
from mien.output.places import places
from mien.output.tables import check_table, open_frames_table, open_table
from mien.output.timeline.bins import Timeline
from mien.output.timeline.render import check_timeline, save_timeline
from mien.recording.log import FaceLog
from mien.tracking.episodes import Episode

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class Person:
    """Somebody who was followed through one source; times are seconds from its start.

    first, last    when they were seen first and last
    seconds        for how long they were seen
    label          the expression with the highest mean probability
    probabilities  mean probability of each expression over all frames of them
    """

    source: str
    id: int
    first: float
    last: float
    seconds: float
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Coverage:
    """How much of what was read shows faces, of one source or of all of them together.

    frames             that were read
    frames_with_faces  of these
    faces              found in all of them
    seconds            from the first frame that was read to the end of the last
    dropped            frames of a live source that came faster than they could be read
    """

    source: str
    frames: int
    frames_with_faces: int
    faces: int
    seconds: float
    dropped: int = 0

    @property
    def share(self) -> float:
        """Of the frames that show a face, 0..1; 0 without a frame."""
        return self.frames_with_faces / self.frames if self.frames else 0.0


def total(each: Sequence[Coverage], name: str) -> Coverage:
    """Of several together."""
    return Coverage(
        name, sum(one.frames for one in each), sum(one.frames_with_faces for one in each),
        sum(one.faces for one in each), sum(one.seconds for one in each), sum(one.dropped for one in each),
    )  # fmt: skip


@dataclass
class SourceRecord:
    """What was read from one source; pictures have neither people nor a timeline."""

    name: str
    coverage: Coverage
    people: list[Person] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    timeline: Timeline | None = None


@dataclass(repr=False)
class Recording:
    """Everything that was read, of one source or of several in their order.

    records      what was read from each source
    provenance   version, model and detector with their SHA-256, options, machine, date
    problems     what went wrong: sources that are missing or damaged, outputs that could not be written
    notes        what else is worth knowing, in sentences
    written      the files that were written
    interrupted  whether it was stopped before the end
    logs         the faces of every frame, where they were kept
    """

    records: list[SourceRecord] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    problems: list[MienError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    interrupted: bool = False
    logs: list[FaceLog] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """Their names."""
        return [record.name for record in self.records]

    @property
    def people(self) -> list[Person]:
        """Everybody who was followed, source by source; an id is one person's within a source."""
        return [person for record in self.records for person in record.people]

    @property
    def episodes(self) -> list[Episode]:
        """Source by source, by their onset."""
        return [episode for record in self.records for episode in record.episodes]

    @property
    def coverage(self) -> Coverage:
        """Of all sources together; each one's own is in `records`."""
        each = [record.coverage for record in self.records]
        return each[0] if len(each) == 1 else total(each, f"{len(each)} sources")

    def frames(self) -> list[Faces]:
        """The faces of every frame again, without pictures. Raises InputError where they were not kept."""
        return [faces for log in self._kept() for faces in log.frames()]

    def to_polars(self) -> pl.DataFrame:
        """One row per face and frame, with the columns of written tables. Raises InputError where the faces were not
        kept, MissingExtraError without polars."""
        return columns_to_polars([(log.columns(self._min_confidence), log.label_names) for log in self._kept()])

    def to_pandas(self) -> pd.DataFrame:
        """As `to_polars`, for pandas."""
        return columns_to_pandas([(log.columns(self._min_confidence), log.label_names) for log in self._kept()])

    @property
    def _min_confidence(self) -> float:
        return float(self.provenance.get("options", {}).get("min_confidence", 0.0))

    def _kept(self) -> list[FaceLog]:
        if self.records and not self.logs:
            raise InputError("the faces of each frame were not kept; watch with keep=True, or read the table it wrote")
        return self.logs

    def summary(self) -> dict[str, Any]:
        """For JSON: per source its coverage and people, each with how often they showed what and for how long."""
        return {
            "sources": [
                {
                    **asdict(record.coverage),
                    "source": printable(record.name),
                    "share_with_faces": round(record.coverage.share, 4),
                    "people": [_person(person, record.episodes) for person in record.people],
                }
                for record in self.records
            ],
            "interrupted": self.interrupted,
            "problems": [str(problem) for problem in self.problems],
            "notes": list(self.notes),
            "provenance": self.provenance,
        }

    def save(
        self,
        folder: str | Path | None = None,
        *,
        table: str | Path | None = None,
        frames: str | Path | None = None,
        episodes: str | Path | None = None,
        timeline: str | Path | None = None,
        min_confidence: float | None = None,
    ) -> list[Path]:
        """Write files as `mien.watch` does, and give their paths.

        `folder` gets all of them: faces.csv, frames.csv, summary.json, and the episodes (.csv) and timeline (.png) of
        each film. `min_confidence` is the one that was watched with unless told. Raises InputError where the faces of
        each frame are asked for and were not kept, or a path has another ending; OutputError when a file cannot be
        written.
        """
        if folder is not None:
            folder = Path(folder)
            table, frames = table or folder / "faces.csv", frames or folder / "frames.csv"
            episodes, timeline = episodes or folder / "episodes", timeline or folder / "timelines"
        films = [record for record in self.records if record.timeline is not None]
        names = [record.name for record in films]
        limit = (
            self._min_confidence
            if min_confidence is None
            else number("min_confidence", min_confidence, least=0, most=1)
        )
        about = {**self.provenance, "options": {**self.provenance.get("options", {}), "min_confidence": limit}}
        episode_places = [] if episodes is None else places(episodes, names, "episodes")
        timeline_places = [] if timeline is None else places(timeline, names, "timeline")
        files = [Path(one) for one in (table, frames) if one is not None]
        for path, check in (
            *((one, check_table) for one in files),
            *((one, check_episodes) for one in episode_places),
            *((one, check_timeline) for one in timeline_places),
        ):
            check(path)
        if len({*files, *episode_places, *timeline_places}) < len([*files, *episode_places, *timeline_places]):
            raise InputError("two outputs are named alike; give each a file of its own")
        written = []
        if table is not None:
            label_names = self._kept()[0].label_names if self.records else LABELS
            with open_table(table, limit, label_names, about) as rows:
                for faces in self.frames():
                    rows.write(faces)
            written.append(Path(table))
        if frames is not None:
            with open_frames_table(frames, about) as rows:
                for faces in self.frames():
                    rows.write(faces)
            written.append(Path(frames))
        for i, record in enumerate(films):
            if episodes is not None:
                written.append(episode_places[i])
                save_episodes(written[-1], record.name, record.episodes)
            if timeline is not None and record.timeline is not None:
                written.append(timeline_places[i])
                save_timeline(written[-1], record.timeline, record.episodes)
        if folder is not None:
            written.append(folder / "summary.json")
            with replacing(written[-1], f"the summary {written[-1]}") as part:
                part.write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
        return written

    def __repr__(self) -> str:
        coverage = self.coverage
        shown = ", ".join(source or "arrays" for source in self.sources[:2]) + (
            f" and {len(self.sources) - 2} more" if len(self.sources) > 2 else ""
        )
        parts = [
            shown or "nothing", _counted(coverage.frames, "frame"), _counted(len(self.people), "person", "people"),
            _counted(len(self.episodes), "episode"),
        ]  # fmt: skip
        if coverage.frames:
            parts.append(f"faces in {coverage.share:.0%} of the frames")
        if self.problems:
            parts.append(_counted(len(self.problems), "problem"))
        return f"Recording({', '.join(parts)}{', interrupted' if self.interrupted else ''})"

    def _repr_html_(self) -> str:
        """For notebooks: everybody who was seen, with what they showed most."""
        rows = "".join(
            f"<tr><td>{escape(printable(p.source))}</td><td>{p.id}</td><td>{p.seconds:.1f} s</td>"
            f"<td>{escape(p.label)}</td><td>{p.probabilities[p.label]:.0%}</td></tr>"
            for p in self.people
        )
        head = "<tr><th>source</th><th>person</th><th>seen</th><th>mostly</th><th>mean probability</th></tr>"
        style = "font:13px system-ui,sans-serif"
        return f'<div style="{style}"><p>{escape(repr(self))}</p><table>{head}{rows}</table></div>'


def _counted(count: int, thing: str, many: str = "") -> str:
    return f"{count} {thing if count == 1 else many or thing + 's'}"


def _person(person: Person, episodes: Sequence[Episode]) -> dict[str, Any]:
    own = [episode for episode in episodes if episode.id == person.id]
    seconds: Counter[str] = Counter()
    for episode in own:
        seconds[episode.label] += episode.duration  # type: ignore[assignment]
    return {
        "id": person.id,
        "first_s": round(person.first, 3),
        "last_s": round(person.last, 3),
        "seconds": round(person.seconds, 3),
        "label": person.label,
        "probabilities": {label: round(p, 4) for label, p in person.probabilities.items()},
        "episodes": dict(Counter(episode.label for episode in own)),
        "episode_seconds": {label: round(length, 3) for label, length in seconds.items()},
    }
