"""Faces of a prepared set as pictures for a page, each with its occlusion map where the model is at hand."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import models
from mien.data.prepared import PreparedSet
from mien.errors import DataError
from mien.evaluation.expression.occlusion import heat, occlusion_maps
from mien.evaluation.expression.scores import Example
from mien.models import Model
from mien.vision.classify import Classifier

_OVERLAY = 96
"""Side in pixels of the maps that are laid over the pictures."""


@dataclass(frozen=True)
class Portrait:
    """One face with its picture and its map as data URIs, and the largest drop in the map; without a model there is no
    map, and `overlay` is empty."""

    example: Example
    picture: str
    overlay: str = ""
    drop: float = 0.0


def gallery(
    faces: Sequence[Example], data: PreparedSet, classifier: Classifier | None,
    step: Callable[[int], object] = lambda n: None,
) -> list[Portrait]:  # fmt: skip
    """The pictures of `faces`, and their maps by `classifier`; `step` is called with its forward passes."""
    crops = data.images[[example.row for example in faces]]
    if classifier is None:
        return [Portrait(example, _uri(crop)) for example, crop in zip(faces, crops, strict=True)]
    maps = occlusion_maps(classifier, crops, step)
    return [
        Portrait(example, _uri(crop), _uri(heat(found.drops, _OVERLAY)), found.drop)
        for example, crop, found in zip(faces, crops, maps, strict=True)
    ]


def with_faces(faces: Sequence[Example], data: PreparedSet) -> list[Example]:
    """Those whose images hold a face, by votes and flags; older scores list the others, too."""
    faceless = data.faceless()
    return [example for example in faces if not faceless[example.row]]


def chosen(rows: Sequence[int], data: PreparedSet, classifier: Classifier) -> list[Example]:
    """The model's predictions on these rows of the manifest; raises DataError on a row that is not there."""
    for row in rows:
        if not 0 <= row < len(data):
            raise DataError(f"there is no row {row}; the set has rows 0 to {len(data) - 1}")
    if not rows:
        return []
    probabilities = classifier.probabilities(data.images[list(rows)])
    return [
        Example(
            row=row,
            label=data.label_names[data.labels[row]],
            predicted=classifier.label_names[int(probs.argmax())],
            confidence=float(probs.max()),
        )
        for row, probs in zip(rows, probabilities, strict=True)
    ]


def find_model(sha256: str, folders: Iterable[Path]) -> Model | None:
    """The model with those weights: a shipped one, or an .onnx file in one of the folders; None where there is none.

    Raises ModelError where its card is missing or broken.
    """
    for name in models.shipped():
        if _digest((files("mien.weights") / f"{name}.onnx").read_bytes()) == sha256:
            return models.load(name)
    for folder in folders:
        for path in sorted(folder.glob("*.onnx")):
            if _digest(path.read_bytes()) == sha256:
                return models.load(path)
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _uri(pixels: NDArray[np.uint8]) -> str:
    """Grey or RGBA pixels as a PNG inside a data URI."""
    packed = BytesIO()
    Image.fromarray(pixels).save(packed, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
