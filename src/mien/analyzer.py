"""`Analyzer`: finds and reads faces; shared by all callers and threads, holds no state between images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from mien import models
from mien.checks import number, whole
from mien.faces import Faces
from mien.media.images import Color, ImageLike, load_image
from mien.threads import in_order
from mien.vision.classify import Classifier
from mien.vision.detect import Detector, MienDetector, load_detector

if TYPE_CHECKING:
    from mien.media.opening import FrameSource
    from mien.stream import Stream


class Analyzer:
    """A detector and a classifier. Make one with `mien.load()`.

    `min_score` in 0..1 and `min_size`, a side in pixels, leave out what scores less or is smaller (the square root of
    the box's area). It can be pickled, as for the workers of `multiprocessing`, which make their networks anew. Raises
    InputError when they make no sense.
    """

    def __init__(
        self, detector: Detector, classifier: Classifier, min_score: float = 0.0, min_size: float = 0.0
    ) -> None:
        self.detector = detector
        self.classifier = classifier
        self.min_score = number("min_score", min_score, least=0, most=1)
        self.min_size = number("min_size", min_size, least=0)

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the network tells apart, in the order of every `probs`: `mien.LABELS` unless it learnt others."""
        return self.classifier.label_names

    @overload
    def analyze(self, image: ImageLike, *, color: Color = "rgb", keep_image: bool | None = None) -> Faces: ...

    @overload
    def analyze(
        self, image: list[Any] | tuple[Any, ...], *, color: Color = "rgb", keep_image: bool | None = None
    ) -> list[Faces]: ...

    def analyze(
        self, image: ImageLike | list[Any] | tuple[Any, ...], *, color: Color = "rgb", keep_image: bool | None = None
    ) -> Faces | list[Faces]:
        """The faces in one picture with their probabilities, or in each of a list of pictures.

        A picture is the path or URL of an image file, its content as bytes or as a binary file object, a Pillow image,
        or a uint8 array, grey `(H, W)` or colour `(H, W, 3)` or `(H, W, 4)`, with channels in the order `color`: "rgb",
        or "bgr" as OpenCV has them. Those of a list are read at the same time. With `keep_image` the result holds the
        picture, for `draw` and for notebooks; None does that for a single picture, not for lists.

        Raises InputError, with one sentence, when something is no picture or cannot be read.
        """
        if not isinstance(image, list | tuple):
            return self._analyze(image, color, keep_image is not False)
        workers = min(len(image), os.cpu_count() or 1)
        return list(in_order(lambda one: self._analyze(one, color, bool(keep_image)), image, max(workers, 1)))

    def _analyze(self, image: ImageLike, color: Color, keep_image: bool) -> Faces:
        pixels, source = load_image(image, color)
        kept = None
        if keep_image:  # an array may be used again by whoever gave it
            kept = pixels.copy() if isinstance(image, np.ndarray) else pixels
            kept.flags.writeable = False
        faces = self.detector.detect(pixels).replace(source=source, image=kept)
        if self.min_score or self.min_size:
            sides = np.sqrt(np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0).prod(1))
            faces = faces.select((faces.scores >= self.min_score) & (sides >= self.min_size))
        return self.classifier.classify(pixels, faces)

    def stream(
        self,
        source: FrameSource | None = None,
        *,
        every: int = 1,
        max_fps: float | None = None,
        start: float | None = None,
        end: float | None = None,
        follow_playlists: bool = False,
        fps: float = 25.0,
        color: Color = "rgb",
        smoothing: bool = True,
        workers: int = 1,
    ) -> Stream:
        """The faces in a film, a stream, a camera, many pictures or a sequence of arrays, frame by frame; people keep
        their ids.

        `source` and the choice of frames are those of `mien.media.opening.open_frames`; None is for frames that are
        pushed. Arrays follow each other at `fps`, with channels in the order `color`. With `smoothing` probabilities
        are filtered over time, and `raw_probs` are those of each frame alone. `workers` frames are read at the same
        time. Streams share this analyzer without disturbing each other. `mien.watch` writes tables, films and episodes.

            for faces in analyzer.stream("film.mp4", max_fps=10):
                print(faces.time, faces.ids, faces.labels())

        Raises InputError when the source cannot be opened, and, after all that could be read, when it is damaged.
        """
        from mien.media.frames import Pick
        from mien.media.opening import open_frames
        from mien.stream import Stream

        frames = None
        Pick(every, max_fps, start, end)  # raises on what makes no sense
        if source is not None:
            frames = open_frames(
                source, every=every, max_fps=max_fps, start=start, end=end, fps=fps, color=color,
                follow_playlists=follow_playlists,
            )  # fmt: skip
        return Stream(self, frames, smoothing=smoothing, workers=workers, fps=fps, color=color)

    def expecting(self) -> tuple[Analyzer, float]:
        """This analyzer for the frames of a film, and the score from which a face in them counts by itself.

        Fainter faces count where somebody is followed who has turned away, say, or stands in the dark. The same
        analyzer, and 0, where the detector has none to offer or `min_score` was chosen.
        """
        if self.min_score or not isinstance(self.detector, MienDetector):
            return self, 0.0
        return Analyzer(self.detector.expecting(), self.classifier, 0.0, self.min_size), self.detector.min_score

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey `(n, H, W)` uint8 crops in FER2013's framing to probabilities `(n, k)` float32, in the order of
        `label_names`. Raises InputError on any other array."""
        return self.classifier.probabilities(crops)

    def __repr__(self) -> str:
        return f"Analyzer(detector {self.detector.name}, model {self.classifier.card.name})"


def load(
    model: str | Path | None = None,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
    *,
    min_score: float | None = None,
    min_size: float = 0.0,
) -> Analyzer:
    """An analyzer, ready to use.

    `model` is a shipped name or the path of an .onnx file with its card (None: the shipped default);
    `detector` is `mien` (None: this), `yunet` or `haar`; `detector_weights` is a detector's file to use in its place,
    one that `mien export` wrote or YuNet's; `threads` bounds the threads of one call. `min_score` in 0..1 replaces the
    detector's own least score, `min_size` leaves out faces of fewer pixels a side. Raises ModelError, FetchError or
    InputError with one sentence when something is missing or makes no sense.
    """
    if threads is not None:
        threads = min(whole("threads", threads), 1024)
    if min_score is not None:
        number("min_score", min_score, least=0, most=1)
    finder = load_detector(detector, detector_weights, threads)
    analyzer = Analyzer(finder, Classifier(models.load(model), threads), min_score or 0.0, min_size)
    if min_score is not None and hasattr(finder, "min_score"):
        finder.min_score = min_score
    return analyzer
