"""Every kind of picture comes out as the same RGB array, and everything else as one sentence."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mien.errors import InputError
from mien.media.images import MAX_SIDE, check_image, read_image
from mien.media.sources import find_images


@pytest.fixture
def photo(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A part of the photograph that is neither square nor symmetric, `(96, 64, 3)`."""
    return np.ascontiguousarray(astronaut[60:156, 190:254])


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused; it names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            read_image(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size at all and holds no pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# What is read


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "gif", "jpg", "jp2"])
def test_formats_give_the_same_picture(photo: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(photo).save(path, lossless=True)  # only WebP listens to it
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == photo.shape
    allowed = {"gif": 12, "jpg": 12, "jp2": 1}.get(suffix, 0)
    assert np.abs(image.astype(int) - photo).mean() <= allowed


def test_result_belongs_to_the_caller(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    image = read_image(str(tmp_path / "photo.png"))
    image[:] = 0  # writable
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_orientation(photo: NDArray[np.uint8], tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, 1),
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(photo, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.abs(read_image(path).astype(int) - photo).mean() <= (6 if suffix == "jpg" else 0)


def test_broken_exif_is_no_reason_to_refuse(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff" + bytes(range(40)))
    assert read_image(path).shape == photo.shape


def test_grey_and_bilevel(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    grey = photo[..., 1]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == grey[..., None]).all()
    Image.fromarray(grey > 128).save(tmp_path / "bilevel.png")
    assert (read_image(tmp_path / "bilevel.png") == np.where(grey > 128, 255, 0)[..., None]).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_cut(photo: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    grey = photo[..., 1]
    path = tmp_path / f"deep.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 64 96 65535\n" + (grey.astype(">u2") * 257).tobytes())
    else:
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    assert (read_image(path) == grey[..., None]).all()


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_fractions_are_scaled_by_their_range(photo: NDArray[np.uint8], tmp_path: Path, top: float) -> None:
    grey = photo[..., 1].copy()
    grey[0, 0] = 255
    values = grey.astype(np.float32) * (top / 255)
    values[1, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "float.tif")
    image = read_image(tmp_path / "float.tif")
    assert image[1, 0].tolist() == [0, 0, 0]
    assert np.abs(image[..., 0].astype(int) - grey)[2:].max() <= 1


def tiff(path: Path, values: NDArray[Any]) -> Path:
    """A plain TIFF of numbers of any kind."""
    height, width = values.shape[:2]
    samples, kind = values[0, 0].size, {"u": 1, "i": 2, "f": 3, "c": 6}[values.dtype.kind]
    content = values.tobytes()
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 8 * values.itemsize), (259, 3, 1),
        (262, 3, 1 if samples == 1 else 2), (273, 4, 8), (277, 3, samples), (278, 4, height),
        (279, 4, len(content)), (339, 3, kind),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, size, 1, value) for tag, size, value in tags)
    head = struct.pack("<4sI", b"II*\0", 8 + len(content))
    path.write_bytes(head + content + struct.pack("<H", len(tags)) + table + bytes(4))
    return path


def test_whole_numbers_of_32_bits(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    """Also those above 2 ** 31, which are not black."""
    grey = photo[..., 1]
    image = read_image(tiff(tmp_path / "deep.tif", grey.astype(np.uint32) * 0x01010101))
    assert np.abs(image[..., 0].astype(int) - np.rint(grey * (255 / grey.max()))).max() <= 1
    below = grey.astype(np.int32) * 257
    below[0] = -5  # with a sign, what is below 0 is black
    image = read_image(tiff(tmp_path / "signed.tif", below))
    assert (image[1:, :, 0] == grey[1:]).all()
    assert not image[0].any()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("u8", "whole numbers of 64 bits"), ("i8", "whole numbers with a sign of 64 bits"),
     ("f8", "fractions of 64 bits"), ("f2", "fractions of 16 bits"), ("c8", "complex numbers of 64 bits"),
     ("colour", "fractions of 32 bits in colour")],
)  # fmt: skip
def test_numbers_that_are_not_read_are_named(tmp_path: Path, kind: str, words: str) -> None:
    values = np.ones((4, 5, 3), "f4") if kind == "colour" else np.ones((4, 5), kind)
    sentence = refusal(tiff(tmp_path / "rare.tif", values))
    assert f"is a TIFF of {words}, which is not read; save it" in sentence


def test_links_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "circle.png"
    path.symlink_to(path)
    assert refusal(path) == f"cannot read {path}: too many levels of symbolic links"


def test_transparency_is_laid_on_white(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 128
    Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / "alpha.png")
    image = read_image(tmp_path / "alpha.png")
    assert (image[:10] == 255).all()
    assert np.abs(image[10:20] - (photo[10:20] * (128 / 255) + 127)).max() <= 1.01
    assert (image[20:] == photo[20:]).all()


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 2), 0)
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((0, 0), 1)
    picture.save(tmp_path / "palette.png", transparency=0)
    image = read_image(tmp_path / "palette.png")
    assert image[0, 0].tolist() == [200, 0, 0]
    assert (image[1] == 255).all()


def test_cmyk_jpeg(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int) - photo).mean() < 6


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "green", "blue")]
    for name in ("film.gif", "film.png", "film.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert np.abs(read_image(tmp_path / name).astype(int) - (255, 0, 0)).max() <= 1


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]


# What is refused


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "empty (0 bytes)" in refusal(path)


