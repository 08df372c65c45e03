"""Pictures that nobody vouches for: looked at from outside first, then decoded."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError
from mien.media.images import MAX_SIDE, decode_image
from mien.serve.problems import Refused

#: What viewers send, and what is taken as a picture: formats of browsers, whose decoders are small and well tested.
FRAMES = ("JPEG", "PNG", "WEBP")
PICTURES = (*FRAMES, "GIF", "BMP")

_MAX_SCANS = 50
"""Of a JPEG, each of which costs the time of a whole picture; progressive ones have about ten."""
_SCAN = b"\xff\xda"


def measure(content: bytes, name: str, formats: tuple[str, ...], max_pixels: int) -> int:
    """How many pixels a picture has, from its header, before anything is decoded.

    Raises Refused: 415 for what is none of `formats`, 413 for more than `max_pixels`, 422 for a JPEG whose pixels would
    have to be gone over again and again.
    """
    kinds = ", ".join(formats)
    try:
        with Image.open(BytesIO(content), formats=formats) as header:
            (width, height), kind = header.size, header.format
    except Image.DecompressionBombError:
        raise Refused(413, f"{name} has too many pixels; up to {max_pixels:,} are read") from None
    except Exception:  # noqa: BLE001 - on bytes that are no picture Pillow raises nearly anything
        raise Refused(415, f"{name} is no picture of a known format ({kinds})") from None
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise Refused(413, f"{name} has {width:,} x {height:,} pixels; up to {max_pixels:,} are read: scale it down")
    if kind in {"JPEG", "MPO"} and (scans := content.count(_SCAN)) > _MAX_SCANS:
        raise Refused(422, f"{name} is a JPEG of {scans:,} scans; up to {_MAX_SCANS} are read: save it anew")
    return width * height


def decode(content: bytes, name: str, formats: tuple[str, ...], max_pixels: int) -> NDArray[np.uint8]:
    """A picture as `(H, W, 3)` uint8 RGB, upright; time and memory are bounded by `max_pixels`.

    Raises Refused as `measure` does, and with 422 for what is damaged.
    """
    measure(content, name, formats, max_pixels)
    return decode_measured(content, name)


def decode_measured(content: bytes, name: str) -> NDArray[np.uint8]:
    """As `decode`, for what `measure` has let pass."""
    try:
        return decode_image(content, name)
    except InputError as error:
        raise Refused(422, str(error)) from None
