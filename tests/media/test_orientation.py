"""Films come out as they are to be seen: turned, mirrored, cropped, with square pixels, alone and together."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from films import make_film
from numpy.typing import NDArray

from mien.media.opening import open_frames


@pytest.fixture
def photo(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Neither square nor symmetric, `(96, 128, 3)`; even sides, also after cropping."""
    return np.ascontiguousarray(astronaut[60:156, 170:298])


def shown(path: Path) -> NDArray[np.uint8]:
    return next(open_frames(path)).image


def same(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    return image.shape == expected.shape and float(np.abs(image.astype(int) - expected).mean()) < 6


def cropped(path: Path, photo: NDArray[np.uint8], rotation: int, mirrored: bool) -> Path:
    """A film of the photograph of which the decoder cuts off 16 columns and 8 rows on the left and at the top, 4 and 2
    on the other sides, with pixels twice as wide as high."""
    whole = make_film(path.with_suffix(".h264"), [photo] * 2, options={"bf": "0"})
    filters = "h264_metadata=crop_left=16:crop_right=4:crop_top=8:crop_bottom=2:sample_aspect_ratio=2/1"
    cut = path.with_suffix(".cut.h264")
    with av.open(str(whole)) as film, av.open(str(cut), "w") as out:
        stream = film.streams.video[0]
        target = out.add_stream_from_template(stream)
        change = BitStreamFilterContext(filters, stream)
        for i, packet in enumerate(p for p in film.demux(stream) if p.size):
            packet.pts = packet.dts = i
            for changed in change.filter(packet):
                changed.stream = target
                out.mux(changed)
    with av.open(str(cut)) as film, av.open(str(path), "w") as out:
        target = out.add_stream_from_template(film.streams.video[0])
        target.set_display_rotation(rotation, hflip=mirrored)
        for i, packet in enumerate(p for p in film.demux() if p.size):
            packet.pts = packet.dts = i * 1000
            packet.stream = target
            out.mux(packet)
    return path


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_all_eight(photo: NDArray[np.uint8], tmp_path: Path, rotation: int, mirrored: bool) -> None:
    expected = np.rot90(photo, rotation // 90)
    expected = expected[:, ::-1] if mirrored else expected
    path = make_film(tmp_path / "film.mp4", [photo] * 2, rotation=rotation, mirrored=mirrored)
    assert same(shown(path), expected)
    assert shown(path).flags.c_contiguous


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_with_a_part_cut_out_and_wide_pixels(
    photo: NDArray[np.uint8], tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    """What is stored is cropped first, then stretched, then turned, then mirrored."""
    path = cropped(tmp_path / "film.mp4", photo, rotation, mirrored)
    expected = np.rot90(np.repeat(photo[8:-2, 16:-4], 2, axis=1), rotation // 90)
    expected = expected[:, ::-1] if mirrored else expected
    assert same(shown(path), expected)
