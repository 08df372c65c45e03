"""What the live window shows beside the picture: a bar with numbers and marks, and a panel that explains the keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.drawing.raster import typeface
from mien.live.session import Status

Colour = tuple[int, int, int]

KEYS = (
    ("space", "pause", "let the picture stand still"),
    ("r", "record", "film and table, until r again"),
    ("s", "snapshot", "save the picture"),
    ("h", "help", "show or hide this"),
    ("q", "quit", "or Esc"),
)
"""Key, its name in the bar, what it does."""

RED: Colour = (206, 44, 49)
_AMBER: Colour = (240, 165, 20)
_GREY: Colour = (70, 75, 84)
_BACK: Colour = (19, 21, 26)
_WHITE: Colour = (255, 255, 255)
_PALE: Colour = (160, 166, 175)

_SILENCE = 2.0
"""Seconds without a frame, from which on they are told."""


@dataclass(frozen=True)
class _Pill:
    """A coloured word at the bar's beginning."""

    text: str
    colour: Colour
    dot: bool = False


def bar_height(width: int) -> int:
    """Of the bar below a picture of that width, in pixels."""
    return round(_font_size(width) * 2.2)


def bar(width: int, status: Status, message: str = "") -> NDArray[np.uint8]:
    """The bar, `(bar_height(width), width, 3)` uint8 RGB: a red mark while recording, other states, frames a second,
    latency in ms, dropped frames; at the right the message, or the keys as far as there is room."""
    size, height = _font_size(width), bar_height(width)
    canvas = Image.new("RGB", (width, height), _BACK)
    write, font, middle, pad = ImageDraw.Draw(canvas), typeface(size), height / 2, size * 0.8
    if status.recording is not None:
        write.rectangle((0, 0, width, max(1, size // 6)), RED)
    x = pad
    for pill in _pills(status):
        x = _draw_pill(canvas, x, middle, size, pill) + size * 0.7
    for number, unit in _numbers(status):
        for text, colour in ((number, _WHITE), (f" {unit}", _PALE)):
            write.text((x, middle), text, colour, font, anchor="lm")
            x += font.getlength(text)
        x += size * 1.1
    room = width - pad - x
    if message:
        write.text((width - pad, middle), _shortened(message, room, font), _WHITE, font, anchor="rm")
        return np.array(canvas)
    for hints in (KEYS, (KEYS[3],)):
        texts = [(key, colour) for k, name, _ in hints for key, colour in ((f"{k} ", _WHITE), (f"{name}   ", _PALE))]
        length = sum(font.getlength(text) for text, _ in texts) - font.getlength("   ")
        if length <= room:
            x = width - pad - length
            for text, colour in texts:
                write.text((x, middle), text, colour, font, anchor="lm")
                x += font.getlength(text)
            break
    return np.array(canvas)


def panel(width: int) -> NDArray[np.uint8]:
    """The keys and what they do, `(h, w, 4)` uint8 RGBA, for a window of that width."""
    size = round(_font_size(width) * 1.15)
    font, row, pad, gap = typeface(size), size * 2.1, size * 1.3, size * 1.1
    caps = [max(font.getlength(key) + size, size * 1.6) for key, _, _ in KEYS]
    names = max(font.getlength(name) for _, name, _ in KEYS)
    told = max(font.getlength(text) for _, _, text in KEYS)
    area = round(2 * pad + max(caps) + names + told + 2 * gap), round(2 * pad + row * len(KEYS))
    canvas = Image.new("RGBA", area, (*_BACK, 0))
    _rounded(canvas, (0, 0, *area), (*_BACK, 235), size)
    write = ImageDraw.Draw(canvas)
    for k, ((key, name, text), cap) in enumerate(zip(KEYS, caps, strict=True)):
        middle = pad + row * (k + 0.5)
        _rounded(canvas, (pad, middle - size * 0.8, pad + cap, middle + size * 0.8), (*_GREY, 255), size * 0.35)
        write.text((pad + cap / 2, middle), key, _WHITE, font, anchor="mm")
        x = pad + max(caps) + gap
        write.text((x, middle), name, _WHITE, font, anchor="lm")
        write.text((x + names + gap, middle), text, _PALE, font, anchor="lm")
    return np.array(canvas)


def _pills(status: Status) -> list[_Pill]:
    pills = []
    if status.recording is not None:
        minutes, seconds = divmod(int(status.recording), 60)
        pills.append(_Pill(f"REC {minutes}:{seconds:02d}", RED, dot=True))
    if status.over:
        pills.append(_Pill("ended", _GREY))
    elif status.paused:
        pills.append(_Pill("paused", _AMBER))
    elif status.silent > _SILENCE:
        pills.append(_Pill(f"no frame for {status.silent:.0f} s", _AMBER))
    return pills


def _numbers(status: Status) -> list[tuple[str, str]]:
    numbers = []
    if status.latency is not None:
        numbers.append((f"{status.fps:.0f}" if status.fps >= 9.95 else f"{status.fps:.1f}", "fps"))
        numbers.append((f"{1000 * status.latency:.0f}", "ms"))
    return [*numbers, (f"{status.dropped}", "dropped")]


def _draw_pill(canvas: Image.Image, x: float, middle: float, size: int, pill: _Pill) -> float:
    """Draw it from `x` on and give where it ends."""
    font, pad = typeface(size), size * 0.6
    dot = size * 0.95 if pill.dot else 0.0
    right = x + 2 * pad + dot + font.getlength(pill.text)
    _rounded(canvas, (x, middle - size * 0.78, right, middle + size * 0.78), pill.colour, size * 0.4)
    if pill.dot:
        radius, centre = size * 0.3, x + pad + size * 0.3
        _rounded(canvas, (centre - radius, middle - radius, centre + radius, middle + radius), _WHITE, radius)
    tone = _BACK if pill.colour == _AMBER else _WHITE
    ImageDraw.Draw(canvas).text((x + pad + dot, middle), pill.text, tone, font, anchor="lm")
    return right


def _rounded(
    canvas: Image.Image, rect: tuple[float, float, float, float], colour: tuple[int, ...], radius: float
) -> None:
    """A filled rounded rectangle with smooth edges: its mask is drawn four times as large and reduced."""
    left, top = int(rect[0]), int(rect[1])
    width, height = int(np.ceil(rect[2])) - left, int(np.ceil(rect[3])) - top
    mask = Image.new("L", (width * 4, height * 4))
    x1, y1, x2, y2 = ((value - (left, top)[i % 2]) * 4 for i, value in enumerate(rect))
    ImageDraw.Draw(mask).rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius * 4, 255)
    canvas.paste(colour, (left, top, left + width, top + height), mask.reduce(4))


def _shortened(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, its beginning left out as far as it needs more than `room` pixels: paths are told by their ends."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"...{text}") > room:
        text = text[1:]
    return f"...{text}" if text else ""


def _font_size(width: int) -> int:
    return round(min(max(width / 62, 13), 18))
