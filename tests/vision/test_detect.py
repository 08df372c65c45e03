from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien import models
from mien.errors import ModelError
from mien.vision.detect import Detector, Haar, YuNet, blend, load_detector

FACE = (224, 120)
"""Where the astronaut's face is in scikit-image's picture."""


@pytest.fixture(params=["mien", "yunet"])
def network(request: pytest.FixtureRequest) -> Detector:
    if request.param == "mien":
        return load_detector("mien", threads=1)
    return YuNet(request.getfixturevalue("shared") / "models" / "yunet_n_dynamic.onnx", threads=1)


def check_astronaut(detector: Detector, image: NDArray[np.uint8], scale: float = 1.0) -> None:
    faces = detector.detect(image)
    assert len(faces) == 1
    x1, y1, x2, y2 = faces.boxes[0]
    assert x1 < FACE[0] * scale < x2
    assert y1 < FACE[1] * scale < y2
    right_eye, left_eye, nose, right_mouth, left_mouth = faces.landmarks[0] / scale
    assert abs(right_eye - [203, 104]).max() < 8
    assert abs(left_eye - [247, 104]).max() < 8
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert faces.detector == detector.name
    assert (faces.width, faces.height) == (image.shape[1], image.shape[0])


def test_haar_finds_the_face(astronaut: NDArray[np.uint8]) -> None:
    check_astronaut(Haar(), astronaut)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.6])
def test_a_network_finds_the_face_at_any_size(network: Detector, astronaut: NDArray[np.uint8], scale: float) -> None:
    image = np.asarray(cv2.resize(astronaut, None, fx=scale, fy=scale), np.uint8)
    check_astronaut(network, image, scale)


@pytest.mark.parametrize("margin", [-6, 0, 25])
def test_a_soft_face_that_fills_the_picture_is_found(astronaut: NDArray[np.uint8], margin: int) -> None:
    """Enlarged nine times: the face is as high as the picture, or higher by 12 of its 100 pixels."""
    left, top, right, bottom = 175 - margin, 60 - margin, 275 + margin, 175 + margin
    image = cv2.resize(astronaut[top:bottom, left:right], None, fx=9, fy=9, interpolation=cv2.INTER_LINEAR)
    faces = load_detector("mien", threads=1).detect(np.asarray(image, np.uint8))
    assert len(faces) == 1
    eyes = (np.array([[203, 104], [247, 104]]) - (left, top)) * 9
    assert np.abs(faces.landmarks[0, :2] - eyes).max() < 9 * 8


@pytest.mark.parametrize("degrees", [15, -30, 45])
def test_a_network_finds_a_tilted_face(network: Detector, astronaut: NDArray[np.uint8], degrees: float) -> None:
    turn = cv2.getRotationMatrix2D(FACE, degrees, 1)
    image = np.asarray(cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    faces = network.detect(image)
    eyes = np.array([[203, 104], [247, 104]]) @ turn[:, :2].T + turn[:, 2]
    assert np.abs(faces.landmarks[0, :2] - eyes).max() < (
        10 if network.name == "mien" else 16
    )  # YuNet's drift with tilt


def test_the_detector_in_the_package_is_small() -> None:
    model = models.load_detector()
    assert len(model.weights) <= 500_000
    assert model.card.licence == "MIT"


@pytest.mark.parametrize("degrees", [25, -25])
def test_haar_finds_a_tilted_face_and_its_landmarks(astronaut: NDArray[np.uint8], degrees: float) -> None:
    turn = cv2.getRotationMatrix2D(FACE, degrees, 1)
    image = np.asarray(cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    faces = Haar().detect(image)
    assert len(faces) >= 1
    eyes = np.array([[203, 104], [247, 104]]) @ turn[:, :2].T + turn[:, 2]
    assert np.abs(faces.landmarks[0, :2] - eyes).max() < 12


def test_no_face_in_a_blank_picture(network: Detector) -> None:
    for detector in (network, Haar()):
        assert len(detector.detect(np.full((100, 130, 3), 127, np.uint8))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (2000, 3), (33, 31)])
def test_odd_sizes_are_taken(network: Detector, shape: tuple[int, int]) -> None:
    for detector in (network, Haar()):
        assert detector.detect(np.zeros((*shape, 3), np.uint8)).height == shape[0]


def test_threads_share_a_detector(network: Detector, astronaut: NDArray[np.uint8]) -> None:
    for detector in (network, Haar()):
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(detector.detect, [astronaut] * 8))
        assert all(np.array_equal(r.boxes, results[0].boxes) for r in results)


def test_wrong_names_and_files_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'yunet'"):
        load_detector("yunett")
    with pytest.raises(ModelError, match="takes no weights"):
        load_detector("haar", tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="cannot read detector weights"):
        load_detector("yunet", tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="is no YuNet"):
        load_detector("yunet", tiny_model)
    for folder in ("", ".", tmp_path):
        with pytest.raises(ModelError, match="is a folder; name a detector's file"):
            load_detector(None, folder)
    with pytest.raises(ModelError, match=r"card of .* is broken"):
        load_detector(None, tiny_model)
    with pytest.raises(ModelError, match=r"a model is NAME\.onnx and NAME\.json"):
        load_detector("mien", tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="no ONNX network"):
        load_detector(None, tmp_path / "text.onnx")


def test_a_file_of_fixed_size_is_refused(shared: Path) -> None:
    with pytest.raises(ModelError, match="fixed size"):
        load_detector("yunet", shared / "models" / "face_detection_yunet_2023mar.onnx")


def test_a_large_soft_face_beside_the_middle_has_no_ghosts(astronaut: NDArray[np.uint8]) -> None:
    """Enlarged from a head of some 40 pixels: ears and shoulders look like faces at that size."""
    small = cv2.resize(astronaut[0:256, 100:356], (96, 96), interpolation=cv2.INTER_AREA)
    image = np.asarray(cv2.resize(small, (768, 768), interpolation=cv2.INTER_CUBIC), np.uint8)
    faces = load_detector("mien", threads=1).detect(image)
    assert len(faces) == 1
    eyes = (np.array([[203, 104], [247, 104]]) - (100, 0)) * 3
    assert np.abs(faces.landmarks[0, :2] - eyes).max() < 3 * 8


def test_a_part_of_a_larger_face_is_no_face() -> None:
    """What lies in a better face goes, what lies in a fainter one or only beside stays."""
    face, eye, beside = (0.0, 0.0, 100.0, 120.0), (20.0, 30.0, 55.0, 70.0), (80.0, 30.0, 115.0, 70.0)
    boxes = np.repeat(np.array([face, eye, beside], np.float32), 8, 0)
    for scores, kept in (([0.9, 0.8, 0.7], [face, beside]), ([0.7, 0.8, 0.6], [eye, face, beside])):
        sure = np.repeat(np.array(scores, np.float32), 8)
        found, _, _ = blend(boxes, sure, np.zeros((24, 5, 2), np.float32), 0.5, 0.4)
        np.testing.assert_allclose(found, kept)
