"""Annotated pictures: what was read, drawn beside each face and never over it while there is room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, cycle
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.drawing.raster import Colour, Picture, lay, rounded, text_length, write
from mien.labels import UNCERTAIN

if TYPE_CHECKING:
    from mien.faces import Faces

Rect = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels, the last two outside."""

#: One colour per expression, told apart by colour-blind people too (after Okabe and Ito 2008), light enough for
#: dark text; neutral can be seen on white and on black. Everything that shows expressions in colour takes these, by
#: `colours`.
COLOURS: dict[str, Colour] = {
    "angry": (230, 97, 38),
    "disgust": (0, 178, 130),
    "fear": (214, 132, 180),
    "happy": (246, 222, 70),
    "neutral": (139, 148, 163),
    "sad": (96, 180, 236),
    "surprise": (240, 165, 20),
    UNCERTAIN: (214, 219, 226),
}
_OTHERS: tuple[Colour, ...] = (
    (96, 180, 236), (240, 165, 20), (0, 178, 130), (214, 132, 180), (246, 222, 70), (230, 97, 38),
    (172, 150, 245), (176, 212, 84), (139, 148, 163), (112, 218, 222), (201, 158, 112), (250, 152, 148),
)  # fmt: skip
"""For labels that are none of ours, in turn, as far as they are free: first the colours that ours do not use."""
_DARK: Colour = (19, 21, 26)
_WHITE: Colour = (255, 255, 255)
_PALE: Colour = (200, 204, 211)

_ROW, _PANEL_PAD = 1.45, 0.7  # of the font size
_SHRINK = 0.86
_HEAD = (0.2, 0.4, 0.2, 0.2)
"""How far a head reaches beyond its face's box to the left, up, right and down, in shares of the box."""


@lru_cache(maxsize=16)
def colours(labels: tuple[str, ...]) -> Mapping[str, Colour]:
    """A colour for each label and for `uncertain`: ours keep theirs, others get those that are left, anew from the
    first when there are none."""
    taken = {COLOURS[label] for label in labels if label in COLOURS}
    free = cycle([colour for colour in _OTHERS if colour not in taken])
    return {label: COLOURS[label] if label in COLOURS else next(free) for label in (*labels, UNCERTAIN)}


@dataclass(frozen=True)
class Mark:
    """What is drawn for one face. A chip or panel for which there is no place is None."""

    face: int
    box: Rect
    text: str
    colour: Colour
    chip: Rect | None
    chip_font: int
    panel: Rect | None = None
    panel_font: int = 0


def annotate(image: NDArray[np.uint8], faces: Faces, min_confidence: float = 0.0) -> NDArray[np.uint8]:
    """A copy of an `(H, W, 3)` uint8 RGB image with every face framed and labelled.

    A chip tells the most likely expression and its probability (`uncertain` below `min_confidence`), a panel all
    of them; faces too small for a panel, or without room for one, have the chip alone. Faces without probabilities
    are framed with the detector's score. Faces with id 0, of whom a stream does not know yet whether they are any, are
    left out.
    """
    height, width = image.shape[:2]
    canvas = image.copy()
    marks = layout(faces, width, height, min_confidence)
    for mark in marks:
        _frame(canvas, mark)
    for mark in marks:
        if mark.panel is not None and faces.probs is not None:
            _panel(canvas, mark.panel, mark.panel_font, faces.label_names, faces.probs[mark.face])
        if mark.chip is not None:
            _chip(canvas, mark.chip, mark.chip_font, mark.text, mark.colour)
    return canvas


def layout(faces: Faces, width: int, height: int, min_confidence: float = 0.0) -> list[Mark]:
    """Where everything goes in a picture of that size, largest face first.

    Nothing reaches outside the picture. Panels overlap no face, no other person's head, no chip and no other panel;
    chips overlap no face, chip or panel, unless the picture is so full that a chip has no free place: it then takes
    the one that hides the least.
    """
    unit = sqrt(width * height)
    shown = range(len(faces)) if faces.ids is None else np.flatnonzero(faces.ids).tolist()
    boxes = {i: box for i in shown if (box := _clipped(faces.boxes[i], width, height))}
    order = sorted(boxes, key=lambda i: -_area(boxes[i]))
    taken = list(boxes.values())
    labels, confidences, tones = faces.labels(min_confidence), faces.confidences, colours(faces.label_names)
    marks = []
    for i in order:
        label, share = labels[i], float(confidences[i])
        if faces.probs is None:
            label, share = "face", float(faces.scores[i])
        if faces.ids is not None:
            label = f"{faces.ids[i]} {label}"
        text, font, chip = _place_chip(boxes[i], label, f"{label} {share:.0%}", (width, height), unit, taken)
        if chip is not None:
            taken.append(chip)
        marks.append(Mark(i, boxes[i], text, tones[labels[i]], chip, font))
    if faces.probs is None:
        return marks
    heads = {i: _head(box) for i, box in boxes.items()}
    for k, mark in enumerate(marks):
        others = [head for i, head in heads.items() if i != mark.face]
        font, panel = _place_panel(mark, faces.label_names, (width, height), unit, taken + others)
        if panel is not None:
            taken.append(panel)
            marks[k] = Mark(mark.face, mark.box, mark.text, mark.colour, mark.chip, mark.chip_font, panel, font)
    return marks


