"""Training pictures for the detector, composed out of photographs: tiles, tilt, scale, pasted and covered faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import MIRRORED_ORDER, Photograph, yaws
from mien.training.detector.drawn import draw_clutter
from mien.training.detector.optics import expose
from mien.training.recipe import SceneTable
from mien.vision.boxes import areas, shared_areas, turned_boxes

_PASTED_BOX = np.array([0.11, 0.01, 0.89, 1.01], np.float32)
"""Where the face's box lies in a FER2013 crop, as shares of its side: median of YuNet's boxes there."""
_TURNED, _CLEAR = 36.0, 16.0
"""From how many degrees a face is turned aside, and from how many pixels that can be seen."""
_SHAPELESS = 4.0
"""A face of n pixels that is enlarged more than n / 4 times shows nothing that makes it one."""
_LEAST_COVER = 0.35
"""Of a tile's shorter side the photograph's longer one takes this share at least: its own faces decide which small ones
there are, and little is learned from a single colour."""
_MOST_HIDDEN = 0.5
"""Share of a face that a patch may cover."""
_SHOWN = 0.7, 2.0
"""How much a photograph that is shown as it was taken is shrunk or enlarged."""
_SOFTEST = 20.0
"""Side in pixels of the smallest copy of a face that is enlarged on purpose."""


@dataclass(frozen=True)
class Scene:
    """A picture `(S, S, 3)` uint8 RGB with its faces in pixels.

    `boxes` (n, 4); `landmarks` (n, 5, 2), NaN where they are unknown; `ignore` (m, 4): neither face nor background.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    ignore: NDArray[np.float32]


