"""Evaluation of a network whose every answer is known: it reads the answer from marked pixels."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien import models
from mien.data.prepared import PreparedSet, image_hash, manifest_hash, save
from mien.errors import DataError, ModelError
from mien.evaluate.plots import save_confusion, save_reliability
from mien.evaluate.run import Scores, evaluate
from mien.labels import FERPLUS_COLUMNS, LABELS, VOTE_LABELS
from mien.models import Card

SIZE, GAIN, TEMPERATURE = 48, 10.0, 2.0


def build_model(path: Path, vote_labels: tuple[str, ...] = VOTE_LABELS) -> Path:
    """Label logits are GAIN times the pixels 0..6 of row 0, vote logits the same of row 1, 0..7."""
    from onnx import TensorProto, helper, numpy_helper

    heads = {"logits": np.zeros((SIZE * SIZE, 7), np.float32), "votes": np.zeros((SIZE * SIZE, 8), np.float32)}
    for row, weights in enumerate(heads.values()):
        for k in range(weights.shape[1]):
            weights[row * SIZE + k, k] = GAIN
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            *(helper.make_node("MatMul", ["flat", f"{name}_weights"], [name]) for name in heads),
        ],
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", w.shape[1]]) for n, w in heads.items()],
        [numpy_helper.from_array(weights, f"{name}_weights") for name, weights in heads.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    path.write_bytes(content)
    card = Card(
        name="pixels", labels=LABELS, vote_labels=vote_labels, input_size=SIZE, mean=0, std=1,
        temperature=TEMPERATURE, sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    path.with_suffix(".json").write_text(card.model_dump_json())
    return path


@pytest.fixture(scope="module")
def pixel_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "pixels.onnx")


def marked(says: str, votes_for: str = "neutral", when_mirrored: str | None = None, seed: int = 0) -> NDArray[np.uint8]:
    """An image that the network takes for `says`, its mirror image, with more confidence, for another."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[2:] = np.random.default_rng(seed).integers(0, 256, (SIZE - 2, SIZE), np.uint8)
    image[0, LABELS.index(says)] = 51  # logit 2
    image[1, VOTE_LABELS.index(votes_for)] = 255
    if when_mirrored:
        image[0, SIZE - 1 - LABELS.index(when_mirrored)] = 255
    return image


def ballot(**counts: int) -> list[int]:
    return [counts.get(name.replace(" ", "_"), 0) for name in FERPLUS_COLUMNS]


@pytest.fixture
def data() -> PreparedSet:
    """Four test images, of which three are read right and one has a copy in training."""
    rows = [
        ("train", "happy", marked("happy", seed=1), ballot()),
        ("test", "happy", marked("happy", seed=1), ballot(neutral=10)),
        ("test", "happy", marked("happy", "happy", seed=2), ballot(happy=10)),
        ("test", "sad", marked("sad", "contempt", "fear", seed=3), ballot(contempt=6, sad=4)),
        ("test", "fear", marked("surprise", seed=4), ballot(fear=5, surprise=5)),
    ]
    images = np.stack([row[2] for row in rows])
    return PreparedSet(
        images,
        np.array([LABELS.index(row[1]) for row in rows]),
        np.array([row[3] for row in rows], np.uint8),
        np.array([row[0] for row in rows]),
        np.array([f"{i}.png" for i in range(len(rows))]),
        np.array([image_hash(image) for image in images]),
        np.array([""] * len(rows)),
    )


def test_scores_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "PrivateTest")
    assert (scores.model, scores.split, scores.images, scores.labels) == ("pixels", "test", 4, LABELS)
    assert scores.accuracy == 0.75
    assert scores.accuracy_interval[0] < 0.75 < scores.accuracy_interval[1]
    assert scores.accuracy_with_flip == 0.5  # the mirror image of `sad` says fear, and more firmly
    assert scores.accuracy_unseen is not None
    assert scores.accuracy_unseen.images == 3
    assert scores.accuracy_unseen.accuracy == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx((1 + 1 + 0 + 0) / 4)  # happy, sad, fear, surprise
    happy, fear = scores.per_class["happy"], scores.per_class["fear"]
    assert (happy.support, happy.precision, happy.recall, happy.f1) == (2, 1, 1, 1)
    assert (fear.support, fear.precision, fear.recall, fear.f1) == (1, 0, 0, 0)
    counts = np.array(scores.confusion)
    assert counts.sum() == 4
    assert counts[LABELS.index("fear"), LABELS.index("surprise")] == 1


