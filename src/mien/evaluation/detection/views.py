"""The pictures detectors are measured on: held-out photographs as they are, and scaled, turned and spoilt by plan.

All but the plain ones and their mirror images are laid on a square of `CANVAS` pixels that a scene without a face
fills, so that no detector reduces them further and a small face is sought where small faces are: in a larger picture.
Faces above 128 pixels are laid on one of `LARGE_CANVAS`; the largest fill it and more.
One thing varies at a time around a face of `BASE` pixels as it was photographed. Everything hangs on the photograph's
hash alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import MIRRORED_ORDER, Photograph
from mien.vision.boxes import turned_boxes, turned_regions

Group = Literal["plain", "kind", "yaw", "size", "soft", "tilt", "condition"]
Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

CANVAS = 320
BASE = 64.0
SMALLEST = 24.0
"""Faces below this many pixels count neither way, except where smaller ones are asked for."""
SIZES = (10, 16, 24, 32, 64, 128)
LARGE_CANVAS = 640
LARGE_SIZES = (256, 350, 500, 640)
MOST_ENLARGED = 4.0
"""Faces of these sizes are enlarged so far at most and still called sharp."""
SOFT_SIZES = (64, 128, 256, 350, 500, 640)
SOFTNESS = (24.0, 64.0)
"""Soft faces are enlarged from sizes between these."""
_CUT = 0.35
"""Share of its width or height that a face cut by the border has outside."""
TILTS = (0, 15, 30, 45, 60, 90)
_JITTER = 16
"""Pixels either way around the middle of the canvas, lest all faces lie alike on a network's grid."""
_GAMMA = 2.2
"""Between grey levels and light, near enough to sRGB."""


@dataclass(frozen=True)
class View:
    """An `(H, W, 3)` uint8 RGB picture and what is in it: `boxes` (n, 4), `landmarks` (n, 5, 2) and `ignore` (m, 4) as
    in `Photograph`; faces that are not `counted` (n,) count neither as found nor as missed."""

    pixels: Image
    boxes: Floats
    landmarks: Floats
    ignore: Floats
    counted: NDArray[np.bool_]


