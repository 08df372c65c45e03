"""What is kept and laid again looks to the byte as if Pillow had drawn it anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.drawing import raster
from mien.drawing.raster import Colour, Picture, lay, rounded, text_length, write

WIDTH, HEIGHT = 160, 120
COLOUR: Colour = (240, 100, 7)


def noise(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def rounded_by_pillow(
    picture: NDArray[np.uint8], rect: tuple[int, int, int, int], opacity: float, radius: float, stroke: float
) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = rect
    finer = 4 if (x2 - x1) * (y2 - y1) < 250_000 else 2
    mask = Image.new("L", (finer * (x2 - x1), finer * (y2 - y1)))
    strength = round(255 * opacity)
    fill, outline = (None, strength) if stroke else (strength, None)
    place = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(place, finer * radius, fill, outline, max(1, round(finer * stroke)))
    canvas = Image.fromarray(picture)
    canvas.paste(COLOUR, rect, mask.reduce(finer))
    return np.array(canvas)


def text_by_pillow(
    picture: NDArray[np.uint8], place: tuple[float, float], text: str, size: int, anchor: str
) -> NDArray[np.uint8]:
    canvas = Image.fromarray(picture)
    ImageDraw.Draw(canvas).text(place, text, COLOUR, ImageFont.load_default(size), anchor=anchor)
    return np.array(canvas)


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.integers(-20, WIDTH), st.integers(-20, HEIGHT), st.integers(1, 200), st.integers(1, 200),
    st.floats(0, 1), st.floats(0, 30), st.just(0.0) | st.floats(0.3, 9),
)  # fmt: skip
def test_rectangles_of_any_shape_anywhere(
    x: int, y: int, width: int, height: int, opacity: float, radius: float, stroke: float
) -> None:
    rect = (x, y, x + width, y + height)
    picture, before = noise(), noise()
    for again in range(2):  # rendered, then from the store
        rounded(picture, rect, COLOUR, opacity, radius, stroke)
        before = rounded_by_pillow(before, rect, opacity, radius, stroke)
        assert np.array_equal(picture, before), f"time {again}"


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.floats(0, WIDTH), st.floats(0, HEIGHT), st.sampled_from(["happy", "100%", "12 fear 7%", "Ågj"]),
    st.integers(8, 40), st.sampled_from(["lm", "mm", "rm", "ls"]),
)  # fmt: skip
def test_words_of_any_size_anywhere(x: float, y: float, text: str, size: int, anchor: str) -> None:
    x, y = round(64 * x) / 64, round(64 * y) / 64  # as far as FreeType sees
    picture = noise()
    write(picture, (x, y), text, COLOUR, size, anchor)
    assert np.array_equal(picture, text_by_pillow(noise(), (x, y), text, size, anchor))


def test_the_frame_of_a_large_face() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (900, 800, 3)).astype(np.uint8)
    wanted = rounded_by_pillow(picture, (40, 60, 640, 800), 0.45, 61, 9)
    rounded(picture, (40, 60, 640, 800), COLOUR, 0.45, 61, 9)
    assert np.array_equal(picture, wanted)


def test_words_without_ink_leave_the_picture_as_it_is() -> None:
    picture = noise()
    write(picture, (50, 50), "  ", COLOUR, 12, "lm")
    assert np.array_equal(picture, noise())
    assert text_length("  ", 12) > 0


def test_bars_end_between_pixels() -> None:
    """The ink of a bar grows with its length by quarters of a pixel."""
    inks = []
    for quarters in range(240):
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        rounded(picture, (10.25, 20.0, 15.0 + quarters / 4, 27.5), (255, 255, 255), 1.0, 2.0)
        inks.append(int(picture[..., 0].sum()))
    steps = np.diff(inks)
    assert (steps > 0).all()
    assert steps[20:].max() == pytest.approx(255 * 7.5 / 4, rel=0.05)


def test_a_layer_is_drawn_once_and_laid_as_if_it_were_drawn_there() -> None:
    drawn = []

    def two_bars(layer: Picture, word: str) -> None:
        drawn.append(word)
        for k in range(2):
            rounded(layer, (30, 4 + 20 * k, 90, 14 + 20 * k), COLOUR, 0.4, 3)
            write(layer, (2, 9 + 20 * k), word, COLOUR, 10, "lm")

    for x, y in ((20, 30), (-12, -7), (100, 100)):
        picture, wanted = noise(), noise()
        lay(picture, (x, y), (100, 40), two_bars, "sad")
        for k in range(2):
            wanted = rounded_by_pillow(wanted, (x + 30, y + 4 + 20 * k, x + 90, y + 14 + 20 * k), 0.4, 3, 0)
            wanted = text_by_pillow(wanted, (x + 2, y + 9 + 20 * k), "sad", 10, "lm")
        same = picture == wanted
        assert same.all(), f"at {x}, {y}: {np.argwhere(~same)[:3]}"
    assert drawn == ["sad"]
    lay(noise(), (0, 0), (100, 40), two_bars, "happy")
    assert drawn == ["sad", "happy"]


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    store = raster._Store(100_000)
    monkeypatch.setattr(raster, "_store", store)
    for width in range(20, 120):
        picture = noise()
        rounded(picture, (5, 5, 5 + width, 60), COLOUR, 0.7, width / 9, 2)
        assert np.array_equal(picture, rounded_by_pillow(noise(), (5, 5, 5 + width, 60), 0.7, width / 9, 2))
    kept = sum(raster._size(stamp) for stamp in store._stamps.values())
    assert 0 < kept == store._bytes <= 100_000


def test_many_threads_draw_what_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "_store", raster._Store(300_000))  # so that it is also emptied meanwhile

    def draw(seed: int) -> NDArray[np.uint8]:
        picture, random = noise(), np.random.default_rng(seed % 4)
        for _ in range(40):
            x, y = random.integers(0, 60, 2).tolist()
            rounded(picture, (x, y, x + 60, y + 50), COLOUR, 0.5, float(random.integers(1, 9)), 2)
            write(picture, (x, y + 9), f"{random.integers(99)}%", COLOUR, 12, "lm")
        return picture

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(draw, range(32)))
    for seed in range(4):
        assert all(np.array_equal(found[seed], picture) for picture in found[seed::4])
        assert np.array_equal(found[seed], draw(seed))
