"""Make the demo's film from one real photograph: two shots, a moving camera, and somebody who walks past.

    python scripts/make_demo_film.py demo/film.mp4

At 29.97 frames a second with sound. First shot, two thirds of the film: the camera pans and zooms over the photo;
a second face, the first one mirrored, comes in from the right, passes in front of the first and leaves to the left.
Then a cut to the mirrored photo in dim light. The photograph is `astronaut` of scikit-image: Eileen Collins, NASA,
in the public domain.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

INTERVAL = Fraction(1001, 30000)
CUT = 2 / 3
"""Share of the film at which the second shot begins."""
WALK = (0.12, 0.62)
"""Shares of the film at which the second face comes in and is gone."""
_HEAD = (150, 5, 300, 215)
"""x1 y1 x2 y2 of the head in the photo."""
RATE, _BLOCK = 44_100, 1024

Image = NDArray[np.uint8]


def scene(size: tuple[int, int], seconds: float) -> Iterator[Image]:
    """The film's frames, `(H, W, 3)` uint8 RGB."""
    width, height = size
    photo = np.asarray(data.astronaut(), np.uint8)
    x1, y1, x2, y2 = _HEAD
    head = np.ascontiguousarray(photo[y1:y2, x1:x2][:, ::-1])
    count = round(seconds / INTERVAL)
    for i in range(count):
        share = i / count
        if share >= CUT:
            late = (share - CUT) / (1 - CUT)
            yield (_camera(photo[:, ::-1], size, 0.62 - 0.06 * late, 0.33, 0.55) * 0.55).astype(np.uint8)
            continue
        frame = _camera(photo, size, 0.5 + 0.06 * np.sin(5 * share), 0.36 + 0.04 * share, 0.74 - 0.14 * share)
        walked = (share - WALK[0]) / (WALK[1] - WALK[0])
        if 0 < walked < 1:
            tall = 0.52 * height
            wide = tall * head.shape[1] / head.shape[0]
            left = width - walked * (width + wide)
            lay(frame, head, left, 0.34 * height + 0.03 * height * np.sin(25 * walked), wide, tall)
        yield frame


def _camera(photo: Image, size: tuple[int, int], x: float, y: float, view: float) -> Image:
    """What a camera sees that looks at (x, y), shares of the photo, and has `view` of its height in the picture."""
    width, height = size
    scale = height / (photo.shape[0] * view)
    across, down = width / scale / photo.shape[1] / 2, view / 2  # the camera does not look past the photo's edge
    x, y = min(max(x, across), 1 - across), min(max(y, down), 1 - down)
    move = np.array(
        [[scale, 0, width / 2 - scale * x * photo.shape[1]], [0, scale, height / 2 - scale * y * photo.shape[0]]]
    )
    seen = cv2.warpAffine(photo, move, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.uint8)


def lay(frame: Image, head: Image, left: float, top: float, width: float, height: float) -> None:
    """Lay a head into the frame, cut out as an ellipse with a soft edge; it may reach past the frame."""
    x1, y1 = max(int(left), 0), max(int(top), 0)
    there = frame[y1 : max(ceil(top + height), 0), x1 : max(ceil(left + width), 0)]
    if not there.size:
        return
    move = np.array([[width / head.shape[1], 0, left - x1], [0, height / head.shape[0], top - y1]])
    size = there.shape[1], there.shape[0]
    y, x = np.mgrid[-1 : 1 : head.shape[0] * 1j, -1 : 1 : head.shape[1] * 1j]
    mask = np.clip((1 - np.hypot(x, y)) * 8, 0, 1).astype(np.float32)
    share = cv2.warpAffine(mask, move, size)[..., None]
    there[:] = there * (1 - share) + cv2.warpAffine(head, move, size) * share


def write(path: Path, size: tuple[int, int] = (640, 480), seconds: float = 6.0) -> None:
    """Write the film; the tone rises by an octave from beginning to end."""
    time = np.arange(round(seconds * RATE)) / RATE
    encode(path, scene(size, seconds), 0.1 * np.sin(2 * np.pi * 220 * (time + time**2 / (2 * seconds))))


def encode(path: Path, images: Iterable[Image], tone: NDArray[np.float64]) -> None:
    """Write frames of one size, `(H, W, 3)` uint8 RGB, as H.264 at 29.97 a second, and samples in -1..1, `RATE` a
    second, as AAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=1 / INTERVAL, options={"crf": "18"})
        video.pix_fmt = "yuv420p"
        audio = film.add_stream("aac", rate=RATE, layout="mono")
        for i, image in enumerate(images):
            if i == 0:
                video.height, video.width = image.shape[:2]
            film.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(video.encode(None))
        for first in range(0, len(tone), _BLOCK):
            block = tone[None, first : first + _BLOCK].astype(np.float32)
            samples = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            samples.sample_rate, samples.pts = RATE, first
            film.mux(audio.encode(samples))
        film.mux(audio.encode(None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the demo's film.")
    parser.add_argument("path", type=Path, nargs="?", default=Path("demo/film.mp4"))
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    wide, tall = (int(side) for side in given.size.split("x"))
    write(given.path, (wide, tall), given.seconds)
