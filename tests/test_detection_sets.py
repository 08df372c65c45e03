"""Detectors measured on several data sets, among them a folder of pictures with a list of boxes."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import mien
from marked import BOX, SCENE, write_photographs
from numpy.typing import NDArray

from mien.data import photographs
from mien.errors import DataError
from mien.evaluate import detection
from mien.evaluate.detection_scores import DetectionReport


def write_folder(folder: Path, astronaut: NDArray[np.uint8]) -> None:
    """A picture with a face and a doubtful region, and one without either."""
    folder.mkdir()
    x1, y1, x2, y2 = SCENE
    for name, pixels in (("face.png", astronaut), ("scene.png", astronaut[y1:y2, x1:x2])):
        cv2.imwrite(str(folder / name), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    lines = ["image,x1,y1,x2,y2,ignore", f"face.png,{','.join(map(str, BOX))},", "face.png,0,0,30,40,1"]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def test_each_origin_is_measured_by_itself(
    astronaut: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "SPEED_SIZES", ((160, 120),))
    write_photographs(tmp_path / "photographs.parquet", astronaut)
    write_folder(tmp_path / "mine", astronaut)
    arguments = ("evaluate", "haar", "--task", "detect", "--data", tmp_path / "photographs.parquet")
    done = mien(*arguments, "--data", tmp_path / "mine", "--out", tmp_path / "scores")
    assert done.code == 0, done.err
    assert "mine: 2 photographs, 1 without a face" in re.sub(r"\s+", " ", done.out)
    report = DetectionReport.model_validate_json((tmp_path / "scores" / "scores.json").read_text())
    marked_ones, mine = report.origins
    assert (marked_ones.origin, mine.origin, mine.images, mine.scenes) == ("photographs.parquet", "mine", 2, 1)
    (haar,) = mine.detectors
    assert haar.variants["plain"].recall == 1
    assert haar.variants["plain"].landmark_error is None, "the folder has none marked"
    assert "30°" not in haar.variants, "nobody knows how the head stands"
    assert haar.speed == ()
    page = (tmp_path / "scores" / "detection.html").read_text()
    assert page.count('<section id="origin-') == 2
    done = mien(*arguments, "--every", 2, "--json")
    assert DetectionReport.model_validate_json(done.out).origins[0].images == 1


def test_a_folder_of_pictures_is_read_and_refused(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", astronaut)
    face, scene = photographs.read_folder(tmp_path / "mine")
    np.testing.assert_array_equal(face.boxes, np.array([BOX], np.float32))
    np.testing.assert_array_equal(face.ignore, [[0, 0, 30, 40]])
    assert np.isnan(face.landmarks).all()
    assert face.landmarks.shape == (1, 5, 2)
    assert (len(scene.boxes), scene.source, scene.pixels().shape) == (0, "mine/scene.png", (252, 300, 3))
    for text, words in (
        ("image,x1,y1,x2\nface.png,1,2,3\n", "lacks y2"),
        ("image,x1,y1,x2,y2\nother.png,1,2,3,4\n", r":2: there is no picture 'other.png'"),
        ("image,x1,y1,x2,y2\nface.png,1,2,3,4\nface.png,5,2,3,4\n", r":3: x1, y1, x2, y2 should be four numbers"),
        ("image,x1,y1,x2,y2\nface.png,1,2,3\n", r":2: x1, y1, x2, y2 should be four numbers"),
    ):
        (tmp_path / "mine" / "boxes.csv").write_text(text)
        with pytest.raises(DataError, match=words):
            photographs.read_folder(tmp_path / "mine")
