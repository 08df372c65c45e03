"""Charts as inline SVG, from numbers alone; all colours are CSS variables of the page that holds them.

Classes: `s1` to `s6` colour a series, `grid`, `axis`, `tick`, `cell`, `on` the rest. Marks carry a <title>, which
browsers show under the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup, escape

Point = tuple[float, float]

SERIES = 6
_NOTHING = Markup("")
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 12, 44


def percent(share: float) -> str:
    """0.694 as `69.4 %`."""
    return f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """0.694 as `69 %`, small shares with a digit more."""
    return "0" if share == 0 else f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, a line at each tick; `text` writes a tick's value."""

    low: float
    high: float
    ticks: Sequence[float]
    label: str = ""
    text: Callable[[float], str] = "{:g}".format

    @classmethod
    def around(cls, values: Iterable[float], label: str = "", text: Callable[[float], str] = "{:g}".format) -> Axis:
        """Round limits that enclose all values."""
        known = list(values)
        low, high = min(known, default=0.0), max(known, default=1.0)
        step = _round_step(((high - low) or abs(high) or 1.0) / 5)
        first, last = floor(low / step), -floor(-high / step)
        last = max(last, first + 1)
        return cls(first * step, last * step, [k * step for k in range(first, last + 1)], label, text)


def shares(label: str = "") -> Axis:
    """0 to 100 %."""
    return Axis(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1], label, lambda share: f"{100 * share:.0f} %")


def _round_step(raw: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(raw))
    return float(next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999) * power)


@dataclass(frozen=True)
class Line:
    """A series: its points in order, its colour from 1 to SERIES or 0 for faint, with a dot on each point if `dots`."""

    name: str
    points: Sequence[Point]
    colour: int
    dashed: bool = False
    dots: bool = False


def legend(names: Sequence[tuple[str, int, bool]]) -> Markup:
    """Names with a stroke of their colour, dashed or not."""
    entries = _NOTHING
    for name, colour, dashed in names:
        stroke = _tag("path", d="M1 4H21", class_=_stroke(colour, dashed))
        entries += _tag(
            "span", _tag("svg", stroke, viewBox="0 0 22 8", width=22, height=8) + escape(name), class_="key"
        )
    return _tag("div", entries, class_="legend")


def line_chart(
    lines: Sequence[Line], x: Axis, y: Axis, name: str, *, size: tuple[int, int] = (460, 270), keys: bool = True,
    mark: tuple[Point, str] | None = None,
) -> Markup:  # fmt: skip
    """Lines over two axes, with a legend if `keys`; `mark` rings one point and says why, in the lower right corner."""
    plot = _Plot(size, x, y)
    body = [plot.frame()]
    for line in lines:
        path = "L".join(f"{plot.x(a):.1f} {plot.y(b):.1f}" for a, b in line.points)
        if path:
            body.append(_tag("path", d=f"M{path}", class_=_stroke(line.colour, line.dashed)))
        for a, b in line.points if line.dots else ():
            title = f"{line.name}: {x.text(a)}, {percent(b)}"
            body.append(_tag("circle", title=title, cx=plot.x(a), cy=plot.y(b), r=3, class_=f"f{line.colour}"))
    if mark is not None:
        (a, b), words = mark
        body.append(_tag("circle", cx=plot.x(a), cy=plot.y(b), r=4.5, class_="ring"))
        body.append(_text(size[0] - _RIGHT - 4, plot.y(y.low) - 16, words, "note", "end"))
    head = legend([(line.name, line.colour, line.dashed) for line in lines]) if keys else _NOTHING
    return head + _svg(size, name, body)


def matrix(
    labels: Sequence[str], values: Sequence[Sequence[float]], texts: Sequence[Sequence[str]], name: str
) -> Markup:
    """A square of cells, the fuller the higher the value; rows are true labels, columns predicted ones."""
    widest = round(5.5 * max(map(len, labels)))  # of the names, in pixels
    side, left, top = max(364 // len(labels), 36), max(78, widest + 28), 26
    upright = widest + 8 > side  # the columns' names, where they have no room to lie
    if upright:
        top = widest + 20
    reach = side * len(labels)
    size = (left + reach + 4, top + reach + 26)
    highest = max((value for row in values for value in row), default=0) or 1
    body = []
    for i, (row, words) in enumerate(zip(values, texts, strict=True)):
        y = top + i * side
        body.append(_text(left - 8, y + side / 2, labels[i], "tick", "end"))
        x = left + (i + 0.5) * side
        turn = f"rotate(-90 {x:.1f} {top - 12})" if upright else ""
        body.append(_text(x, top - 12, labels[i], "tick", "start" if upright else "middle", turn))
        for j, (value, text) in enumerate(zip(row, words, strict=True)):
            x, full = left + j * side, value / highest
            fill = _tag(
                "rect",
                x=x + 1,
                y=y + 1,
                width=side - 2,
                height=side - 2,
                rx=4,
                fill_opacity=f"{0.05 + 0.95 * full:.3f}",
            )
            title = f"{labels[i]} taken for {labels[j]}: {text}" if i != j else f"{labels[i]} read right: {text}"
            tone = f"cell{' on' if full > 0.5 else ''}{' diagonal' if i == j else ''}"
            body.append(_tag("g", fill + _text(x + side / 2, y + side / 2, text, "", "middle"), title, class_=tone))
    body.append(_text(left + reach / 2, size[1] - 10, "predicted", "label", "middle"))
    middle = top + reach / 2
    body.append(_text(10, middle, "true", "label", "middle", f"rotate(-90 10 {middle:.0f})"))
    return _svg(size, name, body)


def bar_chart(groups: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], name: str) -> Markup:
    """Groups of upright bars of shares, one colour for each of `names`."""
    size = (1080, 280)
    plot = _Plot(size, Axis(0, len(groups), []), shares())
    body = [plot.frame()]
    slot = plot.x(1) - plot.x(0)
    width = slot * 0.74 / len(names)
    for k, (group, values) in enumerate(groups):
        body.append(_text(plot.x(k + 0.5), size[1] - _BOTTOM + 16, group, "tick", "middle"))
        for c, value in enumerate(values):
            x, y = plot.x(k) + slot * 0.13 + c * width, plot.y(value)
            title = f"{group}, {names[c]}: {percent(value)}"
            height = max(plot.y(0) - y, 0.5)
            body.append(
                _tag("rect", title=title, x=x + 1, y=y, width=width - 2, height=height, rx=2, class_=f"f{c + 1}")
            )
            body.append(_text(x + width / 2, y - 8, f"{100 * value:.0f}", "value", "middle"))
    return legend([(entry, c + 1, False) for c, entry in enumerate(names)]) + _svg(size, name, body)


