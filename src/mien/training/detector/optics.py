"""How a composed picture was taken: colour, light, blur, noise and compression."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.training.recipe import SceneTable


def expose(image: NDArray[np.uint8], table: SceneTable, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The `(S, S, 3)` uint8 RGB picture as some camera might have taken it; all draws come from `rng`."""
    if rng.random() < table.blur:
        image = _blurred(image, rng)
    image = _lit(image, rng.random() < table.dark, rng)
    if rng.random() < table.noise:
        spread = math.exp(rng.uniform(math.log(2), math.log(22)))
        image = _noisy(image, spread, rng)
    if rng.random() < table.grey:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < table.jpeg:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 80))])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _lit(image: NDArray[np.uint8], dark: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness and a colour cast in one table per channel; in low light few grey levels remain."""
    level = np.linspace(0, 1, 256, dtype=np.float32)
    curve = level ** math.exp(rng.uniform(-0.4, 0.4))
    curve = (curve - 0.5) * rng.uniform(0.6, 1.4) + 0.5 + rng.uniform(-0.15, 0.15)
    if dark:
        curve = curve * math.exp(rng.uniform(math.log(0.15), math.log(0.6)))
    cast = rng.uniform(0.85, 1.15, 3)
    tables = np.clip(curve[:, None] * cast * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, tables.reshape(1, 256, 3)), np.uint8)


def _blurred(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Out of focus, moved, or sampled too coarsely."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.2)), np.uint8)
    if kind == 1:
        length, angle = int(rng.integers(3, 10)), rng.uniform(0, math.pi)
        kernel = np.zeros((length, length), np.float32)
        middle = (length - 1) / 2
        along = np.array([math.cos(angle), math.sin(angle)]) * middle
        start, end = np.round(middle - along).astype(int), np.round(middle + along).astype(int)
        cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
    size, scale = image.shape[:2], rng.uniform(0.35, 0.8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _noisy(image: NDArray[np.uint8], spread: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sensor noise of `spread` grey levels, cut anywhere out of one large field, since drawing it is slow."""
    field = _noise()
    height, width = image.shape[:2]
    y, x = rng.integers(field.shape[0] - height + 1), rng.integers(field.shape[1] - width + 1)
    return np.asarray(cv2.addWeighted(image, 1, field[y : y + height, x : x + width], spread, 0, dtype=cv2.CV_8U))


@cache
def _noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1536, 1536, 3), np.float32)
