"""Tiny sets in the layouts of AffectNet, RAF-DB, ExpW, CK+, JAFFE and SFEW, read as the real ones would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import mien as command
from numpy.typing import NDArray

import mien.data
from mien.data.prepared import PreparedSet, load
from mien.data.readers.official import AFFECTNET, CK, EXPW, JAFFE, RAF_DB
from mien.errors import DataError
from mien.labels import LABELS


def draw(path: Path, shade: int, side: int = 60) -> None:
    """A grey square with a dark corner, of which no two shades are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((side, side), shade, np.uint8)
    image[: side // 3, : side // 3] = 0
    assert cv2.imwrite(str(path), image)


def words(*lines: object) -> str:
    return "".join(f"{line}\n" for line in lines)


def prepared(source: Path, target: Path, **options: object) -> tuple[PreparedSet, list[str]]:
    result = mien.data.prepare(source, target, **options)  # type: ignore[arg-type]
    return load(target), result.notes


def labels_of(data: PreparedSet) -> list[str]:
    return [data.label_names[k] for k in data.labels]


def test_affectnet_of_2021(tmp_path: Path) -> None:
    for split, numbers in (("train_set", range(8)), ("val_set", (6, 0))):
        for i in numbers:
            draw(tmp_path / "affect" / split / "images" / f"{i}.jpg", 40 + 20 * i)
            notes = tmp_path / "affect" / split / "annotations"
            notes.mkdir(exist_ok=True)
            for kind, value in (("exp", str(i)), ("val", str(i / 10)), ("aro", str(-i / 10)), ("lnd", "0")):
                np.save(notes / f"{i}_{kind}.npy", np.array(value))
    (tmp_path / "affect" / "train_set" / "annotations" / "2_val.npy").unlink()
    data, notes_said = prepared(tmp_path / "affect", tmp_path / "set")
    assert sorted(labels_of(data)) == sorted([*AFFECTNET[:7], "angry", "neutral"])
    assert any("left out 1 images" in note and "1 of contempt" in note for note in notes_said)
    assert dict(zip(*np.unique(data.splits, return_counts=True), strict=True)) == {"train": 7, "validation": 2}
    assert data.affect is not None
    for source, (valence, arousal) in zip(data.sources, data.affect, strict=True):
        number = int(Path(source).stem)
        assert arousal == pytest.approx(-number / 10)
        assert np.isnan(valence) if (number, "train" in source) == (2, True) else valence == pytest.approx(number / 10)
    assert data.take(np.arange(2)).affect is not None
    eight, _ = prepared(tmp_path / "affect", tmp_path / "eight", labels=[*LABELS, "contempt"])
    assert labels_of(eight).count("contempt") == 1


def test_affectnet_of_2017(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    """The face is where the table says, though a larger one is in the picture."""
    folder = tmp_path / "affect"
    small = cv2.resize(astronaut[30:230, 130:330], (110, 110), interpolation=cv2.INTER_AREA)
    both = np.full((400, 640, 3), 90, np.uint8)
    both[100:400, 0:300], both[20:130, 500:610] = astronaut[0:300, 90:390], small
    for name in ("1/a.jpg", "2/b.jpg"):
        (folder / "Manually_Annotated_Images" / name).parent.mkdir(parents=True)
        assert cv2.imwrite(str(folder / "Manually_Annotated_Images" / name), both[..., ::-1])
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    (folder / "training.csv").write_text(words(header, "1/a.jpg,525,35,50,65,1;2,1,0.8,0.1"))
    (folder / "validation.csv").write_text(
        words(header, "2/b.jpg,97,162,81,110,1;2,6,-2,-2", "2/b.jpg,0,0,9,9,,9,-2,-2")
    )
    data, notes = prepared(folder, tmp_path / "set")
    assert sorted(zip(data.splits.tolist(), labels_of(data), strict=True)) == [
        ("train", "happy"),
        ("validation", "angry"),
    ]
    assert any("1 of uncertain" in note for note in notes)
    assert data.affect is not None
    assert data.affect[0] == pytest.approx((0.8, 0.1))
    assert np.isnan(data.affect[1]).all()
    apart = np.abs(data.images[0].astype(int) - data.images[1]).mean()
    assert apart < 25, "both faces fill their crops alike, the small one too"
    assert all(image.std() > 25 for image in data.images)


def test_raf_db(tmp_path: Path) -> None:
    root = tmp_path / "RAF" / "basic"
    lines = [f"train_{i:05d}.jpg {i}" for i in range(1, 8)] + ["test_0001.jpg 4"]
    for i, line in enumerate(lines):
        draw(root / "Image" / "aligned" / f"{Path(line.split()[0]).stem}_aligned.jpg", 60 + 20 * i)
    (root / "EmoLabel").mkdir()
    (root / "EmoLabel" / "list_patition_label.txt").write_text(words(*lines))
    data, _ = prepared(tmp_path / "RAF", tmp_path / "set")
    by_source = dict(zip(data.sources.tolist(), zip(labels_of(data), data.splits.tolist(), strict=True), strict=True))
    for i, label in enumerate(RAF_DB, 1):
        assert by_source[f"basic/Image/aligned/train_{i:05d}_aligned.jpg"] == (label, "train")
    assert by_source["basic/Image/aligned/test_0001_aligned.jpg"] == ("happy", "test")
    (root / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 8\n")
    with pytest.raises(DataError, match="looks like RAF-DB, but cannot be read: 7 is no number of an expression"):
        mien.data.prepare(tmp_path / "RAF", tmp_path / "other")


def test_expw(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    folder = tmp_path / "expw"
    (folder / "origin").mkdir(parents=True)
    assert cv2.imwrite(str(folder / "origin" / "happy_woman_1.jpg"), astronaut[..., ::-1])
    lines = [f"happy_woman_1.jpg 0 {62 + i} 187 268 172 30.5 {i}" for i in range(7)]
    (folder / "label.lst").write_text(words(*lines))
    data, notes = prepared(folder, tmp_path / "set")
    assert sorted(labels_of(data)) == sorted(EXPW)
    assert any("cropped to the face in each given box" in note for note in notes)
    assert all(image.std() > 25 for image in data.images)
    (folder / "label.lst").write_text("happy_woman_1.jpg 0 600 187 268 700 30.5 3\n")
    with pytest.raises(DataError, match="lies outside the picture"):
        mien.data.prepare(folder, tmp_path / "outside")


def test_ck_plus(tmp_path: Path) -> None:
    """The last three frames show the expression, the first is neutral; one sequence is not labelled; nobody is in two
    splits."""
    folder = tmp_path / "CK+"
    for person in range(10):
        for sequence, number in (("001", 1 + person % 7), ("002", 7)):
            name = f"S{person:03d}_{sequence}"
            for frame in range(1, 7):
                draw(
                    folder / "cohn-kanade-images" / f"S{person:03d}" / sequence / f"{name}_{frame:08d}.png",
                    20 * person + 8 * frame + int(sequence),
                )
            if (person, sequence) != (0, "002"):
                place = folder / "Emotion" / f"S{person:03d}" / sequence
                place.mkdir(parents=True)
                (place / f"{name}_00000006_emotion.txt").write_text(f"   {number:.7e}\n")
    data, notes = prepared(folder, tmp_path / "set", faces="crop")
    assert len(data) == 10 * 4 - 2 * 3 + 9 * 4, "contempt, of two, is left out, their neutral frame is not"
    assert "6 of contempt" in " ".join(notes)
    assert "split by 10 people, nobody of whom is in two splits" in " ".join(notes)
    for source, label in zip(data.sources, labels_of(data), strict=True):
        person, frame = int(Path(source).name[1:4]), int(Path(source).stem[-8:])
        assert frame in (1, 4, 5, 6)
        wanted = "surprise" if "_002_" in source else CK[1 + person % 7]
        assert label == ("neutral" if frame == 1 else wanted)
    splits: dict[str, set[str]] = {source.split("/")[1]: set() for source in data.sources}
    for source, split in zip(data.sources, data.splits, strict=True):
        splits[source.split("/")[1]].add(split)
    assert all(len(found) == 1 for found in splits.values())


def test_jaffe(tmp_path: Path) -> None:
    for i, (person, code) in enumerate((person, code) for person in ("KA", "KL", "YM") for code in JAFFE):
        draw(tmp_path / "jaffe" / f"{person}.{code}{1 + i % 3}.{i + 1}.tiff", 40 + 8 * i, 256)
    data, notes = prepared(tmp_path, tmp_path / "set", faces="crop", split=(0.6, 0.2, 0.2))
    assert labels_of(data).count("sad") == 3
    assert "split by 3 people" in " ".join(notes)
    people = [{Path(s).name[:2] for s in data.sources[data.splits == split]} for split in np.unique(data.splits)]
    assert sum(map(len, people)) == 3, "nobody is in two splits"


def test_sfew(tmp_path: Path) -> None:
    for split in ("Train", "Val"):
        for i, label in enumerate(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")):
            draw(tmp_path / "sfew" / split / label / f"film_{i}.png", 50, 300)
            draw(tmp_path / "sfew" / f"{split}_Aligned_Faces" / label / f"film_{i}.png", 60 + 20 * i + len(split), 143)
    draw(tmp_path / "sfew" / "Test_Aligned_Faces" / "film_9.png", 10, 143)
    data, _ = prepared(tmp_path / "sfew", tmp_path / "set")
    assert sorted(labels_of(data)) == sorted(2 * LABELS)
    assert dict(zip(*np.unique(data.splits, return_counts=True), strict=True)) == {"train": 7, "validation": 7}


def test_the_command_says_which_layout_it_is(tmp_path: Path) -> None:
    for i, code in enumerate(JAFFE):
        draw(tmp_path / "jaffe" / f"KA.{code}1.{i + 1}.tiff", 40 + 20 * i, 100)
    done = command("data", "prepare", tmp_path / "jaffe", "--out", tmp_path / "set", "--split", "0,0,1")
    assert done.code == 0, done.err
    assert "read as JAFFE" in done.err + done.out


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "label.lst").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "label.lst").write_text("too few words\n"),
    ],
)
def test_a_malformed_list_is_one_sentence(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    (tmp_path / "expw" / "origin").mkdir(parents=True)
    spoil(tmp_path / "expw")
    done = command("data", "prepare", tmp_path / "expw", "--out", tmp_path / "set")
    assert done.code == 1
    assert done.err.count("\n") == 1, done.err
    assert "looks like ExpW, but cannot be read" in done.err
