"""Timelines: who showed what when, one lane per person, gathered frame by frame in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.draw import colours
from mien.episodes import MIN_DURATION, Episode
from mien.errors import InputError, did_you_mean
from mien.faces import Faces
from mien.files import replacing
from mien.labels import LABELS

BINS = 1024
"""Stretches of time that are told apart; they grow longer with the film."""
MAX_LANES = 16
"""People who get a lane: those seen longest, and for no shorter than an episode lasts."""

_FINEST = 1 / 64
"""Seconds of the first, shortest bins."""
_GAP_SECONDS = 0.25
"""For which somebody unseen still counts as seen."""
_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)

_WIDTH, _LEFT, _RIGHT = 1280, 150, 28
_TOP, _BOTTOM = 80, 46
_STRIP, _GAP = 18, 20
_FONT = 13
_LEGEND = 660
"""Width of its rows in pixels."""


class Timeline:
    """Sums of probabilities over stretches of time, for each person of one source."""

    def __init__(self) -> None:
        self.source, self.labels = "", LABELS
        self._bin, self._frames, self._last = _FINEST, 0, 0.0
        self._sums: dict[int, dict[int, NDArray[np.float64]]] = {}

    def add(self, faces: Faces) -> None:
        """Take in a frame whose faces have ids and probabilities; who is not followed (id 0) is left out."""
        self.source, self.labels, self._last = faces.source, faces.label_names, max(self._last, faces.time)
        self._frames += 1
        while faces.time >= self._bin * BINS:
            self._coarsen()
        if faces.ids is None or faces.probs is None:
            return
        where = int(faces.time / self._bin)
        for person, probs in zip(faces.ids.tolist(), faces.probs, strict=True):
            if person:
                sums = self._sums.setdefault(person, {})
                sums[where] = sums.get(where, 0) + np.append(probs, 1.0)

    def _coarsen(self) -> None:
        self._bin *= 2
        for person, sums in self._sums.items():
            merged: dict[int, NDArray[np.float64]] = {}
            for where, values in sums.items():
                merged[where // 2] = merged.get(where // 2, 0) + values
            self._sums[person] = merged

    @property
    def interval(self) -> float:
        """Mean seconds from frame to frame; 0 for a single one."""
        return self._last / max(self._frames - 1, 1)

    @property
    def duration(self) -> float:
        """Seconds to the end of the last frame."""
        return self._last + self.interval

    def people(self) -> list[int]:
        """Everybody, longest seen first."""
        return sorted(self._sums, key=lambda person: (-len(self._sums[person]), person))

    def seconds(self, person: int) -> float:
        """How long somebody was seen."""
        return float(sum(edges[-1] - edges[0] for edges, _ in self.runs(person)))

    def runs(self, person: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Stretches in which somebody was seen: edges in seconds `(k + 1,)`, mean probabilities between them
        `(k, labels)`.

        What lies between two frames takes the values of the one before, unless it is long.
        """
        sums = self._sums[person]
        reach = max(_GAP_SECONDS, 1.5 * self.interval) / self._bin
        stretches: list[list[int]] = []
        for where in sorted(sums):
            if not stretches or where - stretches[-1][-1] > max(reach, 1):
                stretches.append([])
            stretches[-1].append(where)
        runs = []
        for run in stretches:
            edges = np.append(np.array(run) * self._bin, run[-1] * self._bin + max(self.interval, self._bin))
            runs.append((edges, np.array([sums[where][:-1] / sums[where][-1] for where in run])))
        return runs

    def mean(self, person: int) -> NDArray[np.float64]:
        """Mean probabilities (labels,) over all frames of somebody."""
        total = np.sum(list(self._sums[person].values()), axis=0)
        mean: NDArray[np.float64] = total[:-1] / total[-1]
        return mean


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
    height = _TOP + max(len(people), 1) * (lane + _STRIP + 4 + _GAP) + _BOTTOM
    paints = {label: "rgb({},{},{})".format(*colour) for label, colour in colours(timeline.labels).items()}
    stack = sorted(timeline.labels, key="neutral".__eq__)  # neutral on top, so that expressions grow from the base
    legend = [(label, paints[label]) for label in stack]
    scene = Scene(_WIDTH, height, *_heading(timeline, len(everybody) - len(people)), legend)
    span = max(timeline.duration, 1.0)
    plot = _WIDTH - _LEFT - _RIGHT

    def x(seconds: float) -> float:
        return _LEFT + min(max(seconds / span, 0.0), 1.0) * plot

    bottom = height - _BOTTOM
    for tick in _ticks(span):
        scene.box(x(tick) - 0.5, _TOP - 6, x(tick) + 0.5, bottom + 5, "line")
        scene.words.append(Words(x(tick), bottom + 18, clock(tick, span), "faint", "middle", 12))
    if not people:
        scene.words.append(Words(_LEFT + plot / 2, (_TOP + bottom) / 2, "nobody was seen", "faint", "middle", 15))
    by_person: dict[int, list[Episode]] = {}
    for episode in episodes:
        by_person.setdefault(episode.id, []).append(episode)
    for row, person in enumerate(people):
        top = _TOP + row * (lane + _STRIP + 4 + _GAP)
        base = top + lane
        dominant = timeline.labels[int(timeline.mean(person).argmax())]
        scene.words.append(Words(16, top + lane / 2 - 9, f"person {person}", size=15))
        seen = f"{length(timeline.seconds(person))}, {dominant}"
        scene.words.append(Words(16, top + lane / 2 + 10, seen, "faint", size=12))
        scene.box(_LEFT, base, _LEFT + plot, base + 1, "line")
        for edges, probs in timeline.runs(person):
            shares = probs[:, [timeline.labels.index(label) for label in stack]]
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
    if text_width(episode.label, 11) + 8 <= x2 - x1:
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


