"""`Analyzer`: finds and reads faces; shared by all callers and threads, holds no state between images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien import models
from mien.faces import Faces
from mien.media.images import check_image, read_image
from mien.vision.classify import Classifier
from mien.vision.detect import Detector, load_detector

if TYPE_CHECKING:
    from mien.stream import Stream


class Analyzer:
    """A detector and a classifier. Make one with `mien.load()`."""

    def __init__(self, detector: Detector, classifier: Classifier) -> None:
        self.detector = detector
        self.classifier = classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """What the network tells apart, in the order of every `probs`: `mien.LABELS` unless it learnt others."""
        return self.classifier.labels

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

    def stream(
        self,
        source: str | Path | int | Sequence[str | Path] | None = None,
        *,
        every: int = 1,
        max_fps: float | None = None,
        start: float | None = None,
        end: float | None = None,
        smoothing: bool = True,
        workers: int = 1,
    ) -> Stream:
        """The faces in a film, a stream, a camera or many pictures, frame by frame; people keep their ids.

        `source` and the choice of frames are those of `mien.media.sources.open_frames`; None is for frames that are
        pushed.
        With `smoothing` probabilities are filtered over time, and `raw_probs` are those of each frame alone.
        `workers` frames are read at the same time. Streams share this analyzer without disturbing each other.

            for faces in analyzer.stream("film.mp4", max_fps=10):
                print(faces.time, faces.ids, faces.labels())

        Raises InputError when the source cannot be opened, and, after all that could be read, when it is damaged.
        """
        from mien.media.sources import open_frames
        from mien.stream import Stream

        frames = None
        if source is not None:
            frames = open_frames(source, every=every, max_fps=max_fps, start=start, end=end)
        return Stream(self, frames, smoothing, workers)

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey `(n, H, W)` uint8 crops in FER2013's framing to probabilities `(n, k)` float32, in the order of
        `labels`."""
        return self.classifier.probabilities(crops)


def load(
    model: str | Path | None = None,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
) -> Analyzer:
    """An analyzer, ready to use.

    `model` is a shipped name or the path of an .onnx file with its card (None: the shipped default);
    `detector` is `mien` (None: this), `yunet` or `haar`; `detector_weights` is a detector's file to use in its place,
    one that `mien export` wrote or YuNet's; `threads` bounds the threads of one call. Raises ModelError or FetchError
    with one sentence when something is missing.
    """
    return Analyzer(load_detector(detector, detector_weights, threads), Classifier(models.load(model), threads))
