from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.tracking.shots import CutDetector

Image = NDArray[np.uint8]


def view(picture: Image, x: float, y: float, width: float) -> Image:
    """What a camera sees whose frame is `width` pixels of the picture wide, 16:9."""
    scale = 320 / width
    look = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
    return np.asarray(cv2.warpAffine(picture, look, (320, 180), borderMode=cv2.BORDER_REFLECT), np.uint8)


def noisy(frame: Image, rng: np.random.Generator) -> Image:
    return np.clip(frame + rng.normal(0, 5, frame.shape), 0, 255).astype(np.uint8)


def cuts(frames: list[Image]) -> list[int]:
    detector, rng = CutDetector(), np.random.default_rng(0)
    return [i for i, frame in enumerate(frames) if detector.update(noisy(frame, rng))]


@pytest.fixture(scope="module")
def cat() -> Image:
    from skimage import data

    return np.array(data.chelsea(), np.uint8)


@pytest.fixture(scope="module")
def coffee() -> Image:
    from skimage import data

    return np.array(data.coffee(), np.uint8)


def test_cuts_are_found_where_they_are(astronaut: Image, cat: Image, coffee: Image) -> None:
    shots = [(astronaut, 12), (cat, 20), (coffee, 3), (astronaut, 15)]
    frames = [view(picture, k, 0, 400) for picture, count in shots for k in range(count)]
    assert cuts(frames) == [12, 32, 35]


def test_cut_from_the_whole_to_a_part(astronaut: Image) -> None:
    frames = [view(astronaut, 0, 0, 500)] * 8 + [view(astronaut, 150, 50, 160)] * 8
    assert cuts(frames) == [8]


def test_pan_is_no_cut(astronaut: Image) -> None:
    assert cuts([view(astronaut, 12 * k, 3 * k, 250) for k in range(22)]) == []


def test_zoom_is_no_cut(coffee: Image) -> None:
    assert cuts([view(coffee, 3 * k, 2 * k, 500 - 9 * k) for k in range(40)]) == []


def test_shaken_camera_is_no_cut(coffee: Image) -> None:
    rng = np.random.default_rng(1)
    assert cuts([view(coffee, 50 + rng.normal(0, 6), 50 + rng.normal(0, 6), 400) for _ in range(40)]) == []


@pytest.mark.parametrize("gain", [1.6, 3.0, 100.0])
def test_flash_is_no_cut(cat: Image, gain: float) -> None:
    still = view(cat, 20, 20, 350)
    flash = np.clip(still.astype(float) * gain + 30, 0, 255).astype(np.uint8)
    assert cuts([still] * 10 + [flash] + [still] * 10 + [flash] * 2 + [still] * 5) == []


def test_light_switched_off_is_no_cut(coffee: Image) -> None:
    still = view(coffee, 20, 20, 350)
    assert cuts([still] * 10 + [(still * 0.4).astype(np.uint8)] * 10) == []


def test_cut_through_black_is_found_after_it(cat: Image, coffee: Image) -> None:
    frames = [view(cat, 0, 0, 350)] * 6 + [np.zeros((180, 320, 3), np.uint8)] * 5 + [view(coffee, 0, 0, 350)] * 6
    assert cuts(frames) == [11]
    assert cuts(frames[:11] + frames[:6]) == []


def test_somebody_moving_is_no_cut(cat: Image, coffee: Image) -> None:
    """A third of the picture goes through it in a second."""
    frames = []
    for k in range(25):
        frame = view(coffee, 0, 0, 500).copy()
        frame[40:160, 8 * k : 8 * k + 100] = view(cat, 0, 0, 350)[40:160, 100:200]
        frames.append(frame)
    assert cuts(frames) == []


def test_grey_and_upright_films(cat: Image, astronaut: Image) -> None:
    frames = [view(cat, k, 0, 350) for k in range(8)] + [view(astronaut, k, 0, 400) for k in range(8)]
    grey = [np.repeat(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[..., None], 3, 2).astype(np.uint8) for f in frames]
    assert cuts(grey) == [8]
    assert cuts([np.ascontiguousarray(np.rot90(f)) for f in frames]) == [8]


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (720, 1280)])
def test_any_size_of_frame(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    detector = CutDetector()
    assert [detector.update(frame) for _ in range(3)] == [False] * 3
