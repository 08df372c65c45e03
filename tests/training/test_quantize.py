"""Int8 export: a model like any other, nearly as good as the float32 one, with its own numbers on its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from training_sets import SIZE, small_recipe, striped

from mien import models
from mien.data import prepared
from mien.errors import DataError
from mien.training.expression.export import export
from mien.training.expression.quantize import Quantized, export_int8, quantize
from mien.training.fit import fit
from mien.vision.classify import Classifier


@pytest.fixture(scope="module")
def full(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    fit(small_recipe(epochs=2), data, run)
    return export([run], data, run / "small.onnx", "small").weights


@pytest.fixture(scope="module")
def made(full: Path, data: Path) -> Quantized:
    return export_int8(full, data, small_recipe())


def test_it_is_int8_and_reads_like_any_model(made: Quantized, full: Path, data: Path) -> None:
    assert made.weights == full.with_name("small-int8.onnx")
    types = {tensor.data_type for tensor in onnx.load(made.weights).graph.initializer}
    assert onnx.TensorProto.INT8 in types
    model = models.load(made.weights)
    images = prepared.load(data).split("validation").images
    ours, theirs = (Classifier(m, threads=1).probabilities(images) for m in (model, models.load(full)))
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9
    assert 0 < np.abs(ours - theirs).mean() < 0.05


def test_the_card_has_its_own_name_temperature_and_scores(made: Quantized, full: Path, data: Path) -> None:
    card, whole = models.load(made.weights).card, models.load(full).card
    assert card.name == "small-int8"
    assert (card.labels, card.vote_labels, card.input_size) == (whole.labels, whole.vote_labels, whole.input_size)
    assert card.provenance["of_sha256"] == whole.sha256 != card.sha256
    assert card.provenance["quantization"] == "static int8, calibrated on 140 training crops"
    scores = card.scores["validation"]
    validation = prepared.load(data).split("validation")
    assert scores["images"] == len(validation)
    for name, path in (("int8", made.weights), ("float32", full)):
        right = Classifier(models.load(path), threads=1).logits(validation.images)[0].argmax(1) == validation.labels
        assert scores[name]["accuracy"] == pytest.approx(right.mean())
        assert scores[name]["bytes"] == path.stat().st_size
        assert 0 < scores[name]["milliseconds_per_face"] < float("inf")
    assert 0.9 < scores["same_prediction"] <= 1


def test_the_float32_model_stays_as_it_is(made: Quantized, full: Path) -> None:
    assert models.load(full).card.scores == {}
    assert not list(full.parent.glob("*.part"))


def test_the_same_crops_make_the_same_file(full: Path) -> None:
    weights, crops = full.read_bytes(), striped(20).images
    assert quantize(weights, crops, SIZE) == quantize(weights, crops, SIZE)


def test_without_crops_there_is_nothing_to_calibrate_on(full: Path) -> None:
    with pytest.raises(DataError, match="needs training crops"):
        quantize(full.read_bytes(), np.empty((0, SIZE, SIZE), np.uint8), SIZE)