class Studio:
    """Composes scenes. Safe to share between threads.

    `crops` (n, S, S) are grey faces to paste; `mistakes` index of a photograph and box of what is no face there.
    """

    def __init__(
        self, photographs: Sequence[Photograph], crops: NDArray[np.uint8], table: SceneTable,
        mistakes: Sequence[tuple[int, NDArray[np.float32]]] = (),
    ) -> None:  # fmt: skip
        self._photographs, self._crops, self._table, self._mistakes = photographs, crops, table, mistakes
        self._shrunk = [_halvings(photograph.pixels()) for photograph in photographs]
        self._peopled = np.array([i for i, photograph in enumerate(photographs) if len(photograph.boxes)], int)
        self._empty = np.array([i for i, photograph in enumerate(photographs) if not len(photograph.boxes)], int)
        self._faces = [np.cumsum(_odds(photograph, table.turned)) for photograph in photographs]
        people = [_odds(photographs[i], table.turned, _CLEAR) for i in self._peopled]
        self._people = np.cumsum([math.sqrt(len(odds) * odds.max()) for odds in people])

    def compose(self, index: int, size: int, rng: np.random.Generator) -> Scene:
        """A scene of `size` pixels, around photograph `index` where it is put together; all draws come from `rng`."""
        table = self._table
        odds = np.array(table.tiles) / sum(table.tiles)
        across = int(rng.choice(len(odds), p=odds)) + 1
        image = self._background(size, rng)
        if rng.random() < table.natural:
            faces = self._show(self._another(rng), image, rng)
            lit = image if rng.random() < 0.5 else expose(image, table, rng)
            return Scene(lit, faces.boxes, faces.landmarks, faces.ignore)
        cuts = [_cuts(size, across, rng) for _ in range(2)]
        own = int(rng.integers(across * across))
        parts: list[_Faces] = []
        for tile in range(across * across):
            (x, right), (y, below) = (
                cuts[0][tile % across : tile % across + 2],
                cuts[1][tile // across : tile // across + 2],
            )
            where, kind = image[y:below, x:right], rng.random()
            if rng.random() < table.drawn and tile != own:
                draw_clutter(where, rng)
                continue
            if len(self._mistakes) and kind < table.mistakes:
                chosen, mistake = self._mistakes[int(rng.integers(len(self._mistakes)))]
                part = self._place(chosen, where, rng, mistake)
            elif len(self._crops) and kind > 1 - table.frames:
                part = self._frame(where, rng)
            else:
                part = self._place(index if tile == own else self._another(rng), where, rng)
            parts.append(part.moved(x, y))
        faces = _Faces.joined(parts)
        if len(self._crops) and rng.random() < table.paste:
            faces = _Faces.joined([faces, self._paste(image, np.concatenate([faces.boxes, faces.ignore]), rng)])
        self._cover(image, faces.boxes, rng)
        return Scene(expose(image, table, rng), faces.boxes, faces.landmarks, faces.ignore)

    def _another(self, rng: np.random.Generator) -> int:
        if len(self._peopled) and (rng.random() < 0.75 or not len(self._empty)):
            return int(self._peopled[_drawn(self._people, rng)])
        return int(rng.choice(self._empty))

    def _background(self, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """What shows where no photograph reaches: one without faces, or one colour."""
        if len(self._empty) and rng.random() < 0.6:
            photograph = self._shrunk[int(rng.choice(self._empty))][0]
            return np.array(cv2.resize(photograph, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        return np.full((size, size, 3), rng.integers(0, 256, 3), np.uint8)

    def _show(self, index: int, image: NDArray[np.uint8], rng: np.random.Generator) -> _Faces:
        """Paint as much of a photograph as fits into the picture, about as large as it is and nearly upright."""
        photograph, levels, size = self._photographs[index], self._shrunk[index], image.shape[0]
        height, width = levels[0].shape[:2]
        scale = math.exp(rng.uniform(*np.log(_SHOWN)))
        turn, mirror = math.radians(rng.normal(0, 4)), rng.random() < 0.5
        linear = _linear(scale, turn, mirror, self._table.stretch / 2, rng)
        around = np.array([[0, 0, width, height]], np.float32)
        if len(photograph.boxes):
            around = photograph.boxes[_drawn(self._faces[index], rng)][None]
        shift = rng.uniform(0, size, 2) - linear @ around.reshape(2, 2).mean(0)
        reach = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ linear.T
        ends = np.stack([-reach.min(0), size - reach.max(0)])
        shift = np.clip(shift, ends.min(0), ends.max(0))
        return self._paint(index, _level(scale, levels), linear, shift, image)

    def _place(
        self, index: int, tile: NDArray[np.uint8], rng: np.random.Generator, around: NDArray[np.float32] | None = None
    ) -> _Faces:
        """Paint a photograph into a tile, turned, sheared, scaled so that the box `around`, or else one of its faces,
        gets a drawn size."""
        table, photograph, levels = self._table, self._photographs[index], self._shrunk[index]
        height, width = tile.shape[:2]
        side = min(height, width)
        boxes = photograph.boxes
        if around is None and len(boxes):
            around = boxes[_drawn(self._faces[index], rng)]
        if around is not None:
            center, extent = (around[:2] + around[2:]) / 2, float(np.sqrt(np.prod(around[2:] - around[:2])))
            wanted = math.exp(rng.uniform(math.log(table.smallest), math.log(table.largest * side)))
            if rng.random() < table.close:
                wanted = side * rng.uniform(min(1 / 3, table.largest), table.largest)
            wanted = min(wanted, max(extent * extent / _SHAPELESS, 2 * table.smallest))
        else:
            full = levels[0].shape
            center, extent = np.array([full[1], full[0]]) * rng.uniform(0.3, 0.7, 2), float(max(full[:2]))
            wanted = side * rng.uniform(0.7, 2.5)
        least = _LEAST_COVER * side / max(levels[0].shape[:2])
        scale = min(max(wanted / extent, least), table.enlarge)
        level = _level(scale, levels)
        if around is not None and rng.random() < table.soft:
            coarsest = min(len(levels) - 1, math.floor(math.log2(max(extent / _SOFTEST, 1))))
            level = int(rng.integers(level, max(level, coarsest) + 1))
        turn = rng.normal(0, 10) if rng.random() < table.upright else rng.uniform(-table.tilt, table.tilt)
        mirror = rng.random() < 0.5
        linear = _linear(scale, math.radians(turn), mirror, table.stretch, rng)
        reach = 0.55 if scale * extent < side / 2 else 0.3  # of a large face the better part should be seen
        target = (0.5 + rng.uniform(-reach, reach, 2)) * (width, height)
        shift = target - linear @ center
        border = cv2.BORDER_TRANSPARENT if rng.random() < 0.7 else cv2.BORDER_REPLICATE
        flags = cv2.INTER_CUBIC if rng.random() < 0.2 else cv2.INTER_LINEAR
        return self._paint(index, level, linear, shift, tile, flags, border)

    def _paint(
        self, index: int, level: int, linear: NDArray[np.float64], shift: NDArray[np.float64], tile: NDArray[np.uint8],
        flags: int = cv2.INTER_LINEAR, border: int = cv2.BORDER_TRANSPARENT,
    ) -> _Faces:  # fmt: skip
        """Paint a photograph, of which the copy of that level is taken, into a tile by a map of its pixels."""
        photograph, copy = self._photographs[index], self._shrunk[index][level]
        height, width = tile.shape[:2]
        sampling = np.concatenate([linear * 2**level, shift[:, None]], 1)
        sampling[:, 2] += sampling[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from pixel centres, boxes from corners
        cv2.warpAffine(copy, sampling, (width, height), tile, flags=flags, borderMode=border)
        landmarks, area = photograph.landmarks @ linear.T + shift, float(np.linalg.det(linear))
        return _Faces(
            turned_boxes(photograph.boxes, linear, shift),
            (landmarks[:, MIRRORED_ORDER] if area < 0 else landmarks).astype(np.float32),
            turned_boxes(photograph.ignore, linear, shift),
        ).within(width, height, max(self._table.smallest * 0.85, _SHAPELESS * abs(area)))

    def _frame(self, tile: NDArray[np.uint8], rng: np.random.Generator) -> _Faces:
        """Fill a tile with a crop, as soft as enlarging makes it; returns its face, without landmarks."""
        height, width = tile.shape[:2]
        side = self._crops.shape[1]
        crop = self._crops[int(rng.integers(len(self._crops)))]
        turn, mirror = rng.normal(0, 10), rng.random() < 0.5
        scale = max(height, width) / side * rng.uniform(0.9, 1.5)
        linear = _linear(scale, math.radians(turn), mirror, self._table.stretch, rng)
        shift = (0.5 + rng.uniform(-0.15, 0.15, 2)) * (width, height) - linear @ np.full(2, side / 2)
        sampling = np.concatenate([linear, shift[:, None]], 1)
        sampling[:, 2] += sampling[:, :2].sum(1) / 2 - 0.5
        flags = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        grey = cv2.warpAffine(crop, sampling, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        tile[:] = np.clip(grey[..., None] * _tint(rng), 0, 255)
        box = turned_boxes(_PASTED_BOX[None] * side, linear, shift)
        return _Faces.unmarked(box).within(width, height, 0)

    def _paste(self, image: NDArray[np.uint8], taken: NDArray[np.float32], rng: np.random.Generator) -> _Faces:
        """Blend one to four crops into the picture, where no face is; returns them, without landmarks."""
        size, side = image.shape[0], self._crops.shape[1]
        found: list[NDArray[np.float32]] = []
        for _ in range(int(rng.integers(1, 5))):
            wanted = math.exp(rng.uniform(math.log(14), math.log(min(2 * side, size / 2))))
            scale = wanted / side
            turn = rng.normal(0, 10) if rng.random() < self._table.upright else rng.uniform(-1, 1) * self._table.tilt
            linear = _linear(scale, math.radians(turn), rng.random() < 0.5, self._table.stretch, rng)
            shift = rng.uniform(wanted / 2, size - wanted / 2, 2) - linear @ np.full(2, side / 2)
            box = turned_boxes(_PASTED_BOX[None] * side, linear, shift)
            room = turned_boxes(np.array([[0, 0, side, side]], np.float32), linear, shift)[0]
            others = np.array([*taken, *found], np.float32).reshape(-1, 4)
            if np.any(shared_areas(room[None], others) > 0):
                continue
            crop = self._crops[int(rng.integers(len(self._crops)))]
            sampling = np.concatenate([linear, shift[:, None]], 1)
            (x, y), (right, below) = np.maximum(room[:2].astype(int), 0), np.minimum(room[2:].astype(int) + 1, size)
            sampling[:, 2] += sampling[:, :2].sum(1) / 2 - 0.5 - (x, y)
            where = image[y:below, x:right]
            shape = (where.shape[1], where.shape[0])
            mask = cv2.warpAffine(_soft_oval(side), sampling, shape, flags=cv2.INTER_LINEAR)[..., None]
            grey = cv2.warpAffine(
                crop if scale >= 1 else cv2.GaussianBlur(crop, (0, 0), 0.4 / scale), sampling, shape
            ).astype(np.float32)
            where[:] = np.clip(where * (1 - mask) + grey[..., None] * _tint(rng) * mask, 0, 255).astype(np.uint8)
            found.append(box[0])
        return _Faces.unmarked(np.array(found, np.float32).reshape(-1, 4))

    def _cover(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Hide up to about two fifths of some faces behind a patch of one colour or of another photograph."""
        size = image.shape[0]
        for box in boxes[rng.random(len(boxes)) < self._table.occlude]:
            width, height = box[2:] - box[:2]
            share = rng.uniform(0.15, 0.4)
            if rng.random() < 0.5:  # from one side, as hair, a hand, a scarf or a cap do
                half = np.array([width * 0.7, height * 0.7])
                side = rng.integers(4)
                depth = np.array([width, height])[side % 2] * share
                center = (box[:2] + box[2:]) / 2
                center[side % 2] = (
                    box[side % 2] + depth - half[side % 2] if side < 2 else box[2 + side % 2] - depth + half[side % 2]
                )
            else:
                half = np.array([width, height]) * math.sqrt(share) / 2 * np.array([r := rng.uniform(0.6, 1.6), 1 / r])
                center = box[:2] + rng.uniform(0.1, 0.9, 2) * (width, height)
            low, high = (np.clip(center + sign * half, 0, size).astype(int) for sign in (-1, 1))
            patch = image[low[1] : high[1], low[0] : high[0]]
            hidden = shared_areas(np.array([[*low, *high]], np.float32), boxes)[0]
            if not patch.size or np.any(hidden > _MOST_HIDDEN * areas(boxes)):
                continue
            if rng.random() < 0.5:
                patch[:] = rng.integers(0, 256, 3)
            else:
                other = self._shrunk[int(rng.choice(self._empty))] if len(self._empty) else [image]
                patch[:] = cv2.resize(other[-1], (patch.shape[1], patch.shape[0]), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class _Faces:
    """The columns of `Scene` while it is composed."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    ignore: NDArray[np.float32]

    @classmethod
    def unmarked(cls, boxes: NDArray[np.float32]) -> _Faces:
        """Faces whose landmarks nobody knows."""
        return cls(boxes, np.full((len(boxes), 5, 2), np.nan, np.float32), np.empty((0, 4), np.float32))

    @classmethod
    def joined(cls, parts: Sequence[_Faces]) -> _Faces:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def moved(self, x: int, y: int) -> _Faces:
        by = np.array([x, y], np.float32)
        return _Faces(self.boxes + np.tile(by, 2), self.landmarks + by, self.ignore + np.tile(by, 2))

    def within(self, width: int, height: int, smallest: float) -> _Faces:
        """In a tile: faces that it shows half of or more; what it shows of the others, and all that are too small to
        count, becomes a region to ignore."""
        limit = np.array([width, height] * 2, np.float32)
        seen, ignored = np.clip(self.boxes, 0, limit), np.clip(self.ignore, 0, limit)
        area, whole = areas(seen), areas(self.boxes)
        keep = (area >= 0.5 * whole) & (whole >= smallest**2)
        ignored = np.concatenate([ignored, seen[~keep]])
        return _Faces(self.boxes[keep], self.landmarks[keep], ignored[areas(ignored) > 0])


def _odds(photograph: Photograph, turned: float, smallest: float = 0.0) -> NDArray[np.float64]:
    """How often (n,) its faces are drawn, those that are turned aside and not below `smallest` `turned` times as often
    as the others."""
    profile = (yaws(photograph.landmarks) >= _TURNED) & (areas(photograph.boxes) >= smallest**2)
    return np.where(profile, turned, 1.0)


def _drawn(odds: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index, given the running sum of the odds."""
    return int(np.searchsorted(odds, rng.random() * odds[-1], side="right"))


def _tint(rng: np.random.Generator) -> NDArray[np.float64]:
    """What makes a grey face one of some skin's colour, or leaves it grey."""
    return np.array([1.12, 0.98, 0.88]) * rng.uniform(0.9, 1.1, 3) if rng.random() < 0.7 else np.ones(3)


def _halvings(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The picture, and halved again and again while it has 32 pixels or more to spare: shrinking by more than half
    would alias."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 32:
        height, width = levels[-1].shape[:2]
        # Even sides, so that every level is exactly half of the one before.
        even = levels[-1][: height // 2 * 2, : width // 2 * 2]
        levels.append(np.asarray(cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8))
    return levels


def _level(scale: float, levels: Sequence[NDArray[np.uint8]]) -> int:
    """Which of the halvings is shrunk to `scale` without aliasing."""
    return int(np.clip(math.floor(-math.log2(scale)), 0, len(levels) - 1))


def _cuts(size: int, across: int, rng: np.random.Generator) -> list[int]:
    inner = [round(size * (i + rng.uniform(-0.25, 0.25)) / across) for i in range(1, across)]
    return [0, *inner, size]


def _linear(scale: float, turn: float, mirror: bool, stretch: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The 2x2 matrix that mirrors, stretches and shears, scales, then turns (radians, clockwise as one looks)."""
    aspect = math.exp(rng.uniform(-1, 1) * math.log1p(stretch) / 2)
    shape = np.array([[aspect, rng.uniform(-1, 1) * stretch / 2], [0, 1 / aspect]])
    cos, sin = math.cos(turn), math.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ shape * scale @ np.diag([-1.0 if mirror else 1.0, 1.0])
    return np.asarray(linear, np.float64)


def _soft_oval(side: int) -> NDArray[np.float32]:
    """One inside the face's oval of a crop, falling to zero at its border."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    return np.asarray(np.clip((1 - np.sqrt((x / 0.92) ** 2 + y**2)) / 0.12, 0, 1), np.float32)