def _place_chip(
    box: Rect, short: str, full: str, picture: tuple[int, int], unit: float, taken: list[Rect]
) -> tuple[str, int, Rect | None]:
    """Text, font size and place: the largest that is free, else the short form where it hides the least."""
    smallest = max(10.0, unit / 90)
    font = min(max((box[3] - box[1]) * 0.13, smallest), max(14.0, unit / 34))
    forms = [(full, round(font)), (full, round(smallest)), (short, round(smallest)), (short, 9)]
    crowded: list[tuple[int, str, int, Rect]] = []
    for text, size in forms:
        measures = chip_size(text, size)
        beside, stacked = _around(box, box, measures, max(2, round(size * 0.3)), picture)
        for place in chain(stacked, beside):
            if _free(place, taken):
                return text, size, place
        for x, y in ((box[0], box[3] - measures[1]), (box[0], box[1])):
            inside = _moved_inside((x, y, x + measures[0], y + measures[1]), picture)
            if inside is not None:
                crowded.append((sum(_overlap(inside, other) for other in taken), text, size, inside))
    if not crowded:
        return short, 9, None
    _, text, size, place = min(crowded, key=lambda option: option[0])
    return text, size, place


def _place_panel(
    mark: Mark, labels: tuple[str, ...], picture: tuple[int, int], unit: float, taken: list[Rect]
) -> tuple[int, Rect | None]:
    """Font size and place of the largest free panel about as high as the face, or None."""
    face_height = mark.box[3] - mark.box[1]
    smallest = max(9.0, unit / 150)
    if panel_size(round(smallest), labels)[1] > 1.6 * face_height:
        return 0, None
    font = max(min(face_height / (len(labels) * _ROW + 2 * _PANEL_PAD), max(12.0, unit / 45)), smallest)
    outer = mark.box if mark.chip is None else _union(mark.box, mark.chip)
    while font >= smallest:
        size = round(font)
        beside, stacked = _around(mark.box, outer, panel_size(size, labels), max(3, round(size * 0.6)), picture)
        for place in chain(beside, stacked):
            if _free(place, taken):
                return size, place
        font *= _SHRINK
    return 0, None


