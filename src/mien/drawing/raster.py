"""Rounded rectangles and words, rendered once and blended into pictures wherever they come again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from math import ceil
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""

_MEMORY = 64 << 20
"""Bytes of stamps that are kept; those longest out of use go first."""
_STEP = 64
"""Sides of frames are kept in lengths that are multiples of this, in pixels."""
_TEXT_STEPS = 64
"""Positions within a pixel that FreeType tells apart, across and down."""


class _Stamp(NamedTuple):
    """A colour and how much of it each pixel gets: `keep` (h, w, 3) is 255 less the mask, `add` (h, w, 3) uint16 the
    mask times the colour, plus 128 to round. `x`, `y` from where it is to be."""

    keep: NDArray[np.uint8]
    add: NDArray[np.uint16]
    x: int = 0
    y: int = 0

    @classmethod
    def empty(cls, width: int, height: int) -> _Stamp:
        """One that changes nothing."""
        return cls(np.full((height, width, 3), 255, np.uint8), np.full((height, width, 3), 128, np.uint16))

    def cut(self, rows: slice, columns: slice) -> _Stamp:
        return _Stamp(self.keep[rows, columns], self.add[rows, columns])


class _Shape(NamedTuple):
    """A rounded rectangle within `width` x `height` pixels. Where it lies, its radius and its stroke (0 to fill it) are
    in units `finer` than pixels, its strength in 0..255."""

    width: int
    height: int
    x1: int
    y1: int
    x2: int
    y2: int
    radius: float
    stroke: int
    strength: int
    finer: int


Picture = NDArray[np.uint8] | _Stamp
"""An `(H, W, 3)` picture in RGB, or a layer that is going to be laid on pictures."""


class _Store:
    """The stamps last used, up to so many bytes in all. Safe to use from many threads."""

    def __init__(self, limit: int) -> None:
        self._stamps: OrderedDict[tuple[object, ...], tuple[_Stamp, ...]] = OrderedDict()
        self._limit, self._bytes, self._lock = limit, 0, Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], tuple[_Stamp, ...]]) -> tuple[_Stamp, ...]:
        """What is kept under the key, made first where there is nothing."""
        with self._lock:
            if key in self._stamps:
                self._stamps.move_to_end(key)
                return self._stamps[key]
        made = make()
        with self._lock:
            if key not in self._stamps:  # no other thread was faster
                self._stamps[key] = made
                self._bytes += _size(made)
            while self._bytes > self._limit:
                self._bytes -= _size(self._stamps.popitem(last=False)[1])
        return made


_store = _Store(_MEMORY)


def rounded(
    picture: Picture,
    rect: tuple[float, float, float, float],
    colour: Colour,
    opacity: float,
    radius: float,
    stroke: float = 0.0,
) -> None:
    """A rounded rectangle in a picture, filled or (with a stroke in pixels) framed, with smooth edges."""
    left, top = int(rect[0] // 1), int(rect[1] // 1)
    width, height = int(-(-rect[2] // 1)) - left, int(-(-rect[3] // 1)) - top
    finer = 4 if width * height < 250_000 else 2
    x1, y1, x2, y2 = ((rect[i] - (left, top)[i % 2]) * finer for i in range(4))
    shape = _Shape(
        width, height, round(x1), round(y1), round(max(x2 - 1, x1)), round(max(y2 - 1, y1)),
        radius * finer, max(1, round(stroke * finer)) if stroke else 0, round(255 * opacity), finer,
    )  # fmt: skip
    # What changes its size all the time is put together from ends that are the same and a middle that is cut to length.
    corner, edge = ceil(max(radius, stroke)) + 2, ceil(stroke) + 2
    side, length = 2 * corner + 1, -(-max(width, height) // _STEP) * _STEP
    narrow = shape._replace(width=side, x2=shape.x2 - (width - side) * finer)
    right, bottom, every = width - corner, height - corner, slice(None)
    if width <= side or (stroke and height <= side):
        (whole,) = _store.get((shape, colour), lambda: (_coloured(_mask(shape), colour),))
        _lay(picture, left, top, whole)
    elif not stroke:
        start, end = _store.get((narrow, colour, length), lambda: _filled(_mask(narrow), colour, corner, length))
        _lay(picture, left, top, start.cut(every, slice(right)))
        _lay(picture, left + right, top, end)
    else:
        small = narrow._replace(height=side, y2=shape.y2 - (height - side) * finer)
        stamps = _store.get((small, colour, length), lambda: _framed(_mask(small), colour, corner, edge, length))
        across, down = slice(width - 2 * corner), slice(height - 2 * corner)
        for x, y, stamp in zip((0, right, 0, right), (0, 0, bottom, bottom), stamps[:4], strict=True):
            _lay(picture, left + x, top + y, stamp)
        for y, stamp in zip((0, height - edge), stamps[4:6], strict=True):
            _lay(picture, left + corner, top + y, stamp.cut(every, across))
        for x, stamp in zip((0, width - edge), stamps[6:], strict=True):
            _lay(picture, left + x, top + corner, stamp.cut(down, every))


def write(picture: Picture, place: tuple[float, float], text: str, colour: Colour, size: int, anchor: str) -> None:
    """Words in a picture, with what Pillow calls their anchor at that place."""
    x, y = (round(value * _TEXT_STEPS) for value in place)
    part_x, part_y = x % _TEXT_STEPS, y % _TEXT_STEPS
    key = (text, colour, size, anchor, part_x, part_y)
    for stamp in _store.get(key, lambda: _words(text, colour, size, anchor, part_x, part_y)):
        _lay(picture, x // _TEXT_STEPS + stamp.x, y // _TEXT_STEPS + stamp.y, stamp)


def lay(
    picture: Picture, place: tuple[int, int], size: tuple[int, int], draw: Callable[..., None], *given: object
) -> None:
    """What `draw(layer, *given)` draws on a layer of that width and height, with its left upper corner at the place.

    It is drawn once for what is given, which must be hashable and decide it all. What it draws must not overlap.
    """

    def make() -> tuple[_Stamp, ...]:
        layer = _Stamp.empty(*size)
        draw(layer, *given)
        return (layer,)

    (stamp,) = _store.get((draw, size, given), make)
    _lay(picture, *place, stamp)


@lru_cache(maxsize=4096)
def text_length(text: str, size: int) -> float:
    """How long words are in that size, in pixels."""
    return typeface(size).getlength(text)


def _lay(picture: Picture, x: int, y: int, stamp: _Stamp) -> None:
    """Blend a stamp into a picture, as far as it lies inside; rounds as Pillow does."""
    rows, columns = (picture.keep if isinstance(picture, _Stamp) else picture).shape[:2]
    height, width = stamp.keep.shape[:2]
    if x < 0 or y < 0 or x + width > columns or y + height > rows:
        stamp = stamp.cut(slice(max(-y, 0), max(rows - y, 0)), slice(max(-x, 0), max(columns - x, 0)))
        x, y = max(x, 0), max(y, 0)
        height, width = stamp.keep.shape[:2]
    place = slice(y, y + height), slice(x, x + width)
    if isinstance(picture, _Stamp):
        picture.keep[place] &= stamp.keep  # one of the two is 255
        picture.add[place] += stamp.add - 128
        return
    under = picture[place]
    mixed = np.multiply(under, stamp.keep, dtype=np.uint16)
    mixed += stamp.add
    mixed += mixed >> 8
    np.right_shift(mixed, 8, out=under, casting="unsafe")


def _coloured(mask: NDArray[np.uint8], colour: Colour, x: int = 0, y: int = 0) -> _Stamp:
    add = mask[..., None] * np.array(colour, np.uint16) + np.uint16(128)
    return _Stamp(np.repeat(255 - mask[..., None], 3, 2), add, x, y)


def _mask(shape: _Shape) -> NDArray[np.uint8]:
    """Drawn enlarged and reduced."""
    mask = Image.new("L", (shape.width * shape.finer, shape.height * shape.finer))
    fill, outline = (None, shape.strength) if shape.stroke else (shape.strength, None)
    place = shape.x1, shape.y1, shape.x2, shape.y2
    ImageDraw.Draw(mask).rounded_rectangle(place, shape.radius, fill, outline, max(1, shape.stroke))
    return np.asarray(mask.reduce(shape.finer))


def _filled(narrow: NDArray[np.uint8], colour: Colour, corner: int, length: int) -> tuple[_Stamp, ...]:
    """The left end of a narrow rectangle with its middle made longer, then its right end."""
    start = np.concatenate([narrow[:, :corner], np.repeat(narrow[:, corner : corner + 1], length, 1)], 1)
    return _coloured(start, colour), _coloured(narrow[:, -corner:], colour)


def _framed(small: NDArray[np.uint8], colour: Colour, corner: int, edge: int, length: int) -> tuple[_Stamp, ...]:
    """The corners of a small frame, row by row, then its upper, lower, left and right side made longer."""
    near, far, middle = slice(corner), slice(-corner, None), slice(corner, corner + 1)
    masks = [small[rows, columns] for rows in (near, far) for columns in (near, far)]
    masks += [np.repeat(small[rows, middle], length, 1) for rows in (slice(edge), slice(-edge, None))]
    masks += [np.repeat(small[middle, columns], length, 0) for columns in (slice(edge), slice(-edge, None))]
    return tuple(_coloured(mask, colour) for mask in masks)


def _words(text: str, colour: Colour, size: int, anchor: str, part_x: int, part_y: int) -> tuple[_Stamp, ...]:
    """One stamp, or none where nothing of the text can be seen."""
    x1, y1, x2, y2 = typeface(size).getbbox(text, anchor=anchor)
    left, top = int(x1) - 2, int(y1) - 2  # room for what reaches out of the box by rounding
    mask = Image.new("L", (int(x2) + 3 - left, int(y2) + 3 - top))
    place = part_x / _TEXT_STEPS - left, part_y / _TEXT_STEPS - top
    ImageDraw.Draw(mask).text(place, text, 255, typeface(size), anchor=anchor)
    seen = mask.getbbox()
    if seen is None:
        return ()
    return (_coloured(np.asarray(mask.crop(seen)), colour, left + seen[0], top + seen[1]),)


def _size(stamps: tuple[_Stamp, ...]) -> int:
    return sum(stamp.keep.nbytes + stamp.add.nbytes for stamp in stamps)


@lru_cache(maxsize=256)
def typeface(size: int) -> ImageFont.FreeTypeFont:
    """The font of all that is drawn, `size` pixels high."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return loaded