Spoil = Callable[[View, np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class Variant:
    """One way of showing every photograph.

    Its largest face is brought to `size` pixels, or where that is None to at most `BASE`, enlarged by `enlarge` at
    most, or where it is `soft` from a copy of some size between `SOFTNESS`; its axis from the eyes to the mouth is
    turned to `tilt` degrees, one way or the other by its hash, where that is not None; where it is `cut` it lies at the
    border; then it is spoilt.
    """

    group: Group
    name: str
    about: str
    size: float | None = None
    tilt: float | None = None
    spoil: Spoil | None = None
    enlarge: float = 1.0
    soft: bool = False
    cut: bool = False

    @property
    def canvas(self) -> int:
        """Pixels a side."""
        return CANVAS if (self.size or 0) <= SIZES[-1] else LARGE_CANVAS


def views(photograph: Photograph, scenes: Sequence[Photograph], variants: Sequence[Variant]) -> Iterator[View | None]:
    """The photograph as each variant shows it, None where it cannot: it has no face, none so large that it need not be
    enlarged too much, or, to be turned, none with landmarks.

    `scenes` have no faces; the ground is one of them, grey where there are none. Raises DataError where a picture
    cannot be decoded.
    """
    pixels = photograph.pixels()
    grounds: dict[int, Image] = {}
    for variant in variants:
        if variant.group == "plain":
            counted = _visible(photograph.boxes, pixels) & (face_sizes(photograph.boxes) >= SMALLEST)
            view = View(pixels, photograph.boxes, photograph.landmarks, photograph.ignore, counted)
            yield view if variant == PLAIN else _mirrored(view)
            continue
        sizes = face_sizes(photograph.boxes)
        smallest = SMALLEST if variant.soft or variant.size is None else variant.size / variant.enlarge
        if max(sizes, default=0.0) < smallest or (
            variant.tilt is not None and not np.isfinite(photograph.landmarks[sizes.argmax()]).all()
        ):
            yield None
            continue
        if variant.canvas not in grounds:
            grounds[variant.canvas] = _ground(photograph, scenes, variant.canvas)
        yield _shown(photograph, pixels, grounds[variant.canvas], variant)


def bare(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Those that hold neither faces nor regions to ignore: the scenes to lay others on."""
    return [one for one in photographs if not len(one.boxes) and not len(one.ignore)]


def face_sizes(boxes: Floats) -> Floats:
    """The geometric mean of width and height (n,) in pixels: what the size of a face means here."""
    sizes: Floats = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return sizes


def tilt_of(landmarks: Floats) -> float:
    """By how many degrees a face (5, 2) is turned clockwise, from the middle of its eyes to that of its mouth.

    That axis, unlike the line through the eyes, is long in a profile too.
    """
    x, y = landmarks[3:].mean(0) - landmarks[:2].mean(0)
    return float(np.degrees(np.arctan2(-x, y)))


def _shown(photograph: Photograph, pixels: Image, ground: Image, variant: Variant) -> View:
    sizes = face_sizes(photograph.boxes)
    main = int(sizes.argmax())
    reduced = scale = min(variant.enlarge if variant.size else 1.0, (variant.size or BASE) / float(sizes[main]))
    if variant.soft:
        low, high = SOFTNESS
        scale = (variant.size or BASE) / float(sizes[main])
        reduced = min(1.0, scale, low * (high / low) ** _randomness(photograph, "soft").random() / float(sizes[main]))
    degrees = 0.0
    if variant.tilt is not None:
        either_way = 1 if int(photograph.sha256[8], 16) % 2 else -1
        degrees = either_way * variant.tilt - tilt_of(photograph.landmarks[main])
    view = _laid(photograph, pixels, ground, (min(1.0, reduced), scale), degrees, variant.cut)
    smallest = SMALLEST if variant.size is None else 0.9 * variant.size
    counted = _visible(view.boxes, view.pixels) & (sizes * scale >= smallest)
    view = replace(view, counted=counted)
    if variant.spoil is None:
        return view
    spoilt = variant.spoil(view, _randomness(photograph, variant.name))
    return replace(view, pixels=np.clip(np.rint(spoilt), 0, 255).astype(np.uint8))


def _mirrored(view: View) -> View:
    linear, shift = np.diag([-1.0, 1.0]), np.array([view.pixels.shape[1], 0.0])
    return replace(
        view,
        pixels=np.ascontiguousarray(view.pixels[:, ::-1]),
        boxes=turned_boxes(view.boxes, linear, shift),
        landmarks=(view.landmarks @ linear.T + shift).astype(np.float32)[:, MIRRORED_ORDER],
        ignore=turned_regions(view.ignore, linear, shift),
    )


def _laid(
    photograph: Photograph, pixels: Image, ground: Image, scales: tuple[float, float], degrees: float, cut: bool
) -> View:
    """The photograph reduced to the first scale, enlarged from there to the second, turned clockwise about its largest
    face and laid on the ground, that face near the middle or cut by a border."""
    (height, width), (reduced, scale), canvas = pixels.shape[:2], scales, ground.shape[0]
    size = (max(1, round(width * reduced)), max(1, round(height * reduced)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]]) * (scale / reduced)
    linear = turn * (np.array(size) / (width, height))
    box = photograph.boxes[face_sizes(photograph.boxes).argmax()]
    target = canvas / 2 + _randomness(photograph, "place").integers(-_JITTER, _JITTER + 1, 2)
    if cut:
        side = int(photograph.sha256[9], 16) % 4
        inside = (0.5 - _CUT) * (box[2:] - box[:2])[side % 2] * scale
        target[side % 2] = inside if side < 2 else canvas - inside
    shift = np.rint(target - linear @ ((box[:2] + box[2:]) / 2))  # whole pixels, so that nothing is smoothed unturned
    warp = np.column_stack([turn, shift + turn.sum(1) / 2 - 0.5])  # OpenCV counts from pixel centres
    flags = cv2.INTER_CUBIC if scale > reduced else cv2.INTER_LINEAR
    laid = cv2.warpAffine(small, warp, (canvas, canvas), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.full(size[::-1], 255, np.uint8), warp, (canvas, canvas), flags=cv2.INTER_LINEAR)
    return View(
        np.where(covered[..., None] > 127, laid, ground).astype(np.uint8),
        turned_boxes(photograph.boxes, linear, shift),
        (photograph.landmarks @ linear.T + shift).astype(np.float32),
        turned_regions(photograph.ignore, linear, shift),
        np.ones(len(photograph.boxes), bool),
    )


def _ground(photograph: Photograph, scenes: Sequence[Photograph], canvas: int) -> Image:
    """The middle of one of the scenes, which the photograph's hash chooses, as large as the canvas."""
    if not scenes:
        return np.full((canvas, canvas, 3), 127, np.uint8)
    return filled(scenes[int(photograph.sha256[:8], 16) % len(scenes)].pixels(), canvas, canvas)


def filled(pixels: Image, width: int, height: int) -> Image:
    """The middle of a picture, scaled until it fills that size."""
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    size = (max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale)))
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)


