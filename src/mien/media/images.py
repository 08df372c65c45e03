"""Reading one picture, in any form in which people have pictures, as 8-bit RGB, or one sentence that says why not."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO, TextIOBase
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mien.errors import InputError, reason

#: Larger pictures are refused from their header, before anything is decoded.
MAX_PIXELS = 100_000_000
MAX_SIDE = 32_768

#: Pillow's names of what is read. Not all that Pillow opens: an EPS, say, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
#: Endings by which files are found in folders; a file that is named itself may be called anything.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
     ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif")
)  # fmt: skip

_UPRIGHT = {  # EXIF orientation -> what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _SAMPLES, _SAMPLE_FORMAT = 258, 277, 339
"""Tags of a TIFF."""
_quiet_lock = Lock()


Color = Literal["rgb", "bgr"]
"""The order of an array's colour channels; OpenCV's is bgr."""
ImageLike = NDArray[np.uint8] | str | Path | bytes | bytearray | memoryview | Image.Image | IO[bytes]
"""A picture as people have it; see `load_image`."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FETCH_SECONDS, _FETCH_BYTES = 10.0, 200 << 20
"""How long a server may keep us waiting, and how much it may send."""


def is_url(name: str | Path) -> bool:
    """Whether a name is a URL rather than a path."""
    return isinstance(name, str) and bool(_URL.match(name))


def load_image(image: ImageLike, color: Color = "rgb") -> tuple[NDArray[np.uint8], str]:
    """Any picture as a contiguous `(H, W, 3)` uint8 RGB array, and its path or URL, or "" where it has none.

    `image` is the path or URL of an image file, its content as bytes or as a binary file object, a Pillow image, or a
    uint8 array: grey `(H, W)` or `(H, W, 1)`, colour `(H, W, 3)`, or colour with transparency `(H, W, 4)`, which is
    laid on white. `color` is the order of an array's channels, `bgr` for OpenCV's. Raises InputError on anything else,
    and as `read_image` does.
    """
    check_color(color)
    if isinstance(image, np.ndarray):
        return check_image(image, color), ""
    if isinstance(image, str | Path):
        if not str(image):
            raise InputError("an empty path is not a picture")
        return read_image(image), str(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image), "the picture"), ""
    if isinstance(image, Image.Image):
        with _in_one_sentence("the picture"):
            image.load()
            return _rgb(image), ""
    if hasattr(image, "read"):
        name = str(getattr(image, "name", "") or "the picture")
        content: Any = ""
        if not isinstance(image, TextIOBase):
            with _in_one_sentence(name):
                content = image.read()
                if not content and image.seekable():  # as after writing into it
                    image.seek(0)
                    content = image.read()
        if not isinstance(content, bytes):
            raise InputError(f"{name} should be opened in binary mode, as in open(path, 'rb')")
        return decode_image(content, name), ""
    return check_image(image, color), ""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """One picture from a file or URL as `(H, W, 3)` uint8 RGB, upright by its EXIF orientation.

    Transparency is laid on white, of an animation the first frame is taken, CMYK and palettes become RGB.
    Grey values of more than 8 bits are scaled: 0..65535 for whole numbers, 0..1, 0..255 or 0..65535 for
    fractions, whichever their largest value fits, and 0..largest beyond. TIFFs of whole numbers of 64 bits, or of
    fractions in colour or of other than 32 bits, are refused.

    Raises InputError when the file cannot be read, is no image, is damaged, or has more than `MAX_PIXELS`
    pixels or `MAX_SIDE` on a side; the last is known from the header, before anything is decoded.
    """
    if is_url(path):
        return decode_image(_fetched(str(path)), str(path))
    path = Path(path)
    with _in_one_sentence(path):
        if not path.is_file():
            path.stat()  # raises where nothing is there
            raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no regular file'}, not an image")
        with path.open("rb") as file:
            return _decode(file, path)


