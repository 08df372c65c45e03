"""Occlusion maps of a network that reads known pixels, and what `mien explain` says of a real photograph."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command import mien
from numpy.typing import NDArray
from PIL import Image
from pixels import build_model, marked

from mien import models
from mien.evaluation.expression.occlusion import AGAINST, CELLS, FOR, WINDOWS, OcclusionMap, heat, occlusion_maps
from mien.labels import LABELS
from mien.models import CropGeometry
from mien.vision.classify import Classifier


def test_a_map_by_hand(tmp_path: Path) -> None:
    """`surprise` is read from pixel 6 of row 0, in the second cell of the first row, and from nowhere else."""
    classifier = Classifier(models.load(build_model(tmp_path / "pixels.onnx")))
    steps: list[int] = []
    (found,) = occlusion_maps(classifier, marked("surprise")[None], steps.append)
    before, after = math.e / (math.e + 6), 1 / 7
    assert found.label == "surprise"
    assert found.probability == pytest.approx(before, abs=1e-5)
    # of the sixteen squares over a cell, those count that cover the pixel's cell as well
    shares = np.zeros((CELLS, CELLS))
    for y in range(4):
        for x in range(5):
            shares[y, x] = (4 - y) * (4 - abs(x - 1)) / 16
    np.testing.assert_allclose(found.drops, (before - after) * shares, atol=1e-5)
    assert found.peak == pytest.approx((1.5 / CELLS, 0.5 / CELLS))
    assert steps == [WINDOWS]


def test_what_speaks_against_is_negative(tmp_path: Path) -> None:
    classifier = Classifier(models.load(build_model(tmp_path / "pixels.onnx")))
    image = np.zeros((48, 48), np.uint8)
    image[0, LABELS.index("angry")], image[0, LABELS.index("surprise")] = 60, 55  # in cells beside each other
    (found,) = occlusion_maps(classifier, image[None])
    assert found.label == "angry"
    assert found.drops[0, 0] > 0
    assert found.drops[0, 4] < 0  # of its squares one reaches the rival, none the mark of the label itself
    assert (found.drops[4:] == 0).all()


def test_no_face_no_map(tiny_model: Path) -> None:
    assert not list(occlusion_maps(Classifier(models.load(tiny_model)), np.empty((0, 48, 48), np.uint8)))


@pytest.mark.parametrize(
    ("cell", "place"),
    [((4, 4), "right eye"), ((4, 7), "left eye"), ((6, 6), "nose"), ((8, 5), "mouth"), ((0, 0), "elsewhere")],
)
def test_places_have_names(cell: tuple[int, int], place: str) -> None:
    drops = np.zeros((CELLS, CELLS), np.float32)
    drops[cell] = 0.3
    found = OcclusionMap("happy", 0.9, drops)
    assert found.place(CropGeometry()) == place
    assert json.loads(json.dumps(found.to_dict(CropGeometry())))["largest_drop"] == 0.3


def test_heat_is_clear_at_zero_and_coloured_by_sign() -> None:
    drops = np.zeros((CELLS, CELLS), np.float32)
    drops[2:5, 2:5], drops[8:11, 8:11] = 0.4, -0.2
    overlay = heat(drops, 120)
    assert overlay.shape == (120, 120, 4)
    assert overlay.dtype == np.uint8
    assert overlay[5, 110, 3] == 0
    assert tuple(overlay[35, 35, :3]) == FOR
    assert tuple(overlay[95, 95, :3]) == AGAINST
    assert overlay[35, 35, 3] > 1.8 * overlay[95, 95, 3] > 0


def test_next_to_no_change_has_next_to_no_colour() -> None:
    assert heat(np.full((CELLS, CELLS), 0.0005), 24)[..., 3].max() <= 11  # a twentieth of full


# The verb


explain = partial(mien, "explain", "--detector", "haar")


def test_a_photograph_is_explained(astronaut: NDArray[np.uint8], tiny_model: Path, tmp_path: Path) -> None:
    photo = tmp_path / "two.png"
    Image.fromarray(np.hstack([astronaut, astronaut[:, ::-1]])).save(photo)
    done = explain(photo, "--model", tiny_model, "--json", "--save", tmp_path / "out")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert json.loads((tmp_path / "out" / "two-explained.json").read_text()) == printed
    assert printed["method"] == {"name": "occlusion sensitivity (Zeiler and Fergus 2014)", "cells": 12, "window": 4}
    assert len(printed["faces"]) == 2
    for face in printed["faces"]:
        drops = np.array(face["occlusion"]["drops"])
        assert drops.shape == (CELLS, CELLS)
        assert face["occlusion"]["label"] == face["label"]
        assert face["occlusion"]["largest_drop"] == drops.max() <= face["occlusion"]["probability"]
    with Image.open(tmp_path / "out" / "two-explained.png") as sheet:
        sheet.load()
        assert sheet.width > 900
        assert sheet.height > 2 * 288
        assert len(sheet.convert("RGB").getcolors(1 << 24) or ()) > 1000


def test_a_table_says_what_it_hangs_on(astronaut: NDArray[np.uint8], tiny_model: Path, tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "one.png")
    done = explain(tmp_path / "one.png", "--model", tiny_model)
    assert done.code == 0, done.err
    assert "hangs most on" in done.out
    assert "Zeiler and Fergus 2014" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_without_a_face_there_is_nothing_to_explain(tiny_model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "grey").save(tmp_path / "wall.png")
    done = explain(tmp_path / "wall.png", "--model", tiny_model, "--save", tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert "no face was found in" in done.err
    assert not (tmp_path / "out").exists()
