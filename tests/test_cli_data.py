"""`mien data prepare` as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.prepared import load


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
    assert "1 images could not be read and are missing; all others were written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(load(tmp_path / "set")) == 20


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