def _fetched(url: str) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from mien import __version__

    try:
        with urlopen(Request(url, headers={"User-Agent": f"mien/{__version__}"}), timeout=_FETCH_SECONDS) as answer:
            content: bytes = answer.read(_FETCH_BYTES + 1)
    except HTTPError as error:
        raise InputError(f"cannot read {url}: the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:  # URLError is an OSError
        cause = getattr(error, "reason", error)
        words = reason(cause) if isinstance(cause, Exception) else str(cause)
        raise InputError(f"cannot read {url}: {words}") from None
    if len(content) > _FETCH_BYTES:
        raise InputError(f"{url} is too large: pictures of up to {_FETCH_BYTES >> 20} MiB are fetched")
    return content


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """As `read_image`, for an image file's content; errors call it `name`."""
    with _in_one_sentence(name):
        return _decode(BytesIO(content), name)


def is_empty(path: Path) -> bool:
    """Whether it is a file of 0 bytes, as those of /proc are, some of which keep a reader waiting for ever."""
    return path.is_file() and not path.stat().st_size


def is_image(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture that can be read."""
    try:
        if is_empty(path):
            return False
        with _quiet(), Image.open(path, formats=FORMATS):
            return True
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no picture of ours
        return False


@contextmanager
def _in_one_sentence(path: str | Path) -> Iterator[None]:
    """Whatever reading a picture raises becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} is not in a supported image format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory") from None
    except OSError as error:
        if error.errno is not None:  # else it is Pillow's, of a damaged picture
            raise unreachable(path, error) from None
        raise InputError(f"{path} is damaged, cut short or of a rare kind: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 - on damaged bytes Pillow's decoders raise nearly anything
        raise InputError(f"{path} is damaged, cut short or of a rare kind: {_first_line(error)}") from None


def _decode(file: BinaryIO, path: str | Path) -> NDArray[np.uint8]:
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    file.seek(0)
    try:
        with _quiet():
            image: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if numbers := _tiff_numbers(file):
            raise InputError(
                f"{path} is a TIFF of {numbers}, which is not read; save it with 8 or 16 bits, or in grey with "
                "fractions of 32 bits"
            ) from None
        raise
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise _too_large(path, image.size)
    with _quiet() if image.format == "TIFF" else nullcontext():  # TIFF reads its tags again while it loads
        image.load()
    return _rgb(image)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """A decoded picture, upright, without transparency, in 8 bits."""
    turn = _UPRIGHT.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "I" and _unsigned(image):  # Pillow has no such mode, and the upper half came out negative
            values = values.view(np.uint32)
        grey = _eight_bits(values)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _unsigned(image: Image.Image) -> bool:
    """Whether a picture is a TIFF of whole numbers of 32 bits without a sign."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1


def _tiff_numbers(file: BinaryIO) -> str:
    """What the pixels of a TIFF are that Pillow does not know; "" for what is no TIFF, or one without its tags."""
    file.seek(0)
    try:
        with _quiet():
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
            bits, kind = tags[_BITS], tags.get(_SAMPLE_FORMAT, (1,))[0]
    except Exception:  # noqa: BLE001 - on damaged bytes Pillow raises nearly anything
        return ""
    words = {2: "whole numbers with a sign", 3: "fractions", 5: "complex numbers", 6: "complex numbers"}
    return f"{words.get(kind, 'whole numbers')} of {bits[0]} bits{' in colour' if tags.get(_SAMPLES, 1) > 1 else ''}"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, asked for after decoding: TIFF has been turned by then and says so."""
    try:
        with _quiet():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - a picture is good even where its EXIF is not; what is raised is not documented
        return 1


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    fractions = values.dtype.kind == "f"
    grey = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    largest = float(grey.max())
    full = next((top for top in ((1, 255, 65535) if fractions else (65535,)) if largest <= top), largest)
    return np.rint(grey * (255 / full)).astype(np.uint8)


def check_image(array: Any, color: Color = "rgb") -> NDArray[np.uint8]:
    """A uint8 array, grey or in colour as `load_image` takes it, as contiguous `(H, W, 3)` RGB; the array itself where
    it is that already. Raises InputError, with the shape and type that were given, on any other."""
    check_color(color)
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"a picture should be a path, a URL, bytes, a file, a Pillow image or an array, not {type(array).__name__}"
        )
    shape = array.shape
    known = array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or array.size == 0 or not known:
        hint = ""
        if array.dtype != np.uint8:
            hint = "; scale the values to 0..255 and use .astype(np.uint8)"
        elif array.ndim == 3 and shape[0] in (1, 3):
            hint = "; put the channels last with image.transpose(1, 2, 0)"
        raise InputError(f"a picture should be (H, W), (H, W, 3) or (H, W, 4) uint8, not {shape} {array.dtype}{hint}")
    if array.ndim == 2 or shape[2] == 1:
        return np.repeat(array.reshape(*shape[:2], 1), 3, axis=2)
    if color == "bgr":
        array = array[..., [2, 1, 0, 3][: shape[2]]]
    if shape[2] == 4:
        share = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(array)


def check_color(color: str) -> None:
    """Raises InputError on an order of channels that is unknown."""
    if color not in ("rgb", "bgr"):
        raise InputError(f"color should be 'rgb' or 'bgr', not {color!r}")


def unreachable(path: str | Path, error: OSError) -> InputError:
    """What the system says of a file, in one sentence."""
    return InputError(f"cannot read {path}: {reason(error)}")


def _too_large(path: str | Path, size: tuple[int, int] | None = None) -> InputError:
    measures = f" ({size[0]:,} x {size[1]:,} pixels)" if size else ""
    return InputError(
        f"{path} is too large{measures}: pictures of up to {MAX_PIXELS // 1_000_000} megapixels "
        f"and {MAX_SIDE:,} pixels a side are read; scale it down first"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Pillow's warnings; the lock is there since all threads share Python's filters."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
