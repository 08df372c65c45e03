"""Annotated pictures as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.files import replacing

JPEG = frozenset((".jpg", ".jpeg", ".jpe", ".jfif"))


def save_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an `(H, W, 3)` uint8 RGB picture as JPEG where `path` ends so, else as PNG. Raises OutputError when it
    cannot be written."""
    picture = Image.fromarray(image)
    with replacing(path, str(path)) as part:
        if path.suffix.lower() in JPEG:
            picture.save(part, "JPEG", quality=92, subsampling=0)
        else:
            picture.save(part, "PNG")
