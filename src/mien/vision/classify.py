"""From crops to probabilities, by the card."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, ModelError
from mien.faces import Faces
from mien.labels import ordered
from mien.models import Model
from mien.vision.crop import crop_faces, resize_crop
from mien.vision.runtime import Session

BATCH = 64


class Classifier:
    """One expression network and its card; safe to share between threads. `label_names` are the card's in the order of
    `mien.labels.ordered`, k of them.

    Raises ModelError when the weights are no network or are not what the card says.
    """

    def __init__(self, model: Model, threads: int | None = None) -> None:
        self.card = card = model.card
        self._session = Session(model.weights, card.name, threads)
        channels, height, width = (list(self._session.input_shape) + [None] * 4)[1:4]
        if channels != 1 or any(isinstance(s, int) and s != card.input_size for s in (height, width)):
            raise ModelError(
                f"card and weights of {card.name} disagree: the card says (n, 1, {card.input_size}, "
                f"{card.input_size}), the network takes {tuple(self._session.input_shape)}"
            )
        if self._session.output_shapes[0][-1] not in (len(card.labels), None):
            raise ModelError(
                f"card and weights of {card.name} disagree: {len(card.labels)} labels for "
                f"{self._session.output_shapes[0][-1]} outputs"
            )
        self.label_names = ordered(card.labels)
        self._columns = [card.labels.index(name) for name in self.label_names]

    def logits(self, crops: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Grey crops `(n, H, W)` uint8 to the network's outputs: label logits `(n, k)` in the order of `label_names`,
        then vote logits `(n, 8)` in the order of the card's `vote_labels` where it has them. Raises InputError on any
        other array."""
        if not isinstance(crops, np.ndarray):
            raise InputError(f"crops should be a (n, H, W) uint8 array, not {type(crops).__name__}")
        if crops.ndim != 3 or crops.dtype != np.uint8 or 0 in crops.shape[1:]:
            raise InputError(f"crops should be (n, H, W) uint8 grey, not {crops.shape} {crops.dtype}")
        size = self.card.input_size
        if crops.shape[1:] != (size, size) and len(crops):
            crops = np.stack([resize_crop(crop, size) for crop in crops])
        parts = []
        for first in range(0, len(crops), BATCH):
            batch = crops[first : first + BATCH, None].astype(np.float32)
            batch *= 1 / (255 * self.card.std)
            batch -= self.card.mean / self.card.std
            parts.append(self._session.run(batch))
        if not parts:
            return [np.empty((0, len(self.label_names)), np.float32)]
        outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return [outputs[0][:, self._columns], *outputs[1:]]

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey crops `(n, H, W)` uint8 to calibrated probabilities `(n, k)` float32 in the order of `label_names`."""
        return softmax(self.logits(crops)[0] / self.card.temperature)

    def classify(self, image: NDArray[np.uint8], faces: Faces) -> Faces:
        """The faces with their probabilities; `image` is the `(H, W, 3)` uint8 RGB frame they were found in."""
        crops = crop_faces(image, faces, self.card.input_size, self.card.crop)
        return faces.replace(probs=self.probabilities(crops), model=self.card.name, label_names=self.label_names)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Along the last axis, without overflow."""
    powers = np.exp(logits - logits.max(-1, keepdims=True, initial=-np.inf))
    result: NDArray[np.float32] = powers / powers.sum(-1, keepdims=True)
    return result
