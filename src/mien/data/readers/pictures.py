"""Makes face crops of encoded pictures: the whole picture where it is a crop already, else its largest face."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data.crop_cache import CropCache
from mien.data.readers.rows import Progress, silent
from mien.errors import DataError, InputError, did_you_mean
from mien.media.images import FORMATS, decode_image, read_image, unreachable
from mien.models import CropGeometry
from mien.threads import in_order
from mien.vision.crop import crop_faces, resize_crop
from mien.vision.detect import Detector, load_detector

Mode = Literal["auto", "crop", "photo"]
MODES: tuple[Mode, ...] = get_args(Mode)

CROP_SIDE, CROP_ASPECT = 224, 1.25
"""A picture of at most so many pixels on its longer side, at most so much longer than wide or wider than long, counts
as a face crop: 224 is the largest size in which data sets of crops are passed around."""
_AGREEMENT = 0.9
"""Of the pictures of a source must look alike in this for a decision."""
_SAMPLE = 500
_AROUND = 0.5
"""How much of a picture beside a face's given box is searched for the face, as a share of the box's sides."""

Box = tuple[int, int, int, int]
"""x1 y1 x2 y2 in pixels."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture: its file, or its bytes and what errors call them; of one with several faces the box of the
    one that is meant."""

    name: str
    content: Path | bytes
    box: Box | None = None

    def read(self, around: float = 0.0) -> NDArray[np.uint8]:
        """`(H, W, 3)` RGB, of one with a box only that, and what lies `around` it, a share of its sides; raises
        InputError."""
        whole = read_image(self.content) if isinstance(self.content, Path) else decode_image(self.content, self.name)
        if self.box is None:
            return whole
        x1, y1, x2, y2 = self.box
        dx, dy = round(around * (x2 - x1)), round(around * (y2 - y1))
        part = whole[max(y1 - dy, 0) : max(y2 + dy, 0), max(x1 - dx, 0) : max(x2 + dx, 0)]
        if not part.size:
            raise InputError(f"{self.name}: its box {x1} {y1} {x2} {y2} lies outside the picture")
        return part

    def size(self) -> tuple[int, int] | None:
        """Width and height by its header; None where that cannot be read."""
        try:
            file = self.content if isinstance(self.content, Path) else BytesIO(self.content)
            with Image.open(file, formats=FORMATS) as image:
                return image.size
        except Exception:  # noqa: BLE001 - whatever is wrong with it, reading it will say so
            return None

    def key(self) -> str:
        """Another one when the picture changes; raises InputError when its file is gone."""
        if isinstance(self.content, bytes):
            return hashlib.blake2b(self.content, digest_size=16).hexdigest()
        try:
            about = self.content.stat()
        except OSError as error:
            raise unreachable(self.content, error) from None
        return f"{self.content.absolute()}|{about.st_size}|{about.st_mtime_ns}{f'|{self.box}' if self.box else ''}"


class Cropper:
    """Makes grey crops of `size` x `size` pixels.

    `mode` crop takes each picture whole, stretched to a square; photo takes its largest face, as `mien predict` crops
    it; auto decides for each source by the sizes of its pictures. `detector` makes what finds the faces when it is
    first needed, `load_detector` without one. With `cache`, a file, the crops found are kept there, and a run
    that was killed goes on from it.
    """

    def __init__(
        self,
        size: int,
        mode: str = "auto",
        detector: Callable[[], Detector] | None = None,
        cache: Path | None = None,
    ) -> None:
        if mode not in MODES:
            raise DataError(f"{mode!r} is no value of faces{did_you_mean(mode, MODES)}; use {', '.join(MODES)}")
        self.size, self.mode = size, mode
        self._make_detector, self._file = detector or partial(load_detector, threads=1), cache
        self._cache: CropCache | None = None

    @cached_property
    def _detector(self) -> Detector:
        return self._make_detector()

    def crops(
        self, source: Path, pictures: Sequence[Picture], progress: Progress = silent
    ) -> tuple[list[NDArray[np.uint8] | InputError], list[str]]:
        """A crop of each picture or why there is none, and what there is to say about how they were taken.

        Pictures are read in parallel threads. Raises DataError where auto finds crops and photographs mixed.
        """
        mode, notes = self.mode, []
        if mode == "auto":
            mode, why = _decide(source, pictures)
            notes = [why] if why else []
        make = self._whole
        if mode == "photo":
            make = self._face
            if self._file and not self._cache:
                self._cache = CropCache(self._file, self.size)

        def one(picture: Picture) -> NDArray[np.uint8] | InputError:
            try:
                return make(picture)
            except InputError as error:
                return error

        results: list[NDArray[np.uint8] | InputError] = []
        for result in in_order(one, pictures, os.cpu_count() or 1):
            results.append(result)
            if len(results) % 100 == 0 or mode == "photo" or len(results) == len(pictures):
                progress(len(results), len(pictures))
        return results, notes

    def _whole(self, picture: Picture) -> NDArray[np.uint8]:
        return resize_crop(np.asarray(cv2.cvtColor(picture.read(), cv2.COLOR_RGB2GRAY), np.uint8), self.size)

    def _face(self, picture: Picture) -> NDArray[np.uint8]:
        key = f"{self._detector.name}|{picture.key()}" if self._cache else ""
        crop = self._cache.get(key) if self._cache else None
        if crop is None:
            crop = self._search(picture)
            if self._cache:
                self._cache.put(key, crop)
        if not len(crop):
            raise InputError(f"{picture.name}: {self._detector.name} finds no face in it")
        return crop

    def _search(self, picture: Picture) -> NDArray[np.uint8]:
        """The crop of the largest face, or nothing, `(0, size)`."""
        image = picture.read(_AROUND)
        faces = self._detector.detect(image)
        if not len(faces):
            return np.empty((0, self.size), np.uint8)
        sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
        largest = int(sides.prod(1).argmax())
        return np.asarray(crop_faces(image, faces.select([largest]), self.size, CropGeometry())[0], np.uint8)

    def done(self) -> None:
        """Delete the cache: the crops are written elsewhere."""
        if self._cache:
            self._cache.close()
            self._cache = None
        if self._file:
            self._file.unlink(missing_ok=True)


def _decide(source: Path, pictures: Sequence[Picture]) -> tuple[Mode, str]:
    """Whether a source holds crops or photographs, and a sentence that says so and why."""
    if any(picture.box for picture in pictures):
        return "photo", f"{source}: taken as photographs, cropped to the face in each given box"
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), _SAMPLE)).round().astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = {pictures[i].name: size for i in chosen if (size := pictures[i].size())}
    named, sizes = list(known), np.array(list(known.values()), np.int64).reshape(-1, 2)
    if not len(sizes):
        return "crop", ""
    small = (sizes.max(1) <= CROP_SIDE) & (sizes.max(1) <= CROP_ASPECT * sizes.min(1))
    width, height = np.median(sizes, axis=0).astype(int)
    if small.mean() >= _AGREEMENT:
        return "crop", f"{source}: taken as face crops, being small and about square (typically {width} x {height})"
    if small.mean() <= 1 - _AGREEMENT:
        return "photo", f"{source}: taken as photographs (typically {width} x {height}), cropped to their largest face"
    fewer = bool(small.mean() < 0.5)
    odd, other = (int(np.flatnonzero(small == kind)[0]) for kind in (fewer, not fewer))
    raise DataError(
        f"{source} mixes photographs with what looks like face crops ({small.sum():,} of {len(small):,} pictures are "
        f"about square and {CROP_SIDE} pixels large at most): {named[odd]} is {sizes[odd][0]} x {sizes[odd][1]}, "
        f"{named[other]} is {sizes[other][0]} x {sizes[other][1]}; keep them in two folders, or set faces to crop or "
        "photo"
    )
