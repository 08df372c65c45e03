"""A timeline laid out: one lane per person, of areas and words that are the same on paper and on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.drawing.annotate import colours
from mien.drawing.raster import text_length
from mien.output.timeline.bins import Timeline
from mien.tracking.episodes import MIN_DURATION, Episode

MAX_LANES = 16
"""People who get a lane: those seen longest, and for no shorter than an episode lasts."""

WIDTH, LEFT, RIGHT = 1280, 150, 28
TOP, _BOTTOM = 80, 46
_STRIP, _GAP = 18, 20
_FONT = 13
_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


Point = tuple[float, float]


@dataclass(frozen=True)
class Area:
    """A filled polygon; `colour` is `rgb(...)` or a tone of the page: ink, faint, line or paper."""

    points: list[Point]
    colour: str
    hint: str = ""


@dataclass(frozen=True)
class Words:
    """Text whose middle height is at y, beginning (`start`), centred (`middle`) or ending (`end`) at x."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    anchor: str = "start"
    size: int = _FONT


@dataclass
class Scene:
    """A drawing, for PNG and SVG alike; later areas lie over earlier ones. Its heading is left to each of them."""

    width: int
    height: int
    title: str
    about: str
    legend: list[tuple[str, str]]
    """Labels and their colours."""
    areas: list[Area] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: str, hint: str = "") -> None:
        self.areas.append(Area([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour, hint))


def draw_timeline(timeline: Timeline, episodes: Iterable[Episode] = ()) -> Scene:
    """One lane for each of the people seen longest: their probabilities stacked over time, episodes below."""
    everybody = timeline.people()
    lasting = [person for person in everybody if timeline.seconds(person) >= MIN_DURATION]
    people = sorted((lasting or everybody)[:MAX_LANES])
    lane = 96 if len(people) <= 3 else 64 if len(people) <= 6 else 44
    height = TOP + max(len(people), 1) * (lane + _STRIP + 4 + _GAP) + _BOTTOM
    paints = {label: "rgb({},{},{})".format(*colour) for label, colour in colours(timeline.label_names).items()}
    stack = sorted(timeline.label_names, key="neutral".__eq__)  # neutral on top, so that expressions grow from the base
    legend = [(label, paints[label]) for label in stack]
    scene = Scene(WIDTH, height, *_heading(timeline, len(everybody) - len(people)), legend)
    span = max(timeline.duration, 1.0)
    plot = WIDTH - LEFT - RIGHT

    def x(seconds: float) -> float:
        return LEFT + min(max(seconds / span, 0.0), 1.0) * plot

    bottom = height - _BOTTOM
    for tick in _ticks(span):
        scene.box(x(tick) - 0.5, TOP - 6, x(tick) + 0.5, bottom + 5, "line")
        scene.words.append(Words(x(tick), bottom + 18, clock(tick, span), "faint", "middle", 12))
    if not people:
        scene.words.append(Words(LEFT + plot / 2, (TOP + bottom) / 2, "nobody was seen", "faint", "middle", 15))
    by_person: dict[int, list[Episode]] = {}
    for episode in episodes:
        by_person.setdefault(episode.id, []).append(episode)
    for row, person in enumerate(people):
        top = TOP + row * (lane + _STRIP + 4 + _GAP)
        base = top + lane
        dominant = timeline.label_names[int(timeline.mean(person).argmax())]
        scene.words.append(Words(16, top + lane / 2 - 9, f"person {person}", size=15))
        seen = f"{length(timeline.seconds(person))}, {dominant}"
        scene.words.append(Words(16, top + lane / 2 + 10, seen, "faint", size=12))
        scene.box(LEFT, base, LEFT + plot, base + 1, "line")
        for edges, probs in timeline.runs(person):
            shares = probs[:, [timeline.label_names.index(label) for label in stack]]
            _stack(scene, [x(edge) for edge in edges], shares, base, lane)
        for episode in by_person.get(person, ()):
            _episode(scene, episode, paints[episode.label], x(episode.onset), x(episode.offset), base + 4, span)
    return scene


def _heading(timeline: Timeline, others: int) -> tuple[str, str]:
    """Title, and what is to be seen."""
    title = Path(timeline.source).name.encode("utf-8", "backslashreplace").decode() or "timeline"
    about = f"{length(timeline.duration)} · smoothed probabilities, episodes below"
    if others:
        about += f" · {others} more {'person' if others == 1 else 'people'}, seen for less time, left out"
    return title if len(title) < 90 else f"{title[:88]}…", about


def _stack(scene: Scene, edges: Sequence[float], probs: NDArray[np.float64], base: float, height: float) -> None:
    """Stacked areas of one stretch in the order of the legend, as steps: all reach down to the base, the lowest lies
    over the others."""
    tops = np.cumsum(probs, axis=1)
    for k, (_, colour) in reversed(list(enumerate(scene.legend))):
        steps = [(edges[i + side], base - height * top) for i, top in enumerate(tops[:, k]) for side in (0, 1)]
        scene.areas.append(Area([(edges[0], base), *steps, (edges[-1], base)], colour))


def _episode(scene: Scene, episode: Episode, colour: str, x1: float, x2: float, top: float, span: float) -> None:
    x2 = max(x2, x1 + 1.5)
    hint = f"person {episode.id}: {episode.label}, {clock(episode.onset, span, 1)} to {clock(episode.offset, span, 1)}"
    hint += f", mean probability {episode.mean:.0%}"
    inset = min(1.0, (x2 - x1) / 4)  # neighbours stay apart
    scene.box(x1, top, x2 - inset, top + _STRIP, colour, hint)
    if text_length(episode.label, 11) + 8 <= x2 - x1:
        scene.words.append(Words((x1 + x2) / 2, top + _STRIP / 2, episode.label, "on-colour", "middle", 11))


def _ticks(span: float) -> list[float]:
    step = next((s for s in _STEPS if span / s <= 11), _STEPS[-1] * ceil(span / _STEPS[-1] / 11))
    return [k * step for k in range(int(span / step + 1e-9) + 1)]


def clock(seconds: float, span: float, digits: int = 0) -> str:
    """A moment as seconds, m:ss or h:mm:ss, whichever a source of `span` seconds needs; rounded from milliseconds, as
    files have it, so that a page never differs from them in the last place."""
    seconds = round(seconds, 3)
    if span < 60:
        return f"{seconds:.{digits or (0 if seconds == int(seconds) else 1)}f} s"
    text = f"{seconds % 60:0{3 + digits if digits else 2}.{digits}f}"
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if span >= 3600 else f"{minutes}:{text}"


def length(seconds: float) -> str:
    """A duration in words."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{int(seconds // 60)} min {int(seconds % 60)} s" if minutes < 10 else f"{minutes} min"
