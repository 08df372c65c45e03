"""A picture that explains: each face as it is, under its occlusion map, and what was read in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.drawing.annotate import colours
from mien.drawing.raster import typeface
from mien.evaluation.expression.occlusion import OcclusionMap, heat
from mien.faces import Faces
from mien.models import CropGeometry
from mien.vision.crop import crop_faces

_PAPER, _INK, _PALE, _TRACK = (19, 21, 26), (255, 255, 255), (172, 178, 188), (45, 49, 57)
_FACE, _PAD, _TEXT, _LEGEND = 288, 28, 340, 84
_WIDTH = 4 * _PAD + 2 * _FACE + _TEXT
_LARGE, _SMALL = 28, 15
_BARS = 7
_FINER = 4
"""Rounded corners are drawn so much larger and reduced, which makes them smooth."""


def draw_sheet(
    image: NDArray[np.uint8], faces: Faces, maps: Sequence[OcclusionMap], geometry: CropGeometry
) -> NDArray[np.uint8]:
    """A row for each of the faces in an `(H, W, 3)` uint8 RGB image, one legend for all; `(h, w, 3)` uint8 RGB."""
    sheet = Image.new("RGB", (_WIDTH, _PAD + len(maps) * (_FACE + _PAD) + _LEGEND), _PAPER)
    for row, (cutout, found) in enumerate(zip(_cutouts(image, faces, geometry), maps, strict=True)):
        y = _PAD + row * (_FACE + _PAD)
        grey = Image.fromarray(np.asarray(cv2.cvtColor(cutout, cv2.COLOR_RGB2GRAY), np.uint8)).convert("RGBA")
        grey.alpha_composite(Image.fromarray(heat(found.drops, _FACE), "RGBA"))
        for picture, x in ((Image.fromarray(cutout), _PAD), (grey.convert("RGB"), 2 * _PAD + _FACE)):
            sheet.paste(picture, (x, y), _rounded(_FACE, _FACE, 16))
        _words(sheet, (3 * _PAD + 2 * _FACE, y), faces, row, found, geometry)
    _legend(sheet)
    return np.array(sheet)


def _cutouts(image: NDArray[np.uint8], faces: Faces, geometry: CropGeometry) -> NDArray[np.uint8]:
    """The faces in colour, framed as the network sees them, `(n, _FACE, _FACE, 3)` uint8 RGB."""
    channels = (np.repeat(image[..., [c]], 3, axis=2) for c in range(3))
    return np.stack([crop_faces(channel, faces, _FACE, geometry) for channel in channels], axis=-1)


def _words(
    sheet: Image.Image, corner: tuple[int, int], faces: Faces, row: int, found: OcclusionMap, geometry: CropGeometry
) -> None:
    """What was read, with its probabilities, of which there is room for seven, and what it hangs on most."""
    x, y = corner
    probs = np.zeros(len(faces.label_names), np.float32) if faces.probs is None else faces.probs[row]
    likeliest = sorted(np.argsort(-probs, kind="stable")[:_BARS].tolist())
    labels, shares, tones = [faces.label_names[k] for k in likeliest], probs[likeliest], colours(faces.label_names)
    write = ImageDraw.Draw(sheet)
    write.text((x, y + 14), f"face {row + 1}", _PALE, typeface(_SMALL), anchor="lm")
    title = f"{found.label} {found.probability:.0%}"
    write.text((x, y + 44), title, tones[found.label], typeface(_LARGE), anchor="lm")
    names = max(typeface(_SMALL).getlength(label) for label in labels)
    start, bars = x + names + 14, _TEXT - names - 14 - 52
    for k, (label, share) in enumerate(zip(labels, shares.tolist(), strict=True)):
        middle = y + 84 + 22 * k
        tone = _INK if label == found.label else _PALE
        write.text((x, middle), label, tone, typeface(_SMALL), anchor="lm")
        _bar(sheet, (start, middle), bars, _TRACK)
        if share * bars >= 3:
            _bar(sheet, (start, middle), share * bars, tones[label])
        write.text((x + _TEXT, middle), f"{share:.0%}", tone, typeface(_SMALL), anchor="rm")
    for line, text in enumerate(_sentence(found, geometry)):
        write.text((x, y + 250 + 22 * line), text, _INK, typeface(_SMALL), anchor="lm")


def _sentence(found: OcclusionMap, geometry: CropGeometry) -> tuple[str, str]:
    place = found.place(geometry)
    part = "a place off eyes, nose and mouth" if place == "elsewhere" else f"the {place}"
    return f"It hangs most on {part}:", f"covered, {found.label} falls by {100 * found.drop:.1f} points."


def _legend(sheet: Image.Image) -> None:
    """The colours over grey as they lie on the faces, from the largest rise to the largest fall."""
    ramp = np.linspace(-1, 1, 256, dtype=np.float32)[None].repeat(2, 0)
    width, height = 2 * _FACE + _PAD, 14
    y = sheet.height - _LEGEND + 4
    strip = Image.new("RGBA", (256, 2), (128, 128, 128, 255))
    strip.alpha_composite(Image.fromarray(heat(ramp, 2), "RGBA"))
    scaled = strip.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    sheet.paste(scaled, (_PAD, y), _rounded(width, height, 7))
    write = ImageDraw.Draw(sheet)
    for x, anchor, text in (
        (_PAD, "lm", "covered, it rises"),
        (_PAD + width // 2, "mm", "full at the face's largest change"),
        (_PAD + width, "rm", "covered, it falls"),
    ):
        write.text((x, y + 34), text, _PALE, typeface(_SMALL), anchor=anchor)
    x = 3 * _PAD + 2 * _FACE
    write.text((x, y + 7), "Occlusion sensitivity", _PALE, typeface(_SMALL), anchor="lm")
    write.text((x, y + 34), "Zeiler and Fergus 2014", _PALE, typeface(_SMALL), anchor="lm")


def _bar(sheet: Image.Image, start: tuple[float, float], width: float, colour: tuple[int, int, int]) -> None:
    mask = _rounded(max(round(width), 1), 9, 4)
    x, y = round(start[0]), round(start[1]) - 4
    sheet.paste(colour, (x, y, x + mask.width, y + mask.height), mask)


def _rounded(width: int, height: int, radius: int) -> Image.Image:
    mask = Image.new("L", (width * _FINER, height * _FINER))
    corner = (width * _FINER - 1, height * _FINER - 1)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *corner), radius * _FINER, 255)
    return mask.reduce(_FINER)