def text_width(text: str, size: int) -> float:
    """In pixels."""
    return float(_font(size).getlength(text))


_LIGHT = {"paper": "#ffffff", "ink": "#1b1e24", "faint": "#667080", "line": "#e3e6eb", "on-colour": "#13151a"}
_DARK = {"paper": "#14161a", "ink": "#eceef2", "faint": "#98a1af", "line": "#2b3038", "on-colour": "#13151a"}


def save_timeline(path: str | Path, timeline: Timeline, episodes: Sequence[Episode] = ()) -> None:
    """Draw a timeline as `.png`, or as a page with an SVG inside, `.html`.

    Raises InputError for another ending or a place that cannot be written.
    """
    path = Path(path)
    check_timeline(path)
    scene = draw_timeline(timeline, episodes)
    with replacing(path, f"the timeline {path}") as part:
        if path.suffix.lower() == ".png":
            _png(scene).save(part, "PNG")
        else:
            part.write_text(_page(scene), encoding="utf-8")


def check_timeline(path: Path) -> None:
    """Raises InputError when a timeline cannot be of that kind."""
    if path.suffix.lower() not in {".png", ".html"}:
        hint = did_you_mean(path.suffix.lower(), [".png", ".html"])
        raise InputError(f"{path} should end in .png or .html to say what kind of timeline it is{hint}")


def _png(scene: Scene) -> Image.Image:
    """In light tones, drawn at twice its size and kept so."""
    scale = 2
    image = Image.new("RGB", (scene.width * scale, scene.height * scale), _LIGHT["paper"])
    draw = ImageDraw.Draw(image)
    squares = _legend(scene)
    for area in scene.areas + squares:
        draw.polygon([(px * scale, py * scale) for px, py in area.points], _LIGHT.get(area.colour, area.colour))
    anchors = {"start": "lm", "middle": "mm", "end": "rm"}
    heading = [Words(16, 24, scene.title, size=18), Words(16, 48, scene.about, "faint", size=12)]
    for words in [
        *scene.words,
        *heading,
        *(Words(a.points[1][0] + 5, a.points[1][1] + 6, a.hint, size=12) for a in squares),
    ]:
        place = words.x * scale, words.y * scale
        draw.text(place, words.text, _LIGHT[words.colour], _font(words.size * scale), anchor=anchors[words.anchor])
    return image


