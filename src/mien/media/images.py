"""Reading one picture: any image file, or an array, as 8-bit RGB, or one sentence that says why not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

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
_quiet_lock = Lock()


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """One picture as `(H, W, 3)` uint8 RGB, upright by its EXIF orientation.

    Transparency is laid on white, of an animation the first frame is taken, CMYK and palettes become RGB.
    Grey values of more than 8 bits are scaled: 0..65535 for whole numbers, 0..1, 0..255 or 0..65535 for
    fractions, whichever their largest value fits, and 0..largest beyond.

    Raises InputError when the file cannot be read, is no image, is damaged, or has more than `MAX_PIXELS`
    pixels or `MAX_SIDE` on a side; the last is known from the header, before anything is decoded.
    """
    path = Path(path)
    with _in_one_sentence(path):
        if not path.is_file():
            path.stat()  # raises where nothing is there
            raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no regular file'}, not an image")
        with path.open("rb") as file:
            return _decode(file, path)


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """As `read_image`, for an image file's content; errors call it `name`."""
    with _in_one_sentence(Path(name)):
        return _decode(BytesIO(content), Path(name))


def is_image(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture that can be read."""
    try:
        with _quiet(), Image.open(path, formats=FORMATS):
            return True
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no picture of ours
        return False


@contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    """Whatever reading a picture raises becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} is no image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory") from None
    except (FileNotFoundError, PermissionError) as error:
        raise unreachable(path, error) from None
    except Exception as error:  # noqa: BLE001 - on damaged bytes Pillow's decoders raise nearly anything
        words = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{path} is damaged, cut short or of a rare kind: {words}") from None


def _decode(file: BinaryIO, path: Path) -> NDArray[np.uint8]:
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    file.seek(0)
    with _quiet():
        image: Image.Image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise _too_large(path, image.size)
    with _quiet() if image.format == "TIFF" else nullcontext():  # TIFF reads its tags again while it loads
        image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


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


def check_image(array: Any) -> NDArray[np.uint8]:
    """The array itself when it is a `(H, W, 3)` uint8 RGB picture; raises InputError if not."""
    if not isinstance(array, np.ndarray):
        raise InputError(f"an image should be a (H, W, 3) uint8 RGB array, not {type(array).__name__}")
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        hint = ""
        if array.dtype != np.uint8:
            hint = "; scale the values to 0..255 and use .astype(np.uint8)"
        elif array.ndim == 2:
            hint = "; repeat grey three times with np.dstack([grey] * 3)"
        elif array.ndim == 3 and array.shape[2] == 4:
            hint = "; drop the alpha channel with image[..., :3]"
        raise InputError(f"an image should be (H, W, 3) uint8 RGB, not {array.shape} {array.dtype}{hint}")
    return array


def unreachable(path: str | Path, error: OSError) -> InputError:
    """What the system says of a file, in one sentence."""
    return InputError(f"cannot read {path}: {reason(error)}")


def _too_large(path: Path, size: tuple[int, int] | None = None) -> InputError:
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
