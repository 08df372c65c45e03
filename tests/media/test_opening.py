"""What people hand over is opened: pictures at URLs, arrays, other cameras; what makes no sense is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import make_film, number, numbered
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError
from mien.media.cameras import capture
from mien.media.images import Color, load_image
from mien.media.opening import open_frames
from mien.media.sources import find_sources


@pytest.fixture
def photo(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(astronaut[60:156, 190:254])


def encoded(image: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.png", "photo.png?size=large", "snapshot"])
def test_a_picture_at_a_url_is_a_picture(web: Callable[..., str], photo: NDArray[np.uint8], name: str) -> None:
    """Also where only its content says so."""
    url = f"{web(encoded(photo), 'image/png')}/{name}"
    frames = list(open_frames(url))
    assert [(frame.still, frame.source) for frame in frames] == [(True, url)]
    np.testing.assert_array_equal(frames[0].image, photo)
    pixels, source = load_image(url)
    np.testing.assert_array_equal(pixels, photo)
    assert source == url


def test_urls_that_give_no_picture(web: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=r"photo\.png is not in a supported image format"):
        load_image(f"{web(b'<html>', 'text/html')}/photo.png")
    with pytest.raises(InputError, match="the server answers 404"):
        load_image(f"{web(b'', 'text/html', status=404)}/photo.png")
    with pytest.raises(InputError, match=r"cannot read http://127\.0\.0\.1:9/x\.png: connection refused"):
        load_image("http://127.0.0.1:9/x.png")


def test_every_form_of_a_picture(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo))
    with path.open("rb") as file:
        forms: list[Any] = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), file, photo]
        for form in (*forms, Image.open(path)):
            np.testing.assert_array_equal(load_image(form)[0], photo)
    np.testing.assert_array_equal(load_image(photo[..., ::-1], "bgr")[0], photo)
    grey = photo[..., 0]
    greys: list[Any] = [grey, grey[..., None], Image.fromarray(grey)]
    for form in greys:
        np.testing.assert_array_equal(load_image(form)[0], np.dstack([grey] * 3))
    half = np.dstack([photo, np.full(photo.shape[:2], 51, np.uint8)])
    on_white = photo * 0.2 + 255 * 0.8
    clear: list[tuple[Any, Color]] = [
        (half, "rgb"), (half[..., [2, 1, 0, 3]], "bgr"), (Image.fromarray(half), "rgb"),
    ]  # fmt: skip
    for form, color in clear:
        assert np.abs(load_image(form, color)[0] - on_white).max() <= 1
    strided = np.asfortranarray(photo)
    assert load_image(strided)[0].flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((4, 5, 3), np.float32), r"not \(4, 5, 3\) float32; scale the values"),
        (3.5, "not float"),
        (io.StringIO("text"), "binary mode"),
        (b"", r"the picture is empty \(0 bytes\)"),
        (b"no picture", "the picture is not in a supported image format"),
    ],
)
def test_what_is_no_picture_is_named(given: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_image(given)
    with pytest.raises(InputError, match="color should be 'rgb' or 'bgr', not 'BGR'"):
        load_image(np.zeros((4, 5, 3), np.uint8), "BGR")  # type: ignore[arg-type]


def test_arrays_follow_each_other_in_time() -> None:
    def images() -> Any:
        for i in range(100):
            yield numbered(i)[..., ::-1]

    frames = list(open_frames(images(), fps=10, every=2, start=1, end=2, color="bgr"))
    assert [number(frame.image) for frame in frames] == [10, 12, 14, 16, 18]
    assert [frame.time for frame in frames] == pytest.approx([1, 1.2, 1.4, 1.6, 1.8])
    assert not any(frame.still for frame in frames)


def test_a_camera_that_opencv_reads(tmp_path: Path) -> None:
    """As on Windows; OpenCV takes a film for a camera whose frames come as fast as they are asked for."""
    film = make_film(tmp_path / "film.avi", count=5, codec="mjpeg")
    frames = list(islice(capture(str(film), "0"), 5))
    assert [number(frame.image) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    with pytest.raises(InputError, match="camera 0 gives no more frames"):
        list(capture(str(film), "0"))
    with pytest.raises(InputError, match="cannot open camera 7"):
        next(capture(str(tmp_path / "nothing.avi"), "7"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"every": 0}, "every should be a whole number, 1 or greater, not 0"),
        ({"max_fps": -1}, "max_fps should be above 0, not -1"),
        ({"start": -1}, "start should be 0 or more, not -1"),
        ({"start": float("nan")}, "start should be 0 or more"),
        ({"start": 2, "end": 2}, r"end \(2 s\) should come after start \(2 s\)"),
    ],
)
def test_choices_that_make_no_sense(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_frames(make_film(tmp_path / "film.mp4", count=3), **options)


def test_a_start_beyond_all_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="before the start at 1e"):
        list(open_frames(make_film(tmp_path / "film.mp4", count=3), start=1e308))


def test_nothing_is_no_source() -> None:
    with pytest.raises(InputError, match="no source was given: name a film"):
        open_frames([])


def test_urls_by_their_name() -> None:
    found, problems = find_sources(["http://host/a/b.JPG?x=1.mp4", "http://host/a.mp4", "rtsp://host/live"])
    assert [source.kind for source in found] == ["picture", "stream", "stream"]
    assert not problems
    for name in ("http://[", "http://[::1", "file://[", "http://[x]/a.jpg"):
        _, (problem,) = find_sources([name])
        assert str(problem) == f"{name} is no valid address"
