"""`mien data prepare` as it is typed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command import mien
from numpy.typing import NDArray
from PIL import Image

from mien.data.prepared import load, load_problems
from mien.labels import SPLITS


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
    assert (done.code, done.err) == (0, "")
    rows = [line.replace("│", " ").split() for line in done.out.splitlines()]
    assert ["happy", "6", "2", "2", "10"] in rows
    assert ["images", "12", "4", "4", "20"] in rows
    assert ["duplicate", "0", "0", "0", "0"] in rows
    assert "20 images" in done.out
    assert "MiB, loads in" in done.out
    data = load(tmp_path / "set")
    assert data.images.shape == (20, 32, 32)
    again = mien("data", "prepare", faces / "happy", "--out", tmp_path / "set")
    assert again.code == 0
    assert len(load(tmp_path / "set")) == 10


def test_unreadable_images_are_named_counted_and_the_rest_is_written(faces: Path, tmp_path: Path) -> None:
    (faces / "sad" / "broken.jpg").write_text("no picture")
    done = mien("data", "prepare", faces, "--out", tmp_path / "set")
    assert done.code == 1
    assert "broken.jpg is not in a supported image format" in done.err
    assert "1 images could not be used and are missing; all others were written" in done.err
    assert "Traceback" not in done.err
    assert len(load(tmp_path / "set")) == 20


def test_many_missing_images_are_listed_in_the_set(faces: Path, tmp_path: Path) -> None:
    for i in range(30):
        (faces / "sad" / f"broken{i:02}.jpg").write_text("no picture")
    done = mien("data", "prepare", faces, "--out", tmp_path / "set")
    assert done.code == 1
    assert done.err.count("is not in a supported image format") == 20
    assert f"30 images could not be used and are missing; all are in {tmp_path / 'set' / 'problems.txt'};" in done.err
    assert len(load_problems(tmp_path / "set")) == 30
    assert "broken29.jpg is not in a supported image format" in load_problems(tmp_path / "set")[-1]
    audited = mien("data", "audit", tmp_path / "set")
    assert (audited.code, audited.err) == (0, "")
    assert "could not be used" in audited.out


def test_photographs_are_searched_by_the_detector_named(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    for label, image in (("happy", astronaut), ("sad", np.full((400, 300, 3), 120, np.uint8))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "photos" / label / "a.png")
    done = mien("data", "prepare", tmp_path / "photos", "--out", tmp_path / "set", "--detector", "haar")
    assert done.code == 1
    assert "a.png: haar finds no face in it" in done.err
    assert "taken as photographs (typically 406 x 456), cropped to their largest face" in done.out
    assert "every image is happy; training needs two expressions at least" in done.out
    assert len(load(tmp_path / "set")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "set"]
    wrong = mien("data", "prepare", tmp_path / "photos", "--out", tmp_path / "set", "--faces", "photos")
    assert wrong.code == 1
    assert "did you mean 'photo'" in wrong.err


def test_dedupe_says_how_many_went(faces: Path, tmp_path: Path) -> None:
    for i in range(10):
        (faces / "happy" / f"copy{i}.png").write_bytes((faces / "happy" / f"{i}.png").read_bytes())
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--split", "0.5,0.5,0", "--dedupe")
    assert (done.code, done.err) == (0, "")
    data = load(tmp_path / "set")
    training = data.splits == "train"
    assert len(set(data.hashes[training])) == training.sum()
    assert not set(data.hashes[training]) & set(data.hashes[~training])
    removed = re.search(r"removed (\d+) of 15 training images: (\d+) also .*, (\d+) repeating another", done.out)
    assert removed
    total, leaks, doubles = map(int, removed.groups())
    assert total == leaks + doubles == 30 - len(data)


def test_people_stay_in_one_split(faces: Path, tmp_path: Path) -> None:
    for path in faces.rglob("*.png"):
        path.rename(path.with_name(f"S{int(path.stem) % 5}_{path.stem}.png"))
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--group", r"S\d", "--split", "0.6,0.2,0.2")
    assert (done.code, done.err) == (0, "")
    data = load(tmp_path / "set")
    people = [{source.split("/")[1][:2] for source in data.sources[data.splits == split]} for split in SPLITS]
    assert [len(group) for group in people] == [3, 1, 1]
    assert "split by 5 groups" in done.out


def test_a_foreign_folder_is_refused_and_kept(faces: Path) -> None:
    done = mien("data", "prepare", faces, "--out", faces)
    assert done.code == 1
    assert "exists and is not a prepared set" in done.err
    assert "Traceback" not in done.err
    assert len(list((faces / "happy").iterdir())) == 10


def test_a_short_row_is_named_and_what_was_there_is_kept(faces: Path, tmp_path: Path) -> None:
    assert mien("data", "prepare", faces, "--out", tmp_path / "set").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n0,1 2 3 4,Training\n3,1 2 3 4\n")
    done = mien("data", "prepare", table, "--out", tmp_path / "set")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {table} line 3: 2 fields where the header has 3\n"
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("shares", ["0.8,0.2", "a,b,c", "0.8,0.3,0.1", "1.2,-0.1,-0.1", "nan,0,0"])
def test_shares_that_are_none_are_refused(faces: Path, tmp_path: Path, shares: str) -> None:
    done = mien("data", "prepare", faces, "--out", tmp_path / "set", "--split", shares)
    assert done.code == (2 if shares == "a,b,c" else 1)
    assert "split" in done.err and "Traceback" not in done.err
    assert not (tmp_path / "set").exists()
