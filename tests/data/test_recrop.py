"""`mien data recrop`: a face is found again in a larger picture and cropped as in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import mien
from numpy.typing import NDArray
from skimage.data import astronaut
from training_sets import saved, striped

from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.data.recrop import recrop
from mien.models import CropGeometry
from mien.vision.crop import crop_faces
from mien.vision.detect import load_detector

SIZE = 64


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    image = astronaut()
    crops = crop_faces(image, load_detector("haar").detect(image).select([0]), SIZE, CropGeometry())
    return np.asarray(crops[0])


@pytest.fixture(scope="module")
def faces(face: NDArray[np.uint8]) -> PreparedSet:
    """Twelve times one face, then two images of noise."""
    base = striped(7)
    noise = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), np.uint8)
    return replace(base, images=np.concatenate([np.repeat(face[None], 12, 0), noise]))


def test_faces_come_back_upright_and_in_place(faces: PreparedSet, face: NDArray[np.uint8]) -> None:
    again, found = recrop(faces, load_detector("haar"), seed=1)
    assert found[:12].sum() >= 8  # all, with today's Haar
    assert not found[12:].any()
    np.testing.assert_array_equal(again.images[~found], faces.images[~found])
    inner = np.s_[12:-12, 12:-12]
    alike = [np.corrcoef(image[inner].ravel(), face[inner].ravel())[0, 1] for image in again.images[found]]
    assert np.median(alike) > 0.55  # Haar knows the tilt in coarse steps only
    assert len(np.unique(again.hashes[found])) == found.sum(), "every picture is another"
    np.testing.assert_array_equal(again.labels, faces.labels)


def test_the_seed_decides(faces: PreparedSet) -> None:
    haar = load_detector("haar")
    one, other, third = (recrop(faces.take(np.arange(3)), haar, seed=seed)[0].images for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert (one != third).any()


def test_the_command_writes_a_set_of_the_same_rows(faces: PreparedSet, tmp_path: Path) -> None:
    hashes = np.array([prepared.image_hash(image) for image in faces.images])
    folder = saved(tmp_path / "set", replace(faces, hashes=hashes))
    done = mien("data", "recrop", folder, "--out", tmp_path / "again", "--detector", "haar")
    assert done.code == 0, done.err
    assert "found again" in done.out
    np.testing.assert_array_equal(prepared.load(tmp_path / "again").sources, faces.sources)