def _visible(boxes: Floats, pixels: Image) -> NDArray[np.bool_]:
    """Whether half of each box at least lies in the picture."""
    limits = np.array(pixels.shape[1::-1], np.float32)
    inside = np.clip(boxes[:, 2:], 0, limits) - np.clip(boxes[:, :2], 0, limits)
    seen: NDArray[np.bool_] = inside.prod(1) >= 0.5 * (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return seen


def _randomness(photograph: Photograph, purpose: str) -> np.random.Generator:
    return np.random.default_rng([int(photograph.sha256[:16], 16), zlib.crc32(purpose.encode())])


def _exposed(pixels: Image, gain: NDArray[Any] | float) -> NDArray[Any]:
    """Grey levels when `gain` times the light falls in."""
    return 255 * np.minimum((pixels / np.float32(255)) ** _GAMMA * gain, 1) ** (1 / _GAMMA)


def _dark(gain: float, view: View, rng: np.random.Generator) -> NDArray[Any]:
    """Little light, and the noise of a sensor that has to do with it: 3 grey levels."""
    return _exposed(view.pixels, gain) + rng.normal(0, 3, view.pixels.shape).astype(np.float32)


def _bright(gain: float, view: View, rng: np.random.Generator) -> NDArray[Any]:
    return _exposed(view.pixels, gain)


def _side_light(share: float, view: View, rng: np.random.Generator) -> NDArray[Any]:
    """The light falls from all of it at the largest face's left edge to `share` of it at the right one."""
    left, _, right, _ = view.boxes[face_sizes(view.boxes).argmax()]
    across = np.clip((np.arange(view.pixels.shape[1]) + 0.5 - left) / (right - left), 0, 1)
    return _exposed(view.pixels, (share**across).astype(np.float32)[None, :, None])


def _blur(sigma: float, view: View, rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(cv2.GaussianBlur(view.pixels, (0, 0), sigma))


def _noise(sigma: float, view: View, rng: np.random.Generator) -> NDArray[Any]:
    return view.pixels + rng.normal(0, sigma, view.pixels.shape).astype(np.float32)


def _grey(view: View, rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(view.pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def _jpeg(quality: int, view: View, rng: np.random.Generator) -> NDArray[Any]:
    """Compressed with red and blue exchanged, as OpenCV wants them, and back."""
    _, packed = cv2.imencode(".jpg", view.pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB))


PLAIN = Variant("plain", "plain", "the photographs as they are, scenes without a face among them")
MIRRORED = Variant("plain", "mirrored", "the same, mirrored: a detector that marked them has no advantage left")
VARIANTS: tuple[Variant, ...] = (
    PLAIN,
    MIRRORED,
    *(Variant("size", f"{s} px", f"the largest face reduced to {s} pixels", size=s) for s in SIZES),
    *(
        Variant(
            "size",
            f"{s} px",
            f"the largest face brought to {s} pixels, from a quarter of that or more",
            size=s,
            enlarge=MOST_ENLARGED,
        )
        for s in LARGE_SIZES
    ),
    *(
        Variant(
            "soft",
            f"soft {s} px",
            f"the largest face brought to {s} pixels from 24 to 64",
            size=s,
            soft=True,
            enlarge=s / SMALLEST,
        )
        for s in SOFT_SIZES
    ),
    *(Variant("tilt", f"{t}°", f"the head tilted by {t} degrees, one way or the other", tilt=t) for t in TILTS),
    Variant("condition", "cut", "cut by the border: a third of the face's width or height lies outside", cut=True),
    Variant("condition", "grey", "without colour", spoil=_grey),
    Variant("condition", "JPEG 20", "compressed at a quality of 20", spoil=partial(_jpeg, 20)),
    Variant("condition", "dark", "a 16th of the light, sensor noise of 3 grey levels", spoil=partial(_dark, 1 / 16)),
    Variant("condition", "very dark", "a 64th of the light, the same noise", spoil=partial(_dark, 1 / 64)),
    Variant("condition", "overexposed", "four times the light", spoil=partial(_bright, 4)),
    Variant(
        "condition",
        "side light",
        "from all of the light to a 16th of it across the face",
        spoil=partial(_side_light, 1 / 16),
    ),
    Variant("condition", "blurred", "Gaussian blur, sigma 2 pixels", spoil=partial(_blur, 2)),
    Variant("condition", "very blurred", "Gaussian blur, sigma 4 pixels", spoil=partial(_blur, 4)),
    Variant("condition", "noisy", "Gaussian noise, sigma 25 grey levels", spoil=partial(_noise, 25)),
    Variant("condition", "very noisy", "Gaussian noise, sigma 50 grey levels", spoil=partial(_noise, 50)),
)
