"""Films that tests make: every frame carries its number in black and white blocks, and there can be sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

NTSC = Fraction(1001, 30000)
_BITS, _SIDE = 8, 16


def numbered(number: int, size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """A grey `(H, W, 3)` frame with 8 blocks along its top that spell a number, most significant first."""
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    for bit in range(_BITS):
        image[:_SIDE, bit * _SIDE : (bit + 1) * _SIDE] = 255 if number >> (_BITS - 1 - bit) & 1 else 0
    return image


def number(image: NDArray[np.uint8]) -> int:
    """The number that a frame of `numbered` carries."""
    blocks = image[_SIDE // 2, _SIDE // 2 : _BITS * _SIDE : _SIDE, 0]
    return sum(int(v > 127) << (_BITS - 1 - bit) for bit, v in enumerate(blocks))


def make_film(
    path: Path,
    images: Iterable[NDArray[np.uint8]] | None = None,
    *,
    times: Sequence[Fraction | float] | None = None,
    count: int = 30,
    size: tuple[int, int] = (160, 120),
    time_base: Fraction = Fraction(1, 30000),
    codec: str = "libx264",
    sound: str | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    pixel_shape: Fraction | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
) -> Path:
    """Write a film of `images` (None: `count` numbered ones) that are shown at `times` (None: at 29.97 fps).

    `sound` is the codec of a tone of 440 Hz, as long as the picture; `rotation` is counter-clockwise in degrees, and
    what is `mirrored` is shown so after it.
    """
    pictures = [numbered(i, size) for i in range(count)] if images is None else list(images)
    when = [i * NTSC for i in range(len(pictures))] if times is None else times
    with av.open(str(path), "w", options=muxing or {}) as out:
        video = out.add_stream(codec, rate=Fraction(30000, 1001), options=options or {})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        video.time_base = video.codec_context.time_base = time_base
        if rotation or mirrored:
            video.set_display_rotation(rotation, hflip=mirrored)
        if pixel_shape:
            video.codec_context.sample_aspect_ratio = pixel_shape
        audio = out.add_stream(sound, rate=44100, layout="mono") if sound else None
        for image, moment in zip(pictures, when, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(moment / time_base), time_base
            out.mux(video.encode(frame))
        if audio is not None:
            length = int(44100 * float(when[-1] + NTSC))
            tone = (np.sin(np.arange(length) * (2 * np.pi * 440 / 44100)) * 8000).astype(np.int16)
            for first in range(0, length, 1024):
                samples = av.AudioFrame.from_ndarray(tone[None, first : first + 1024], format="s16", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 44100, first, Fraction(1, 44100)
                out.mux(audio.encode(samples))
        for stream in (video, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def make_faces_film(path: Path, photo: NDArray[np.uint8]) -> Path:
    """Two faces that drift to the right for 40 frames, then after a cut one for 20; 320x160, 29.97 fps, with sound."""
    face = cv2.resize(photo[:300, 90:390], (160, 160), interpolation=cv2.INTER_AREA)
    pair = np.hstack([face, face[:, ::-1]])
    alone = np.full((160, 320, 3), 60, np.uint8)
    alone[:, 80:240] = (face * 0.7).astype(np.uint8)
    shots = [np.roll(pair, i // 3, axis=1) for i in range(40)] + [np.roll(alone, i // 2, axis=1) for i in range(20)]
    return make_film(path, [np.ascontiguousarray(image) for image in shots], sound="aac")


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and content of all packets of the first `video` or `audio` stream."""
    with av.open(str(path)) as film:
        stream = next(s for s in film.streams if s.type == kind)
        return [(p.pts * p.time_base, bytes(p)) for p in film.demux(stream) if p.pts is not None and p.size]
