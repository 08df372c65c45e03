"""Drawn pictures without a face: letters, dots and rings, which look like faces to who knows only photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.drawing.raster import typeface

_SIGNS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") + list("eeoOc08@&%.:;,!?()Qg") * 2


def draw_clutter(picture: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Fill an `(H, W, 3)` uint8 RGB picture, in place, with lines of text or with dots and rings."""
    height, width = picture.shape[:2]
    paper = rng.integers(0, 256, 3)
    if rng.random() < 0.6:
        paper = np.full(3, rng.choice([0, 20, 235, 255]))
    ink = np.full(3, 0 if paper.mean() > 128 else 255) if rng.random() < 0.6 else rng.integers(0, 256, 3)
    picture[:] = paper
    if rng.random() < 0.6:
        _write(picture, tuple(int(v) for v in ink), rng)
        return
    for _ in range(int(rng.integers(1, 8))):
        radius = float(np.exp(rng.uniform(np.log(2.0), np.log(max(height, width) / 3))))
        axes = (max(1, round(radius)), max(1, round(radius * rng.uniform(0.7, 1.4))))
        middle = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = tuple(int(v) for v in (ink if rng.random() < 0.5 else rng.integers(0, 256, 3)))
        stroke = -1 if rng.random() < 0.7 else max(1, round(radius * rng.uniform(0.1, 0.4)))
        cv2.ellipse(picture, middle, axes, float(rng.uniform(0, 180)), 0, 360, colour, stroke, cv2.LINE_AA)


def _write(picture: NDArray[np.uint8], ink: tuple[int, ...], rng: np.random.Generator) -> None:
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    size = max(6, round(float(np.exp(rng.uniform(np.log(8.0), np.log(max(16.0, 0.8 * min(height, width))))))))
    page = Image.fromarray(picture)
    draw, y = ImageDraw.Draw(page), int(rng.integers(-size // 2, size))
    while y < height:
        count = int(2.5 * width / size) + 2
        line = "".join(str(sign) if rng.random() > 0.15 else " " for sign in rng.choice(_SIGNS, count))
        draw.text((int(rng.integers(-size, size)), y), line, ink, typeface(size))
        y += round(size * rng.uniform(1.1, 1.8))
    picture[:] = np.asarray(page)
