"""Pictures become crops: whole where they are crops, by the detector where they are photographs, and never twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.analyzer import load
from mien.data.crop_cache import CropCache
from mien.data.preparation import prepare
from mien.data.readers.folders import read_folder
from mien.data.readers.pictures import Cropper
from mien.errors import DataError
from mien.models import CropGeometry
from mien.vision.crop import crop_faces
from mien.vision.detect import Detector, Haar


def picture(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def haar() -> Detector:
    return Haar()


def test_photographs_are_cropped_to_the_largest_face_as_in_use(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    small = np.asarray(Image.fromarray(astronaut).resize((256, 256)), np.uint8)
    two = np.concatenate([np.pad(small, ((0, 256), (0, 0), (0, 0))), astronaut], 1)
    picture(tmp_path / "happy" / "two.png", two)
    picture(tmp_path / "happy" / "grey.png", np.asarray(Image.fromarray(astronaut).convert("L")))
    rows = read_folder(tmp_path, Cropper(64, detector=haar))
    faces = Haar().detect(two)
    assert len(faces) >= 2
    sides = faces.boxes[:, 2] - faces.boxes[:, 0]
    expected = crop_faces(two, faces.select([sides.argmax()]), 64, CropGeometry())[0]
    assert rows.sources == ["happy/grey.png", "happy/two.png"]
    np.testing.assert_array_equal(rows.images[1], expected)
    assert np.corrcoef(rows.images[0].ravel(), expected.ravel())[0, 1] > 0.9
    assert "taken as photographs (typically" in rows.notes[0]


def test_training_and_use_see_the_same_crop(tmp_path: Path, astronaut: NDArray[np.uint8], tiny_model: Path) -> None:
    picture(tmp_path / "happy" / "a.png", astronaut)
    crops = read_folder(tmp_path, Cropper(48, "photo", haar)).images
    analyzer = load(tiny_model, "haar")
    probabilities = analyzer.analyze(astronaut).probs
    assert probabilities is not None
    np.testing.assert_allclose(analyzer.classify(crops), probabilities, atol=1e-6)


def test_photographs_without_a_face_are_named(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    picture(tmp_path / "sad" / "sky.png", np.full((300, 400, 3), 200, np.uint8))
    with pytest.raises(DataError, match=r"none of its 1 images could be used; first: .*sky\.png: haar finds no face"):
        read_folder(tmp_path, Cropper(48, "photo", haar))
    picture(tmp_path / "happy" / "a.png", astronaut)
    (tmp_path / "happy" / "b.png").write_text("no picture")
    rows = read_folder(tmp_path, Cropper(48, "photo", haar))
    assert rows.sources == ["happy/a.png"]
    assert [Path(problem.split()[0].rstrip(":")).name for problem in rows.problems] == ["b.png", "sky.png"]


@pytest.mark.parametrize(("width", "height", "how"), [(48, 48, "face crops"), (224, 180, "face crops")])
def test_small_and_nearly_square_pictures_are_crops(tmp_path: Path, width: int, height: int, how: str) -> None:
    picture(tmp_path / "sad" / "a.png", noise(0, height, width))
    rows = read_folder(tmp_path, Cropper(48, detector=haar))
    assert rows.notes == [f"{tmp_path}: taken as {how}, being small and about square (typically {width} x {height})"]


@pytest.mark.parametrize("shape", [(225, 225), (100, 140)])
def test_others_are_photographs(tmp_path: Path, shape: tuple[int, int]) -> None:
    picture(tmp_path / "sad" / "a.png", noise(0, *shape))
    with pytest.raises(DataError, match="haar finds no face"):
        read_folder(tmp_path, Cropper(48, detector=haar))
    assert read_folder(tmp_path, Cropper(48, "crop")).images.shape == (1, 48, 48)


def test_a_mixture_of_both_is_refused(tmp_path: Path) -> None:
    for i, side in enumerate((40, 60, 300, 400)):
        picture(tmp_path / "sad" / f"{i}.png", noise(i, side, side))
    with pytest.raises(DataError, match=r"mixes photographs with .* face crops \(2 of 4 pictures .* set faces to crop"):
        read_folder(tmp_path, Cropper(48, detector=haar))


@pytest.mark.parametrize(("many", "odd"), [(40, (300, 280)), (300, (48, 40))])
def test_the_odd_file_of_a_mixture_is_named(tmp_path: Path, many: int, odd: tuple[int, int]) -> None:
    for i in range(8):
        picture(tmp_path / "sad" / f"{i}.png", noise(i, many, many))
    picture(tmp_path / "sad" / "odd.png", noise(9, *odd[::-1]))
    with pytest.raises(DataError, match=rf"odd\.png is {odd[0]} x {odd[1]}, .*0\.png is {many} x {many}; keep"):
        read_folder(tmp_path, Cropper(48, detector=haar))


def test_an_unknown_way_is_refused_with_the_close_match() -> None:
    with pytest.raises(DataError, match=r"'photos' is no value of faces \(did you mean 'photo'\?\)"):
        Cropper(48, "photos")


def test_a_csv_holds_no_photographs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("emotion,pixels\n0,1 2 3 4\n")
    with pytest.raises(DataError, match="holds face crops as pixels"):
        prepare([tmp_path / "a.csv"], cropper=Cropper(48, "photo", haar))


# resuming

PREPARE = """
import sys, time
from pathlib import Path
from mien.data.readers.pictures import Cropper
from mien.data.preparation import prepare
from mien.vision.detect import Haar