def histogram(values: Sequence[tuple[float, float, float]], x: Axis, name: str) -> Markup:
    """Bars (from, to, share)."""
    size = (460, 371)
    plot = _Plot(size, x, Axis.around([0, *(share for _, _, share in values)], "", lambda share: f"{100 * share:g} %"))
    body = [plot.frame()]
    for low, high, share in values:
        left, y = plot.x(low) + 1, plot.y(share)
        width, height = plot.x(high) - 1 - left, plot.y(0) - y
        title = f"{low:.2f} to {high:.2f}: {percent(share)}"
        body.append(_tag("rect", title=title, x=left, y=y, width=width, height=height, rx=1.5, class_="f1"))
    return _svg(size, name, body)


class _Plot:
    """From values to places in a drawing of that size."""

    def __init__(self, size: tuple[int, int], x: Axis, y: Axis) -> None:
        self.size, self.across, self.up = size, x, y

    def x(self, value: float) -> float:
        return _LEFT + (value - self.across.low) / (self.across.high - self.across.low) * (
            self.size[0] - _LEFT - _RIGHT
        )

    def y(self, value: float) -> float:
        return (
            self.size[1]
            - _BOTTOM
            - (value - self.up.low) / (self.up.high - self.up.low) * (self.size[1] - _TOP - _BOTTOM)
        )

    def frame(self) -> Markup:
        """Grid, ticks and the axes' names."""
        width, height = self.size
        body = []
        for tick in self.up.ticks:
            y = self.y(tick)
            body.append(_tag("path", d=f"M{_LEFT} {y:.1f}H{width - _RIGHT}", class_="grid"))
            body.append(_text(_LEFT - 8, y, self.up.text(tick), "tick", "end"))
        foot = height - _BOTTOM
        body += [_text(self.x(tick), foot + 16, self.across.text(tick), "tick", "middle") for tick in self.across.ticks]
        body.append(_tag("path", d=f"M{_LEFT} {foot}H{width - _RIGHT}", class_="axis"))
        if self.across.label:
            body.append(_text((_LEFT + width - _RIGHT) / 2, height - 8, self.across.label, "label", "middle"))
        if self.up.label:
            middle = (_TOP + foot) / 2
            body.append(_text(6, middle, self.up.label, "label", "middle", f"rotate(-90 6 {middle:.0f})"))
        return _NOTHING.join(body)


def _stroke(colour: int, dashed: bool) -> str:
    return f"line s{colour}{' dashed' if dashed else ''}"


def _text(x: float, y: float, words: str, kind: str, anchor: str, turn: str = "") -> Markup:
    """Text whose middle height is at y."""
    return _tag("text", escape(words), x=x, y=y, dy=".35em", class_=kind, text_anchor=anchor, transform=turn)


def _tag(kind: str, content: Markup = _NOTHING, title: str = "", **attributes: str | float) -> Markup:
    """An element; `class_` is class, `fill_opacity` fill-opacity and so on, empty ones are left out."""
    written = _NOTHING.join(
        Markup(' {}="{}"').format(
            name.rstrip("_").replace("_", "-"), f"{value:.5g}" if isinstance(value, float) else value
        )
        for name, value in attributes.items()
        if value != ""
    )
    hint = Markup("<title>{}</title>").format(title) if title else _NOTHING
    return Markup("<{0}{1}>{2}{3}</{0}>").format(Markup(kind), written, content, hint)


def _svg(size: tuple[int, int], name: str, body: Sequence[Markup]) -> Markup:
    return _tag("svg", _NOTHING.join(body), viewBox=f"0 0 {size[0]} {size[1]}", role="img", aria_label=name)