def test_calibration_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test")
    for calibration, temperature in ((scores.uncalibrated, 1.0), (scores.calibrated, TEMPERATURE)):
        logit = 2 / temperature
        confidence = math.exp(logit) / (math.exp(logit) + 6)
        assert calibration.temperature == temperature
        normaliser = math.log(math.exp(logit) + 6)
        assert calibration.nll == pytest.approx(normaliser - 0.75 * logit, abs=1e-5)
        assert calibration.ece == pytest.approx(abs(0.75 - confidence), abs=1e-5)
        filled = [b for b in calibration.bins if b.images]
        assert len(filled) == 1
        assert filled[0].low < confidence <= filled[0].high
        assert filled[0].confidence == pytest.approx(confidence, abs=1e-5)
        assert filled[0].accuracy == 0.75


def test_ferplus_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test").ferplus
    assert list(scores) == ["plain", "microsoft"]
    # voted neutral, happy, contempt and, by the order of columns, surprise;
    # the vote head says neutral, happy, contempt, neutral, the labels happy, happy, sad, surprise
    assert (scores["plain"].images, scores["plain"].vote_head, scores["plain"].label_head) == (4, 0.75, 0.5)
    # fear and surprise with five votes each have no majority
    assert scores["microsoft"].images == 3
    assert scores["microsoft"].vote_head == 1
    assert scores["microsoft"].label_head == pytest.approx(1 / 3)


def test_without_votes_or_vote_head_there_is_no_such_score(tiny_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(tiny_model), data, "test")
    assert all(score.vote_head is None for score in scores.ferplus.values())
    train = evaluate(models.load(tiny_model), data, "train")
    assert (train.ferplus, train.accuracy_unseen) == ({}, None)


def test_the_order_of_vote_labels_is_the_cards(tmp_path: Path, data: PreparedSet) -> None:
    swapped = ("contempt", *VOTE_LABELS[1:7], "angry")
    scores = evaluate(models.load(build_model(tmp_path / "a.onnx", swapped)), data, "test")
    assert scores.ferplus["microsoft"].vote_head == pytest.approx(2 / 3)  # contempt is now read as angry


def test_a_card_whose_votes_the_network_has_not_is_refused(tmp_path: Path, data: PreparedSet) -> None:
    model = build_model(tmp_path / "a.onnx", ("happy", "sad"))
    with pytest.raises(ModelError, match="card and weights disagree: no output for the vote labels happy, sad"):
        evaluate(models.load(model), data, "test")


def test_an_empty_split_is_refused(pixel_model: Path, data: PreparedSet) -> None:
    with pytest.raises(DataError, match="no image in split 'validation'"):
        evaluate(models.load(pixel_model), data, "validation")


def test_progress_goes_over_image_and_mirror_image(pixel_model: Path, data: PreparedSet) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(models.load(pixel_model), data, "test", progress=lambda *step: seen.append(step))
    assert seen == [(4, 8), (8, 8)]


def test_scores_say_where_they_come_from_and_come_back_from_json(pixel_model: Path, data: PreparedSet) -> None:
    model = models.load(pixel_model)
    scores = evaluate(model, data, "test", manifest_sha256="m")
    assert scores.provenance["weights_sha256"] == model.card.sha256
    assert scores.provenance["manifest_sha256"] == "m"
    assert {"mien", "commit", "machine", "date", "command"} <= scores.provenance.keys()
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


def test_plots_are_pictures(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    scores = evaluate(models.load(pixel_model), data, "test")
    save_confusion(scores, tmp_path / "confusion.png")
    save_reliability(scores, tmp_path / "reliability.png")
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / name) as image:
            image.load()
            assert min(image.size) > 900
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 100


def mien(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mien.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_command(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    arguments = ("evaluate", pixel_model, "--data", tmp_path / "set", "--split", "test")
    done = mien(*arguments, "--json", "--out", tmp_path / "scores")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["accuracy"] == 0.75
    assert printed["provenance"]["manifest_sha256"] == manifest_hash(tmp_path / "set")
    assert printed["provenance"]["command"].endswith("--json --out " + str(tmp_path / "scores"))
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == printed
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {
        "scores.json", "confusion.png", "reliability.png",
    }  # fmt: skip
    done = mien(*arguments)
    assert done.returncode == 0, done.stderr
    assert "75.0 %" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_the_command_refuses_in_one_sentence(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    for model, folder, split, sentence in (
        ("nomodel", tmp_path / "set", "test", "no model 'nomodel'"),
        (pixel_model, tmp_path, "test", "is not a prepared set"),
        (pixel_model, tmp_path / "set", "tset", "did you mean 'test'"),
    ):
        done = mien("evaluate", model, "--data", folder, "--split", split)
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_command_never_imports_torch(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    code = (
        "import sys; from mien.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "assert 'mien.evaluate.run' in sys.modules and 'torch' not in sys.modules"
    )
    arguments = [sys.executable, "-c", code, "evaluate", pixel_model, "--data", tmp_path / "set", "--split", "test"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