def progress(source, done, of):
    print(done, flush=True)
    time.sleep(0.2)

prepare([Path(sys.argv[1])], cropper=Cropper(48, "photo", Haar, Path(sys.argv[2])), progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    photos, finished = tmp_path / "photos", tmp_path / ".set.faces"
    for i in range(8):
        picture(photos / "happy" / f"{i}.png", astronaut[i:])
    started = subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(photos), str(finished)], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout
    for line in started.stdout:
        if int(line) == 3:
            break
    started.send_signal(signal.SIGKILL)
    started.wait()
    kept = CropCache(finished, 48)
    names = [path for path in sorted((photos / "happy").iterdir()) if _remembered(kept, path)]
    assert 3 <= len(names) <= 8
    for path in names:  # a finished photograph is not read again: its bytes are gone, its size and time are the same
        about = path.stat()
        path.write_bytes(bytes(about.st_size))
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    cropper = Cropper(48, "photo", haar, finished)
    made = prepare([photos], cropper=cropper)
    assert made.problems == []
    assert len(made.data) == 8
    cropper.done()
    assert not finished.exists()


def _remembered(kept: CropCache, path: Path) -> bool:
    about = path.stat()
    return kept.get(f"haar|{path.absolute()}|{about.st_size}|{about.st_mtime_ns}") is not None


def test_a_photograph_that_changed_is_searched_again(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    path, finished = tmp_path / "photos" / "happy" / "a.png", tmp_path / "faces"
    picture(path, astronaut)
    first = read_folder(tmp_path / "photos", Cropper(48, "photo", haar, finished)).images
    picture(path, np.asarray(astronaut[:, ::-1]))
    os.utime(path, (time.time(), time.time() + 5))
    second = read_folder(tmp_path / "photos", Cropper(48, "photo", haar, finished)).images
    assert (first != second).any()


def test_that_there_is_no_face_is_remembered_too(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    for name, image in (("a", astronaut), ("b", np.full((300, 300, 3), 90, np.uint8))):
        picture(tmp_path / "photos" / "happy" / f"{name}.png", image)
    problems = [
        read_folder(tmp_path / "photos", Cropper(48, "photo", haar, tmp_path / "faces")).problems for _ in range(2)
    ]
    assert problems[0] == problems[1]
    assert len(problems[0]) == 1


def test_crops_of_another_size_or_a_broken_file_are_not_used(tmp_path: Path) -> None:
    kept = CropCache(tmp_path / "faces", 4)
    kept.put("a", np.ones((4, 4), np.uint8))
    kept.put("b", np.empty((0, 4), np.uint8))
    one, none = CropCache(tmp_path / "faces", 4).get("a"), CropCache(tmp_path / "faces", 4).get("b")
    assert one is not None
    assert (one == 1).all()
    assert none is not None
    assert none.shape == (0, 4)
    assert CropCache(tmp_path / "faces", 5).get("a") is None
    (tmp_path / "broken").write_bytes(b"something else, and more of it" * 100)
    assert CropCache(tmp_path / "broken", 4).get("a") is None
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        CropCache(tmp_path / "folder", 4)
