from __future__ import annotations

import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mien
from mien.errors import InputError
from mien.labels import LABELS


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.load(detector="haar")


def test_the_astronaut_smiles(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8]) -> None:
    faces = analyzer.analyze(astronaut)
    assert faces.labels() == ["happy"]
    assert faces.model == "base"
    assert faces.probs is not None
    assert faces.probs.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("weights", [None, "yunet_n_dynamic.onnx"])
def test_the_astronaut_smiles_for_every_network(
    weights: str | None, request: pytest.FixtureRequest, astronaut: NDArray[np.uint8]
) -> None:
    file = request.getfixturevalue("shared") / "models" / weights if weights else None
    assert mien.load(detector_weights=file).analyze(astronaut).labels() == ["happy"]


def test_path_and_array_agree(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(astronaut).save(path)
    by_path, by_array = analyzer.analyze(path), analyzer.analyze(astronaut)
    assert by_path.source == str(path)
    assert by_path.probs is not None
    assert by_array.probs is not None
    np.testing.assert_array_equal(by_path.probs, by_array.probs)


def test_wrong_input_is_named(analyzer: mien.Analyzer) -> None:
    with pytest.raises(InputError, match="uint8"):
        analyzer.analyze(np.zeros((10, 10, 3), np.float32))
    with pytest.raises(InputError, match="nowhere"):
        analyzer.analyze("nowhere.jpg")


def test_no_face(analyzer: mien.Analyzer) -> None:
    faces = analyzer.analyze(np.full((64, 64, 3), 90, np.uint8))
    assert len(faces) == 0
    assert faces.probs is not None
    assert faces.probs.shape == (0, len(LABELS))


def test_threads_do_not_disturb_each_other(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8]) -> None:
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    expected = [analyzer.analyze(image).to_dict() for image in (astronaut, mirrored)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(analyzer.analyze, [astronaut, mirrored] * 6))
    assert [r.to_dict() for r in results] == expected * 6


def test_crops_in_the_training_framing(analyzer: mien.Analyzer) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (5, 60, 52), np.uint8)
    probabilities = analyzer.classify(crops)
    assert probabilities.shape == (5, 7)
    assert probabilities.dtype == np.float32


def test_analysis_needs_no_torch() -> None:
    import subprocess

    code = (
        "import sys, numpy, mien; mien.load(detector='haar').analyze(numpy.zeros((50, 50, 3), 'uint8'));"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_list_is_read_together(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(astronaut).save(path)
    found = analyzer.analyze([path, astronaut, path.read_bytes(), Image.open(path), np.zeros((64, 64), np.uint8)])
    assert [faces.labels() for faces in found] == [["happy"]] * 4 + [[]]
    assert [faces.source for faces in found] == [str(path), "", "", "", ""]
    assert analyzer.analyze([]) == []
    with pytest.raises(InputError, match="nowhere"):
        analyzer.analyze([path, tmp_path / "nowhere.png"])


def test_the_picture_is_kept_for_drawing(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8]) -> None:
    faces = analyzer.analyze(astronaut[..., ::-1], color="bgr")
    assert faces.image is not None
    np.testing.assert_array_equal(faces.image, astronaut)
    assert (faces.draw() != astronaut).any()
    assert "data:image/jpeg" in faces._repr_html_()
    again = astronaut.copy()
    kept = analyzer.analyze(again)
    again[:] = 0  # as a camera's loop uses its buffer again
    assert kept.image is not None
    np.testing.assert_array_equal(kept.image, astronaut)
    assert not kept.image.flags.writeable
    assert analyzer.analyze(astronaut, keep_image=False).image is None
    assert analyzer.analyze([astronaut])[0].image is None


def test_small_and_faint_faces_are_left_out(astronaut: NDArray[np.uint8]) -> None:
    (face,) = mien.load().analyze(astronaut)
    side = float(np.sqrt((face.box[2] - face.box[0]) * (face.box[3] - face.box[1])))
    assert len(mien.load(min_size=side - 1).analyze(astronaut)) == 1
    assert len(mien.load(min_size=side + 1).analyze(astronaut)) == 0
    assert len(mien.load(min_score=face.score + 0.01).analyze(astronaut)) == 0
    assert len(mien.load(min_score=0.01).analyze(astronaut)) >= 1
    for options in ({"min_score": 2}, {"min_size": -1}, {"threads": 0}, {"min_score": "a"}, {"threads": 1.5}):
        with pytest.raises(InputError, match="should be"):
            mien.load(**options)


def found(analyzer: mien.Analyzer, image: NDArray[np.uint8]) -> dict[str, Any]:
    return analyzer.analyze(image).to_dict()


@pytest.mark.parametrize("detector", ["mien", "haar"])
def test_workers_of_other_processes_get_it(detector: str, astronaut: NDArray[np.uint8]) -> None:
    """Begun anew, as on macOS and Windows, so that nothing is there but what was pickled."""
    analyzer = mien.load(detector=detector, threads=1, min_score=0.5, min_size=20)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (there,) = pool.starmap(found, [(analyzer, astronaut)])
    assert there == found(analyzer, astronaut)
    assert there["faces"]
    again = pickle.loads(pickle.dumps(analyzer))
    assert (again.min_score, again.min_size) == (0.5, 20)
    assert repr(again) == repr(analyzer)


@pytest.mark.parametrize("threads", [10**6, 10**12])
def test_any_number_of_threads(threads: int) -> None:
    mien.load(detector="haar", threads=threads)


def test_crops_are_checked(analyzer: mien.Analyzer) -> None:
    assert analyzer.classify(np.zeros((0, 48, 48), np.uint8)).shape == (0, 7)
    for crops in (np.zeros((48, 48), np.uint8), np.zeros((2, 48, 48), np.float32), np.zeros((2, 0, 48), np.uint8), "x"):
        with pytest.raises(InputError, match="crops should be"):
            analyzer.classify(crops)  # type: ignore[arg-type]
