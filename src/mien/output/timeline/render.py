"""Writes a timeline as a picture or as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from mien.drawing.raster import text_length, typeface
from mien.errors import InputError, did_you_mean
from mien.files import replacing
from mien.output.timeline.bins import Timeline
from mien.output.timeline.layout import LEFT, RIGHT, TOP, WIDTH, Area, Scene, Words, draw_timeline
from mien.tracking.episodes import Episode

_LEGEND = 660
"""Width of its rows in pixels."""

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
    heading = [Words(16, 24, scene.title, size=18), Words(16, 48, scene.about, "faint", size=13)]
    for words in [
        *scene.words,
        *heading,
        *(Words(a.points[1][0] + 5, a.points[1][1] + 6, a.hint, size=13) for a in squares),
    ]:
        place = words.x * scale, words.y * scale
        draw.text(place, words.text, _LIGHT[words.colour], typeface(words.size * scale), anchor=anchors[words.anchor])
    return image


def _legend(scene: Scene) -> list[Area]:
    """A square for each label, in rows that end at the right; its name goes to the right of it."""
    rows: list[list[tuple[str, str]]] = [[]]
    for entry in scene.legend:
        if sum(text_length(label, 13) + 31 for label, _ in [*rows[-1], entry]) > _LEGEND:
            rows.append([])
        rows[-1].append(entry)
    squares = []
    for k, row in enumerate(rows):
        at, y = float(WIDTH - RIGHT), 18 + 18 * k
        for label, colour in reversed(row):
            at -= round(text_length(label, 13)) + 17
            squares.append(Area([(at, y), (at + 12, y), (at + 12, y + 12), (at, y + 12)], colour, label))
            at -= 14
    return squares


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
main > svg { flex-grow: {{ left }}; min-width: {{ left }}px; }
main > div { flex-grow: {{ scene.width - left }}; min-width: 0; overflow-x: auto; }
main > div > svg { min-width: {{ scene.width - left }}px; }
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

    left = LEFT - 30  # room for the first label of the time axis
    names = [words for words in scene.words if words.x < left]
    others = [words for words in scene.words if words.x >= left]
    return Environment(autoescape=True).from_string(_PAGE).render(
        scene=scene, left=left, top=TOP - 12, names=names, others=others, path=_path, paint=paint,
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
