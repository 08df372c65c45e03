"""Several data sets of different origin in one evaluation, of a network whose every answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import mien as command
from PIL import Image
from pixels import build_model, four_tests, marked

import mien
from mien.data.prepared import PreparedSet, image_hash, save
from mien.errors import DataError
from mien.evaluation.expression.origins import Origins
from mien.labels import LABELS


@pytest.fixture(scope="module")
def pixel_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "pixels.onnx")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """`many`, with training images, of which 3 of 4 in test are read right; `abroad`, in validation only, 1 of 2."""
    root = tmp_path_factory.mktemp("sets")
    save(root / "many", four_tests())
    images = np.stack([marked("disgust", seed=5), marked("happy", seed=6)])
    abroad = PreparedSet(
        images, np.array([LABELS.index("disgust"), LABELS.index("angry")]), np.zeros((2, 10), np.uint8),
        np.array(["validation"] * 2), np.array(["0.png", "1.png"]),
        np.array([image_hash(image) for image in images]), np.array([""] * 2),
    )  # fmt: skip
    save(root / "abroad", abroad)
    return [root / "many", root / "abroad"]


def test_every_origin_counts_alike(pixel_model: Path, folders: list[Path], tmp_path: Path) -> None:
    notes: list[str] = []
    found = mien.evaluate(pixel_model, folders, split="test", out=tmp_path / "out", note=notes.append)
    assert isinstance(found, Origins)
    assert notes == ["abroad has images in validation only, so these are measured"]
    assert {name: scores.accuracy for name, scores in found.of("pixels").items()} == {"many": 0.75, "abroad": 0.5}
    mean = found.mean("pixels")
    assert mean.accuracy == (0.75 + 0.5) / 2, "not 4 of 6"
    assert mean.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    content = json.loads((tmp_path / "out" / "origins.json").read_text())
    assert content["means"]["pixels"] == mean.model_dump()
    assert content["sets"]["abroad"]["models"][0]["split"] == "validation"
    assert json.loads((tmp_path / "out" / "many" / "scores.json").read_text())["accuracy"] == 0.75
    with Image.open(tmp_path / "out" / "origins.png") as picture:
        assert picture.width > 800


def test_the_command_prints_each_origin_and_the_mean(pixel_model: Path, folders: list[Path], tmp_path: Path) -> None:
    data = [word for folder in folders for word in ("--data", folder)]
    done = command("evaluate", pixel_model, *data, "--split", "test")
    assert done.code == 0, done.err
    rows = {line.strip("│ ").split("│")[0].strip(): line for line in done.out.splitlines() if "│" in line}
    assert "75.0 %" in rows["many"]
    assert "50.0 %" in rows["abroad"]
    assert "62.5 %" in rows["mean over origins"]
    (recalls,) = (line.split() for line in done.out.splitlines() if line.startswith("many"))
    assert recalls == ["many", "0", "100", "100"], "of fear, happy and sad; it has no other label"
    build_model(tmp_path / "other.onnx")
    done = command("evaluate", pixel_model, tmp_path / "other.onnx", *data, "--split", "test", "--json")
    assert json.loads(done.out)["means"].keys() == {"pixels", "other"}


def test_what_cannot_be_measured_is_said(pixel_model: Path, folders: list[Path]) -> None:
    with pytest.raises(DataError, match="given twice"):
        mien.evaluate(pixel_model, [folders[0], folders[0]])
    with pytest.raises(DataError, match="no image in split 'validation'"):
        mien.evaluate(pixel_model, folders, split="validation", note=lambda sentence: None)
