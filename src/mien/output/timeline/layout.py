"""A timeline laid out: people in lanes, of areas and words that are the same on paper and on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.drawing.annotate import colours
from mien.drawing.raster import text_length
from mien.files import printable
from mien.output.timeline.bins import Timeline
from mien.output.timeline.lanes import Stay, assign_lanes
from mien.tracking.episodes import MIN_DURATION, Episode

WIDTH, LEFT, RIGHT = 1280, 150, 28
TOP, _BOTTOM = 80, 46
_STRIP, _GAP, _NAMES = 20, 20, 20
_FONT, _SMALL, _LARGE = 14, 13, 16
"""Sizes of text; none is smaller than the second, so that it can be read where a drawing is shown at its own size."""
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
    """Lanes of people with their probabilities stacked over time, episodes below.

    Who was seen for less time than an episode lasts gets no lane. Many people share lanes where they were not seen at
    the same time; where even those are too many, the people seen longest are shown.
    """
    span = max(timeline.duration, 1.0)
    lanes, others = _lanes(timeline)
    shared = any(len(lane) > 1 for lane in lanes)
    height = 96 if len(lanes) <= 3 else 64 if len(lanes) <= 6 else 48
    row_height = height + _STRIP + 4 + _GAP + (_NAMES if shared else 0)
    paints = {label: "rgb({},{},{})".format(*colour) for label, colour in colours(timeline.label_names).items()}
    legend = [(label, paints[label]) for label in timeline.label_names]
    total = TOP + (len(lanes) * row_height if lanes else 96 + _STRIP + 4 + _GAP) + _BOTTOM
    scene = Scene(WIDTH, total, *_heading(timeline, others, shared), legend)
    plot = WIDTH - LEFT - RIGHT

    def x(seconds: float) -> float:
        return LEFT + min(max(seconds / span, 0.0), 1.0) * plot

    bottom = total - _BOTTOM
    for tick in _ticks(span):
        scene.box(x(tick) - 0.5, TOP - 6, x(tick) + 0.5, bottom + 5, "line")
        scene.words.append(Words(x(tick), bottom + 18, clock(tick, span), "faint", "middle", _SMALL))
    if not lanes:
        scene.words.append(Words(LEFT + plot / 2, (TOP + bottom) / 2, "nobody was seen", "faint", "middle", _LARGE))
    by_person: dict[int, list[Episode]] = {}
    for episode in episodes:
        by_person.setdefault(episode.id, []).append(episode)
    for row, lane in enumerate(lanes):
        top = TOP + row * row_height + (_NAMES if shared else 0)
        base = top + height
        scene.box(LEFT, base, LEFT + plot, base + 1, "line")
        _lane_name(scene, timeline, lane, top + height / 2)
        if len(lane) > 1:
            _stay_names(scene, lane, [*(x(stay.start) for stay in lane), x(span)], top)
        for stay in lane:
            for edges, probs in timeline.runs(stay.person):
                _stack(scene, timeline.label_names, [x(edge) for edge in edges], probs, base, height)
            for episode in by_person.get(stay.person, ()):
                _episode(scene, episode, paints[episode.label], x(episode.onset), x(episode.offset), base + 4, span)
        for stay in lane[1:]:  # so that neighbours of one colour are told apart
            scene.box(x(stay.start) - 1, top, x(stay.start), base, "paper")
    return scene


def _lanes(timeline: Timeline) -> tuple[list[list[Stay]], int]:
    """The lanes, and how many people are in none."""
    everybody = timeline.people()
    lasting = [person for person in everybody if timeline.seconds(person) >= MIN_DURATION]
    stays = []
    for person in lasting or everybody:
        runs = timeline.runs(person)
        # Until the last stretch begins: so that a cut, at which one ends and another begins, is no overlap.
        stays.append(Stay(person, float(runs[0][0][0]), float(runs[-1][0][-2])))
    lanes = assign_lanes(stays)
    return lanes, len(everybody) - sum(map(len, lanes))


def _lane_name(scene: Scene, timeline: Timeline, lane: list[Stay], y: float) -> None:
    """On the left: who it is, for how long they were seen and what they showed most; of several, how many."""
    person = lane[0].person
    seen = length(sum(timeline.seconds(stay.person) for stay in lane))
    name = f"person {person}" if len(lane) == 1 else f"{len(lane)} people"
    if len(lane) == 1:
        seen += f", {timeline.label_names[int(timeline.mean(person).argmax())]}"
    scene.words.append(Words(16, y - 10, name, size=_LARGE))
    scene.words.append(Words(16, y + 10, seen, "faint", size=_SMALL))


def _stay_names(scene: Scene, lane: list[Stay], edges: list[float], top: float) -> None:
    """Over the stretches of a shared lane, which begin at `edges`: who it is, as far as there is room."""
    names = [f"person {stay.person}" for stay in lane]
    room = [x2 - x1 - 10 for x1, x2 in pairwise(edges)]
    if any(text_length(name, _SMALL) > width for name, width in zip(names, room, strict=True)):
        names = [str(stay.person) for stay in lane]
    for name, width, x in zip(names, room, edges, strict=False):
        scene.box(x, top - 14, x + 1, top, "faint")
        if text_length(name, _SMALL) <= width:
            scene.words.append(Words(x + 4, top - 9, name, size=_SMALL))


def _heading(timeline: Timeline, others: int, shared: bool) -> tuple[str, str]:
    """Title, and what is to be seen."""
    title = printable(Path(timeline.source).name) or "timeline"
    about = f"{length(timeline.duration)} · smoothed probabilities, episodes below"
    if shared:
        about += " · people seen at different times share lanes"
    if others:
        about += f" · {others} more {'person' if others == 1 else 'people'}, seen for less time, left out"
    return title if len(title) < 90 else f"{title[:88]}…", about


def _stack(
    scene: Scene,
    labels: Sequence[str],
    edges: Sequence[float],
    probs: NDArray[np.float64],
    base: float,
    height: float,
) -> None:
    """Stacked areas of one stretch, as steps: all reach down to the base, the lowest lies over the others. Neutral is
    on top, so that expressions grow from the base."""
    order = sorted(range(len(labels)), key=lambda k: labels[k] == "neutral")
    tops = np.cumsum(probs[:, order], axis=1)
    paints = dict(scene.legend)
    for k in reversed(range(len(order))):
        if probs[:, order[k]].max() * height < 0.25:
            continue
        steps = [(edges[i + side], base - height * top) for i, top in enumerate(tops[:, k]) for side in (0, 1)]
        scene.areas.append(Area([(edges[0], base), *steps, (edges[-1], base)], paints[labels[order[k]]]))


def _episode(scene: Scene, episode: Episode, colour: str, x1: float, x2: float, top: float, span: float) -> None:
    x2 = max(x2, x1 + 1.5)
    hint = f"person {episode.id}: {episode.label}, {clock(episode.onset, span, 1)} to {clock(episode.offset, span, 1)}"
    hint += f", mean probability {episode.mean:.0%}"
    inset = min(1.0, (x2 - x1) / 4)  # neighbours stay apart
    scene.box(x1, top, x2 - inset, top + _STRIP, colour, hint)
    if text_length(episode.label, _SMALL) + 8 <= x2 - x1:
        scene.words.append(Words((x1 + x2) / 2, top + _STRIP / 2, episode.label, "on-colour", "middle", _SMALL))


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
