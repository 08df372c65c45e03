"""Files in the layouts of public data sets, filled with noise."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

USAGES = ("Training", "PublicTest", "PrivateTest")


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape or (48, 48), np.uint8)


def picture(path: Path, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


def csv_row(emotion: object, image: NDArray[np.uint8], usage: str) -> str:
    return f"{emotion},{' '.join(map(str, image.ravel()))},{usage}"


def write_csv(path: Path, rows: Sequence[str], header: str = "emotion,pixels,Usage") -> Path:
    content = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def fer_rows() -> list[str]:
    return [csv_row(i % 7, noise(i), USAGES[i % 3]) for i in range(21)]


def encoded(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
