"""Finding faces, from an image to `Faces` without probabilities; one file for each detector."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien import models
from mien.errors import ModelError, did_you_mean
from mien.faces import Faces
from mien.vision import fetch
from mien.vision.detect.haar import CASCADE, Haar
from mien.vision.detect.mien import MienDetector
from mien.vision.detect.reduction import LONG_SIDE, pad
from mien.vision.detect.suppression import blend, suppress
from mien.vision.detect.yunet import YuNet

__all__ = [
    "CASCADE", "DETECTORS", "LONG_SIDE", "Detector", "Haar", "MienDetector", "YuNet", "blend", "load_detector", "pad",
    "suppress",
]  # fmt: skip

DETECTORS = ("mien", "yunet", "haar")


class Detector(Protocol):
    """What the analyzer needs of a detector."""

    name: str

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """The faces in an `(H, W, 3)` uint8 RGB image, best first, boxes and landmarks in its pixels."""
        ...


def load_detector(name: str | None = None, weights: str | Path | None = None, threads: int | None = None) -> Detector:
    """A detector by name; None is `mien`, the one in the package.

    `weights` is a file to use in its place: one with a card beside it, as `mien export` writes them, or YuNet's. Raises
    ModelError on an unknown name or a broken file, FetchError when YuNet is asked for and not available.
    """
    if name not in (None, *DETECTORS):
        raise ModelError(f"no detector {name!r}{did_you_mean(str(name), DETECTORS)}; known are {', '.join(DETECTORS)}")
    if name == "haar":
        if weights is not None:
            raise ModelError("the haar detector is embedded and takes no weights; leave out one of the two")
        return Haar()
    if weights is None:
        return YuNet(fetch.yunet(), threads) if name == "yunet" else MienDetector(models.load_detector(), threads)
    path = Path(weights)
    if path.is_dir():
        raise ModelError(f"{path} is a folder; name a detector's file")
    if name == "mien" or (name is None and path.with_suffix(".json").exists()):
        return MienDetector(models.load_detector(path), threads)
    return YuNet(path, threads)
