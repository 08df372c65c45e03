from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import models
from mien.errors import InputError, MienError, ModelError
from mien.labels import LABELS
from mien.models import Card
from mien.vision.classify import Classifier


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A tiny model that the test may damage."""
    for suffix in (".onnx", ".json"):
        shutil.copy(tiny_model.with_suffix(suffix), tmp_path / f"tiny{suffix}")
    return tmp_path / "tiny.onnx"


def edit_card(path: Path, **changes: Any) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_the_shipped_default_is_whole() -> None:
    model = models.load()
    assert models.DEFAULT in models.shipped()
    assert model.card.labels == LABELS
    assert model.card.parameters <= 1_500_000
    assert len(model.weights) <= 6_000_000
    assert {"validation", "test"} <= set(model.card.scores), "the card carries its measured scores"
    assert Classifier(model).probabilities(np.zeros((3, 48, 48), np.uint8)).shape == (3, 7)


def test_a_model_by_path(tiny_model: Path) -> None:
    assert models.load(tiny_model).card.name == "tiny"


def test_unknown_name_gets_the_close_match() -> None:
    with pytest.raises(ModelError, match="did you mean 'base'"):
        models.load("bass")


def test_missing_card(copy: Path) -> None:
    copy.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*tiny\.json"):
        models.load(copy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "broken"),
        ("{", "broken"),
        ("[]", "broken"),
        ('{"name": "x"}', "labels"),
        ("\x00\x01", "broken"),
    ],
)
def test_broken_card(copy: Path, text: str, said: str) -> None:
    copy.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match=said):
        models.load(copy)


def test_binary_card(copy: Path) -> None:
    copy.with_suffix(".json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="JSON text"):
        models.load(copy)


def test_labels_of_somebodys_own(copy: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 48, 48), np.uint8)
    plain = Classifier(models.load(copy)).probabilities(crops)
    order = ["tired", "sad", "calm", "happy", "bored", "open", "shut"]
    edit_card(copy, labels=order)
    reader = Classifier(models.load(copy))
    assert reader.label_names == ("happy", "sad", "bored", "calm", "open", "shut", "tired"), (
        "ours first, then by the alphabet"
    )
    moved = reader.probabilities(crops)
    for k, label in enumerate(order):
        np.testing.assert_allclose(moved[:, reader.label_names.index(label)], plain[:, k], rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["happy"], "labels: .*2 to 32 labels, not 1"),
        (["happy", "happy"], "labels: .*there twice"),
        (["happy", "Very Sad"], "labels: .*'Very Sad' is no name for a label"),
    ],
)
def test_labels_that_cannot_be(copy: Path, labels: list[str], said: str) -> None:
    edit_card(copy, labels=labels)
    with pytest.raises(ModelError, match=said):
        models.load(copy)


def test_another_number_of_labels_than_of_outputs(copy: Path) -> None:
    edit_card(copy, labels=["happy", "sad"])
    with pytest.raises(ModelError, match="2 labels for 7 outputs"):
        Classifier(models.load(copy))


def test_weights_of_another_card(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="belongs to other weights"):
        models.load(copy)


def test_no_network_in_the_file(copy: Path) -> None:
    import hashlib

    copy.write_bytes(b"not a network")
    edit_card(copy, sha256=hashlib.sha256(b"not a network").hexdigest())
    with pytest.raises(ModelError, match="no ONNX network"):
        Classifier(models.load(copy))


def test_card_and_network_that_disagree(copy: Path) -> None:
    edit_card(copy, input_size=64)
    with pytest.raises(ModelError, match="disagree: the card says"):
        Classifier(models.load(copy))


def test_labels_in_another_order_come_out_in_ours(copy: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 48, 48), np.uint8)
    plain = Classifier(models.load(copy)).probabilities(crops)
    order = ["surprise", *LABELS[:-1]]
    edit_card(copy, labels=order)
    moved = Classifier(models.load(copy)).probabilities(crops)
    np.testing.assert_allclose(moved[:, LABELS.index("surprise")], plain[:, 0], rtol=1e-5)
    np.testing.assert_allclose(moved[:, LABELS.index("angry")], plain[:, 1], rtol=1e-5)


def test_temperature_softens_and_keeps_the_answer(copy: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (50, 48, 48), np.uint8)
    sharp = Classifier(models.load(copy)).probabilities(crops)
    edit_card(copy, temperature=3.0)
    soft = Classifier(models.load(copy)).probabilities(crops)
    np.testing.assert_array_equal(sharp.argmax(1), soft.argmax(1))
    assert soft.max(1).mean() < sharp.max(1).mean()


def test_batches_do_not_change_results(tiny_model: Path) -> None:
    classifier = Classifier(models.load(tiny_model))
    crops = np.random.default_rng(1).integers(0, 255, (150, 48, 48), np.uint8)
    whole = classifier.probabilities(crops)
    np.testing.assert_allclose(whole[100:101], classifier.probabilities(crops[100:101]), atol=1e-5)
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-5)
    assert whole.dtype == np.float32
    assert classifier.probabilities(crops[:0]).shape == (0, 7)


def test_wrong_crops_are_named(tiny_model: Path) -> None:
    classifier = Classifier(models.load(tiny_model))
    with pytest.raises(InputError, match=r"crops should be \(n, H, W\) uint8 grey"):
        classifier.probabilities(np.zeros((3, 48, 48, 3), np.uint8))


def test_card_round_trip(tiny_model: Path) -> None:
    card = models.load(tiny_model).card
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_a_card_from_before_the_first_release_keeps_its_adjustment(tiny_model: Path) -> None:
    card = json.loads(models.load(tiny_model).card.model_dump_json())
    del card["logit_adjustment"]
    assert Card.model_validate(card | {"favoured": {"fear": 0.3}}).logit_adjustment == {"fear": 0.3}
    assert models.load().card.logit_adjustment == {"disgust": 0.6, "fear": 0.3}


INTERRUPTED = """
import hashlib, os, signal, sys
from pathlib import Path
from mien import models
path = Path(sys.argv[1])
weights = path.read_bytes() + b"newer"
card = models.load(path).card.model_copy(update={"name": "newer", "sha256": hashlib.sha256(weights).hexdigest()})
replacements, replace = [], Path.replace
def counted(self, target):
    replacements.append(target)
    if len(replacements) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = counted
models.save(path, card, weights)
"""


@pytest.mark.parametrize(("at", "name"), [(1, "tiny"), (2, "tiny"), (3, "newer"), (4, "newer")])
def test_a_killed_save_leaves_the_old_model_or_the_new_one(copy: Path, at: int, name: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(copy), str(at)], check=False)
    assert done.returncode == (-signal.SIGKILL if at < 4 else 0), "three files take their places"
    model = models.load(copy)
    assert model.card.name == name
    models.save(copy, model.card.model_copy(update={"name": "last"}), model.weights)
    assert models.load(copy).card.name == "last"
    assert not list(copy.parent.glob(".*.json"))


def test_a_model_that_cannot_be_written_leaves_the_old_one(copy: Path, tmp_path: Path) -> None:
    model = models.load(copy)
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(MienError, match=r"cannot write .*taken\.onnx"):
        models.save(tmp_path / "taken.onnx", model.card, model.weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.onnx", "tiny.json", "tiny.onnx"]
    with pytest.raises(MienError, match=r"cannot write the model: \. is a folder"):
        models.save(Path(), model.card, model.weights)