def _around(
    box: Rect, outer: Rect, size: tuple[int, int], gap: int, picture: tuple[int, int]
) -> tuple[Iterator[Rect], Iterator[Rect]]:
    """Places of that size inside the picture: right and left of a box, and above and below it or `outer`, which is
    the box with what already belongs to it."""
    w, h = size
    x1, y1, x2, y2 = box
    beside = [(x, y) for x in (x2 + gap, x1 - gap - w) for y in (y1, y2 - h, (y1 + y2 - h) // 2)]
    stacked = [
        (x, y)
        for y in (y1 - gap - h, y2 + gap, outer[1] - gap - h, outer[3] + gap)
        for x in (x1, x2 - w, (x1 + x2 - w) // 2)
    ]
    margin = gap // 2

    def inside(corners: list[tuple[int, int]]) -> Iterator[Rect]:
        moved = (_moved_inside((x, y, x + w, y + h), picture, margin) for x, y in corners)
        return (place for place in moved if place is not None and _free(place, [box]))

    return inside(beside), inside(stacked)


def chip_size(text: str, font: int) -> tuple[int, int]:
    """Width and height in pixels."""
    return round(text_length(text, font) + font * 1.0), round(font * 1.6)


def panel_size(font: int, labels: tuple[str, ...]) -> tuple[int, int]:
    """Width and height in pixels."""
    columns = _columns(font, labels)
    return round(sum(columns) + font * (2 * _PANEL_PAD + 1.2)), round(font * (len(labels) * _ROW + 2 * _PANEL_PAD))


@lru_cache(maxsize=256)
def _columns(font: int, labels: tuple[str, ...]) -> tuple[float, float, float]:
    """Widths of the panel's names, bars and numbers."""
    return max(text_length(label, font) for label in labels), font * 5.0, text_length("100%", font)


def _frame(canvas: NDArray[np.uint8], mark: Mark) -> None:
    x1, y1, x2, y2 = mark.box
    side = min(x2 - x1, y2 - y1)
    stroke = min(max(side / 50, 1.5), max(2.5, sqrt(canvas.shape[0] * canvas.shape[1]) / 180))
    radius = side * 0.1
    rounded(canvas, (x1 - 1, y1 - 1, x2 + 1, y2 + 1), _DARK, 0.45, radius + 1, stroke + 2)
    rounded(canvas, mark.box, mark.colour, 1.0, radius, stroke)


def _chip(canvas: NDArray[np.uint8], place: Rect, font: int, text: str, colour: Colour) -> None:
    rounded(canvas, place, colour, 1.0, font * 0.4)
    middle = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    write(canvas, middle, text, _DARK, font, "mm")


def _panel(
    canvas: NDArray[np.uint8], place: Rect, font: int, labels: tuple[str, ...], probs: NDArray[np.float32]
) -> None:
    best, half, tones = int(probs.argmax()), font * 0.3, colours(labels)
    names, bars, _ = _columns(font, labels)
    pad = font * _PANEL_PAD
    start, right = place[0] + pad + names + font * 0.6, place[2] - pad
    rounded(canvas, place, _DARK, 0.8, font * 0.6)
    lay(canvas, place[:2], (ceil(start + bars) - place[0], place[3] - place[1]), _names_and_bars, font, labels, best)
    for k, (label, share) in enumerate(zip(labels, probs.tolist(), strict=True)):
        y = place[1] + pad + font * _ROW * (k + 0.5)
        if share * bars >= 0.5:
            rounded(canvas, (start, y - half, start + share * bars, y + half), tones[label], 1.0, half * 0.6)
        write(canvas, (right, y), f"{share:.0%}", _WHITE if k == best else _PALE, font, "rm")


def _names_and_bars(layer: Picture, font: int, labels: tuple[str, ...], best: int) -> None:
    """What a panel has whatever the probabilities are, but for which is the greatest."""
    names, bars, _ = _columns(font, labels)
    pad, half = font * _PANEL_PAD, font * 0.3
    start = pad + names + font * 0.6
    for k, label in enumerate(labels):
        y = pad + font * _ROW * (k + 0.5)
        rounded(layer, (start, y - half, start + bars, y + half), _WHITE, 0.14, half * 0.6)
        write(layer, (pad, y), label, _WHITE if k == best else _PALE, font, "lm")


def _clipped(box: NDArray[np.float32], width: int, height: int) -> Rect | None:
    """The part of a box inside the picture, or None when there is none."""
    x1, x2 = (int(v) for v in np.clip(np.rint(box[[0, 2]]), 0, width))
    y1, y2 = (int(v) for v in np.clip(np.rint(box[[1, 3]]), 0, height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _head(box: Rect) -> Rect:
    """The box with the hair, ears and chin around it."""
    wide, high = box[2] - box[0], box[3] - box[1]
    left, up, right, down = _HEAD
    return (
        round(box[0] - left * wide), round(box[1] - up * high), round(box[2] + right * wide),
        round(box[3] + down * high),
    )  # fmt: skip


def _moved_inside(rect: Rect, picture: tuple[int, int], margin: int = 0) -> Rect | None:
    """The rectangle, pushed into the picture less a margin; None when it does not fit."""
    width, height = rect[2] - rect[0], rect[3] - rect[1]
    right, bottom = picture[0] - margin - width, picture[1] - margin - height
    if right < margin or bottom < margin:
        return None
    x, y = min(max(rect[0], margin), right), min(max(rect[1], margin), bottom)
    return x, y, x + width, y + height


def _free(place: Rect, taken: list[Rect]) -> bool:
    """Whether it overlaps none of them."""
    x1, y1, x2, y2 = place
    return not any(x1 < other[2] and other[0] < x2 and y1 < other[3] and other[1] < y2 for other in taken)


def _overlap(a: Rect, b: Rect) -> int:
    """Shared area in pixels."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _union(a: Rect, b: Rect) -> Rect:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _area(rect: Rect) -> int:
    return _overlap(rect, rect)
