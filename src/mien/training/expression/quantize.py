"""An exported model as int8, calibrated on training crops, and measured against the float32 one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien import metrics, models
from mien.data import prepared
from mien.errors import DataError
from mien.models import Card, Model
from mien.training.expression.calibration import temperature
from mien.training.expression.net import to_input
from mien.training.int8 import to_int8
from mien.training.recipe import Recipe
from mien.vision.classify import Classifier, softmax

CALIBRATION_IMAGES = 512
_BATCH = 64
_TIMED, _ROUNDS = 128, 3


@dataclass(frozen=True)
class Quantized:
    """The int8 model, and what both score on the validation split: `scores` as they stand on its card."""

    weights: Path
    card: Card
    scores: dict[str, Any]


def export_int8(
    weights: Path, data_folder: Path, recipe: Recipe, progress: Callable[[str], object] = lambda stage: None
) -> Quantized:
    """Write NAME-int8.onnx and its card beside the exported float32 model NAME.onnx, which stays as it is.

    Activations and weights are quantised statically, weights by channel; ranges are those of `CALIBRATION_IMAGES`
    crops of the recipe's training split. The card holds a temperature of its own and, under `scores.validation`,
    both networks' accuracy, macro-F1, NLL, ECE and milliseconds for a face here. Raises DataError and ModelError as
    the loaders do, ModelError where a file cannot be written.
    """
    progress("loading the data")
    data = prepared.load(data_folder)
    validation = data.split(recipe.data.validation_split)
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    model = models.load(weights)
    some = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:CALIBRATION_IMAGES])
    progress("calibrating int8")
    content = quantize(model.weights, train.images[some], model.card.input_size)
    progress("measuring int8")
    card = model.card.model_copy(
        update={
            "name": f"{model.card.name}-int8",
            "sha256": hashlib.sha256(content).hexdigest(),
            "provenance": model.card.provenance
            | {
                "quantization": f"static int8, calibrated on {len(some)} training crops",
                "of_sha256": model.card.sha256,
            },
        }
    )
    logits = Classifier(Model(card, content)).logits(validation.images)[0]
    card = card.model_copy(update={"temperature": temperature(logits, validation.labels)})
    scores = compare(model, Model(card, content), validation.images, validation.labels)
    card = card.model_copy(update={"scores": {"validation": scores}})
    target = weights.with_stem(f"{weights.stem}-int8")
    models.save(target, card, content)
    return Quantized(target, card, scores)


def quantize(weights: bytes, crops: NDArray[np.uint8], size: int) -> bytes:
    """A float32 ONNX network as int8, its ranges those of grey uint8 crops `(n, S, S)`. DataError without any."""
    if not len(crops):
        raise DataError("int8 needs training crops to find its ranges on, and there is none")
    return to_int8(weights, (to_input(batch, size).numpy() for batch in torch.split(torch.from_numpy(crops), _BATCH)))


def compare(full: Model, small: Model, crops: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Scores of both on the same grey uint8 crops `(n, S, S)`, and the share of equal predictions.

    Milliseconds are for one face in a call of one, by one thread, the best of alternating rounds.
    """
    networks = {"float32": Classifier(full, threads=1), "int8": Classifier(small, threads=1)}
    scores: dict[str, Any] = {"images": len(crops)}
    predictions = []
    for name, classifier in networks.items():
        logits = classifier.logits(crops)[0] / classifier.card.temperature
        predictions.append(logits.argmax(1))
        scores[name] = {
            "accuracy": metrics.accuracy(labels, predictions[-1]),
            "macro_f1": metrics.macro_f1(metrics.confusion(labels, predictions[-1], len(classifier.label_names))),
            "nll": metrics.nll(logits, labels),
            "ece": metrics.ece(softmax(logits), labels),
            "bytes": len((full if name == "float32" else small).weights),
            "milliseconds_per_face": float("inf"),
        }
    scores["same_prediction"] = float((predictions[0] == predictions[1]).mean())
    for _ in range(_ROUNDS):
        for name, classifier in networks.items():
            timed = crops[:_TIMED]
            start = perf_counter()
            for crop in timed:
                classifier.logits(crop[None])
            spent = 1000 * (perf_counter() - start) / len(timed)
            scores[name]["milliseconds_per_face"] = min(scores[name]["milliseconds_per_face"], round(spent, 3))
    return scores
