"""`Analyzer`: finds and reads faces; shared by all callers and threads, holds no state between images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien import models
from mien.classify import Classifier
from mien.detect import Detector, load_detector
from mien.faces import Faces
from mien.media import check_image, read_image


class Analyzer:
    """A detector and a classifier. Make one with `mien.load()`."""

    def __init__(self, detector: Detector, classifier: Classifier) -> None:
        self.detector = detector
        self.classifier = classifier

    def analyze(self, image: NDArray[np.uint8] | str | Path) -> Faces:
        """The faces in one picture with their probabilities.

        `image` is `(H, W, 3)` uint8 RGB, or the path of an image file. Raises InputError when it is neither.
        """
        source = ""
        if isinstance(image, str | Path):
            source, image = str(image), read_image(image)
        image = check_image(image)
        faces = self.detector.detect(image).replace(source=source)
        return self.classifier.classify(image, faces)

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey `(n, H, W)` uint8 crops in FER2013's framing to probabilities `(n, 7)` float32, in the order of
        `mien.LABELS`."""
        return self.classifier.probabilities(crops)


def load(
    model: str | Path | None = None,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
) -> Analyzer:
    """An analyzer, ready to use.

    `model` is a shipped name or the path of an .onnx file with its card (None: the shipped default);
    `detector` is `yunet` or `haar` (None: YuNet, or Haar with a note when its file cannot be had);
    `detector_weights` is a YuNet file to use instead of the downloaded one; `threads` bounds the threads of one
    call. Raises ModelError or FetchError with one sentence when something is missing.
    """
    return Analyzer(load_detector(detector, detector_weights, threads), Classifier(models.load(model), threads))