def test_text_called_jpg(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader, this is no picture.\n" * 50)
    assert "not in a supported image format" in refusal(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp", "gif"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated(photo: NDArray[np.uint8], tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    sentence = refusal(path)
    assert "damaged" in sentence or "no image" in sentence  # a TIFF's table of contents is at its end


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (60_000, 10), (10, MAX_SIDE + 1), (10_001, 10_000), (2**31 - 1, 2**31 - 1)]
)
def test_too_large_is_refused_by_the_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(width, height))
    assert "too large" in refusal(path)


def test_large_but_allowed_does_not_warn(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(9_900, 10_000))  # beyond where Pillow warns; refused only for want of pixels
    assert "damaged" in refusal(path)


def test_folder_nothing_and_pipe(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "nowhere.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "no regular file" in refusal(tmp_path / "pipe.jpg")


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may read nothing here; root, who may read all, becomes nobody for a moment."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs POSIX permissions")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    path = folder / "photo.png"
    Image.fromarray(photo).save(path)
    path.chmod(0)
    folder.chmod(0)
    try:
        with as_nobody():
            assert "permission denied" in refusal(path)
            found, problems = find_images([path, folder])
            assert not [item for item in found if item.path != path]
            assert problems
            assert all(str(folder) in str(problem) for problem in problems)
    finally:
        folder.chmod(0o700)


def test_pillow_is_left_as_it_was(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path)
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [path] * 40))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


# Any bytes at all: a picture or one sentence


def _encoded(kind: str, **options: object) -> bytes:
    ramp = np.arange(24 * 16 * 3, dtype=np.uint32).reshape(16, 24, 3) * 7919 % 251
    buffer = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


_exif = Image.Exif()
_exif[0x0112] = 6
ENCODED = [
    _encoded("JPEG", exif=_exif),
    _encoded("JPEG", progressive=True),
    _encoded("PNG", exif=_exif),
    _encoded("TIFF", compression="tiff_lzw"),
    _encoded("GIF"),
    _encoded("BMP"),
    _encoded("WEBP"),
]


def readable_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        image = read_image(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert check_image(image) is image


any_path = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@any_path
@given(content=st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    readable_or_refused(tmp_path / "random.jpg", content)


@any_path
@given(
    whole=st.sampled_from(ENCODED),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_cut_and_changed_pictures(tmp_path: Path, whole: bytes, cut: float, changes: list[tuple[float, int]]) -> None:
    content = bytearray(whole)
    for place, value in changes:
        content[int(place * len(content))] = value
    readable_or_refused(tmp_path / "changed.png", bytes(content[: round(cut * len(content))] if changes else whole))


# Finding


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of pictures with what else lies about in folders."""
    for name in ("b.JPG", "a.png", "sub/deep/c.webp", "sub/a.png", "notes.txt", ".hidden.png", ".cache/x.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "void").mkdir()
    return tmp_path


def names(tree: Path, paths: list[str | Path]) -> list[str]:
    found, problems = find_images(paths)
    assert not problems
    return [str(item.path.relative_to(tree)) for item in found]


def test_folder_is_searched_in_order(tree: Path) -> None:
    assert names(tree, [tree]) == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.webp"]


def test_patterns(tree: Path) -> None:
    assert names(tree, [f"{tree}/*.png"]) == ["a.png"]
    assert names(tree, [f"{tree}/**/a.png"]) == ["a.png", "sub/a.png"]
    assert names(tree, [f"{tree}/s*"]) == ["sub/a.png", "sub/deep/c.webp"]
    found, _ = find_images([f"{tree}/*/deep/*.webp"])
    assert found[0].root == tree


def test_a_name_with_brackets_is_a_name_first(tree: Path) -> None:
    (tree / "day[1].png").touch()
    assert names(tree, [tree / "day[1].png"]) == ["day[1].png"]


def test_named_files_keep_order_and_are_listed_once(tree: Path) -> None:
    found = names(tree, [tree / "notes.txt", tree / "b.JPG", tree, tree / "b.JPG"])
    assert found == ["notes.txt", "b.JPG", "a.png", "sub/a.png", "sub/deep/c.webp"]
    assert len(names(tree, [tree, tree])) == 4


def test_problems_do_not_stop_the_rest(tree: Path) -> None:
    found, problems = find_images([tree / "nowhere", tree / "void", f"{tree}/*.gif", tree / "a.png"])
    assert [item.path.name for item in found] == ["a.png"]
    for problem, expected in zip(problems, ("does not exist", "without images", "no image matches"), strict=True):
        assert expected in str(problem)


# Arrays


@pytest.mark.parametrize(
    ("array", "arrived", "advice"),
    [
        (np.zeros((4, 5, 2), np.uint8), "(4, 5, 2) uint8", ""),
        (np.zeros((3, 48, 64), np.uint8), "(3, 48, 64) uint8", "image.transpose(1, 2, 0)"),
        (np.zeros((4, 5, 3), np.float32), "float32", "astype"),
        (np.zeros((0, 5, 3), np.uint8), "(0, 5, 3)", ""),
        (np.zeros((2, 4, 5, 3), np.uint8), "(2, 4, 5, 3)", ""),
        ([[1, 2, 3]], "list", ""),
        (None, "NoneType", ""),
    ],
)
def test_what_is_no_image_is_named(array: object, arrived: str, advice: str) -> None:
    with pytest.raises(InputError) as caught:
        check_image(array)
    assert arrived in str(caught.value)
    assert advice in str(caught.value)


def test_an_image_passes_as_it_is(photo: NDArray[np.uint8]) -> None:
    assert check_image(photo) is photo
