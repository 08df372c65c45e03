"""`mien data prepare` as it is typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.data.prepared import load, load_problems
from mien.labels import SPLITS


def mien(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mien.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Ten noisy images of happy, ten of sad."""
    random = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for i in range(10):
            image = random.integers(0, 256, (30, 30), np.uint8)
            Image.fromarray(image).save(tmp_path / "faces" / label / f"{i}.png")
    return tmp_path / "faces"


def test_a_folder_becomes_a_set_with_a_table_of_its_counts(faces: Path, tmp_path: Path) -> None:
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--size", "32", "--split", "0.6,0.2,0.2")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines()]
    assert ["happy", "6", "2", "2", "10"] in rows
    assert ["images", "12", "4", "4", "20"] in rows
    assert ["duplicate", "0", "0", "0", "0"] in rows
    assert "20 images" in done.stdout
    assert "MiB, loads in" in done.stdout
    data = load(tmp_path / "set")
    assert data.images.shape == (20, 32, 32)
    again = mien("data", "prepare", faces / "happy", "--out", tmp_path / "set")
    assert again.returncode == 0
    assert len(load(tmp_path / "set")) == 10


def test_unreadable_images_are_named_counted_and_the_rest_is_written(faces: Path, tmp_path: Path) -> None:
    (faces / "sad" / "broken.jpg").write_text("no picture")
    done = mien("data", "prepare", faces, "--out", tmp_path / "set")
    assert done.returncode == 1
    assert "broken.jpg is no image" in done.stderr
    assert "1 images could not be used and are missing; all others were written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(load(tmp_path / "set")) == 20


def test_many_missing_images_are_listed_in_the_set(faces: Path, tmp_path: Path) -> None:
    for i in range(30):
        (faces / "sad" / f"broken{i:02}.jpg").write_text("no picture")
    done = mien("data", "prepare", faces, "--out", tmp_path / "set")
    assert done.returncode == 1
    assert done.stderr.count("is no image") == 20
    assert (
        f"30 images could not be used and are missing; all are in {tmp_path / 'set' / 'problems.txt'};" in done.stderr
    )
    assert len(load_problems(tmp_path / "set")) == 30
    assert "broken29.jpg is no image" in load_problems(tmp_path / "set")[-1]
    audited = mien("data", "audit", tmp_path / "set")
    assert (audited.returncode, audited.stderr) == (0, "")
    assert "could not be used" in audited.stdout


def test_photographs_are_searched_by_the_detector_named(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    for label, image in (("happy", astronaut), ("sad", np.full((400, 300, 3), 120, np.uint8))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "photos" / label / "a.png")
    done = mien("data", "prepare", tmp_path / "photos", "--out", tmp_path / "set", "--detector", "haar")
    assert done.returncode == 1
    assert "a.png: haar finds no face in it" in done.stderr
    assert "taken as photographs (typically 406 x 456), cropped to their largest face" in done.stdout
    assert "every image is happy; training needs two expressions at least" in done.stdout
    assert len(load(tmp_path / "set")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "set"]
    wrong = mien("data", "prepare", tmp_path / "photos", "--out", tmp_path / "set", "--faces", "photos")
    assert wrong.returncode == 1
    assert "did you mean 'photo'" in wrong.stderr


def test_dedupe_says_how_many_went(faces: Path, tmp_path: Path) -> None:
    for i in range(10):
        (faces / "happy" / f"copy{i}.png").write_bytes((faces / "happy" / f"{i}.png").read_bytes())
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--split", "0.5,0.5,0", "--dedupe")
    assert (done.returncode, done.stderr) == (0, "")
    data = load(tmp_path / "set")
    training = data.splits == "train"
    assert len(set(data.hashes[training])) == training.sum()
    assert not set(data.hashes[training]) & set(data.hashes[~training])
    removed = re.search(r"removed (\d+) of 15 training images: (\d+) also .*, (\d+) repeating another", done.stdout)
    assert removed
    total, leaks, doubles = map(int, removed.groups())
    assert total == leaks + doubles == 30 - len(data)


def test_people_stay_in_one_split(faces: Path, tmp_path: Path) -> None:
    for path in faces.rglob("*.png"):
        path.rename(path.with_name(f"S{int(path.stem) % 5}_{path.stem}.png"))
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--group", r"S\d", "--split", "0.6,0.2,0.2")
    assert (done.returncode, done.stderr) == (0, "")
    data = load(tmp_path / "set")
    people = [{source.split("/")[1][:2] for source in data.sources[data.splits == split]} for split in SPLITS]
    assert [len(group) for group in people] == [3, 1, 1]
    assert "split by 5 groups" in done.stdout


def test_a_foreign_folder_is_refused_and_kept(faces: Path) -> None:
    done = mien("data", "prepare", faces, "--out", faces)
    assert done.returncode == 1
    assert "exists and is not a prepared set" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((faces / "happy").iterdir())) == 10


@pytest.mark.parametrize("shares", ["0.8,0.2", "a,b,c", "0.8,0.3,0.1", "1.2,-0.1,-0.1", "nan,0,0"])
def test_shares_that_are_none_are_refused(faces: Path, tmp_path: Path, shares: str) -> None:
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--split", shares)
    assert done.returncode == 2
    assert "--split" in done.stderr
    assert not (tmp_path / "set").exists()
