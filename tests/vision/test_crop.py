from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.faces import Faces
from mien.models import CropGeometry
from mien.vision.crop import crop_faces, crop_transforms, mean_landmarks

GEOMETRY = CropGeometry()
TEMPLATE = np.array(GEOMETRY.landmarks)


def one_face(landmarks: NDArray[np.floating]) -> Faces:
    return Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), landmarks[None].astype(np.float32))


def placed(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float32]:
    """The template's landmarks enlarged to `scale` pixels, turned, and moved to x, y."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points: NDArray[np.float32] = ((TEMPLATE - 0.5) * scale @ turn.T + [x, y]).astype(np.float32)
    return points


@given(
    st.floats(10, 2000),
    st.floats(-180, 180),
    st.floats(-100, 3000),
    st.floats(-100, 3000),
    st.sampled_from([32, 48, 96]),
)
def test_any_similar_face_lands_on_the_template(scale: float, degrees: float, x: float, y: float, size: int) -> None:
    landmarks = placed(scale, degrees, x, y)
    transform = crop_transforms(landmarks[None], size, GEOMETRY)[0]
    there = landmarks @ transform[:, :2].T + transform[:, 2]
    np.testing.assert_allclose(there, TEMPLATE * size, atol=0.05 + 1e-3 * 3000 / scale)


def test_a_face_seen_from_the_side_keeps_its_size() -> None:
    landmarks = placed(200, 0, 300, 300)
    narrow = landmarks.copy()
    narrow[:, 0] = 300 + (landmarks[:, 0] - 300) * 0.6
    scale = [np.hypot(*t[:, 0]) for t in crop_transforms(np.stack([landmarks, narrow]), 48, GEOMETRY)]
    assert scale[1] < scale[0] * 1.35


@pytest.mark.parametrize("degrees", [0.0, 20.0, -45.0, 180.0])
@pytest.mark.parametrize("side", [48, 190, 700])
def test_turned_and_enlarged_face_gives_the_same_crop(degrees: float, side: int) -> None:
    """A pattern laid into a picture at any size and turn comes back as it was, within resampling."""
    rng = np.random.default_rng(0)
    pattern = cv2.resize(rng.integers(0, 255, (8, 8), np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((23.5, 23.5), -degrees, side / 48)
    turn[:, 2] += np.array([600 - 23.5] * 2)
    picture = cv2.warpAffine(pattern, turn, (1200, 1200), flags=cv2.INTER_CUBIC)
    landmarks = (TEMPLATE * 48 - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    faces = one_face(landmarks)
    crop = crop_faces(np.repeat(picture[..., None], 3, 2), faces, 48, GEOMETRY)[0]
    inside = np.abs(crop.astype(float) - pattern)[4:-4, 4:-4]
    assert inside.mean() < 4


def test_past_the_border_the_picture_goes_on() -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    faces = one_face(placed(100, 0, 0, 0))
    assert (crop_faces(picture, faces, 48, GEOMETRY) == 200).all()


def test_no_face_no_crop() -> None:
    assert crop_faces(np.zeros((10, 10, 3), np.uint8), Faces.none(), 48, GEOMETRY).shape == (0, 48, 48)


def test_a_fine_stripe_pattern_does_not_alias() -> None:
    stripes = np.zeros((960, 960, 3), np.uint8)
    stripes[:, ::2] = 255
    faces = one_face(placed(900, 0, 480, 480))
    crop = crop_faces(stripes, faces, 48, GEOMETRY).astype(float)
    assert np.abs(crop - 127.5).max() < 20


def test_mean_landmarks_scale_with_the_box() -> None:
    boxes = np.array([[0, 0, 100, 100], [50, 20, 250, 220]], np.float32)
    landmarks = mean_landmarks(boxes)
    np.testing.assert_allclose(landmarks[1], landmarks[0] * 2 + [50, 20], atol=1e-4)
    assert landmarks[0, 0, 0] < landmarks[0, 1, 0], "the person's right eye is on the left of the picture"