def _legend(scene: Scene) -> list[Area]:
    """A square for each label, in rows that end at the right; its name goes to the right of it."""
    rows: list[list[tuple[str, str]]] = [[]]
    for entry in scene.legend:
        if sum(text_width(label, 12) + 31 for label, _ in [*rows[-1], entry]) > _LEGEND:
            rows.append([])
        rows[-1].append(entry)
    squares = []
    for k, row in enumerate(rows):
        at, y = float(_WIDTH - _RIGHT), 18 + 18 * k
        for label, colour in reversed(row):
            at -= round(text_width(label, 12)) + 17
            squares.append(Area([(at, y), (at + 12, y), (at + 12, y + 12), (at, y + 12)], colour, label))
            at -= 14
    return squares


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ scene.title }}</title>
<style>
:root { color-scheme: light dark; {% for name, colour in light %}--{{ name }}: {{ colour }}; {% endfor %}}
@media (prefers-color-scheme: dark) { :root { {% for name, colour in dark %}--{{ name }}: {{ colour }}; {% endfor %}} }
body { margin: 0 auto; max-width: {{ 2 * scene.width }}px; background: var(--paper); color: var(--ink);
  font-family: system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .4rem 2rem; justify-content: space-between; padding: 1rem 1rem .4rem; }
h1 { font-size: 1.2rem; font-weight: 500; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { font-size: .85rem; margin: 0; color: var(--faint); }
ul { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .85rem; margin: .2rem 0; padding: 0;
  list-style: none; }
li::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em;
  background: var(--own); }
main { display: flex; }
main > * { flex: 1 1 0; }
svg { display: block; overflow: visible; }
main > svg { flex-grow: {{ left }}; min-width: {{ 0.75 * left }}px; }
main > div { flex-grow: {{ scene.width - left }}; min-width: 0; overflow-x: auto; }
main > div > svg { min-width: {{ 0.75 * (scene.width - left) }}px; }
</style>
<header>
<div><h1>{{ scene.title }}</h1><p>{{ scene.about }}</p></div>
<ul>{% for label, colour in scene.legend %}<li style="--own: {{ colour }}">{{ label }}</li>{% endfor %}</ul>
</header>
<main>
{%- macro drawing(x, width, areas, words) %}
<svg viewBox="{{ x }} {{ top }} {{ width }} {{ scene.height - top }}">
{% for area in areas -%}
<path d="{{ path(area) }}" fill="{{ paint(area.colour) }}"
{%- if area.hint %}><title>{{ area.hint }}</title></path>{% else %}/>{% endif %}
{% endfor -%}
{% for words in words -%}
<text x="{{ '%.1f' | format(words.x) }}" y="{{ '%.1f' | format(words.y) }}" dy=".35em" font-size="{{ words.size }}"
 text-anchor="{{ words.anchor }}" fill="{{ paint(words.colour) }}">{{ words.text }}</text>
{% endfor -%}
</svg>
{%- endmacro %}
{{ drawing(0, left, [], names) }}
<div tabindex="0" role="group" aria-label="timeline">{{ drawing(left, scene.width - left, scene.areas, others) }}</div>
</main>
</html>
"""


def _page(scene: Scene) -> str:
    """A page whose lanes can be scrolled under their names where it is narrow."""
    from jinja2 import Environment

    def paint(colour: str) -> str:
        return f"var(--{colour})" if colour in _LIGHT else colour

    left = _LEFT - 30  # room for the first label of the time axis
    names = [words for words in scene.words if words.x < left]
    others = [words for words in scene.words if words.x >= left]
    return Environment(autoescape=True).from_string(_PAGE).render(
        scene=scene, left=left, top=_TOP - 12, names=names, others=others, path=_path, paint=paint,
        light=_LIGHT.items(), dark=_DARK.items(),
    )  # fmt: skip


def _path(area: Area) -> str:
    """An SVG path, in the shortest words for steps."""
    x, y = (f"{value:.1f}" for value in area.points[0])
    parts = [f"M{x} {y}"]
    for point in area.points[1:]:
        new_x, new_y = (f"{value:.1f}" for value in point)
        if new_x != x and new_y != y:
            parts.append(f"L{new_x} {new_y}")
        elif new_x != x:
            if parts[-1].startswith("H"):
                parts.pop()
            parts.append(f"H{new_x}")
        elif new_y != y:
            parts.append(f"V{new_y}")
        x, y = new_x, new_y
    return "".join(parts) + "Z"
