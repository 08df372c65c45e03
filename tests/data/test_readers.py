"""Every layout in which data sets are passed around becomes the same prepared columns, or is refused clearly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from layouts import USAGES, csv_row, encoded, fer_rows, noise, picture, write_csv
from numpy.typing import NDArray
from PIL import Image

from mien.data.preparation import prepare
from mien.data.readers import read_source
from mien.data.readers.fer_csv import read_csv, read_votes
from mien.data.readers.folders import read_folder
from mien.data.readers.parquet import read_parquet
from mien.data.readers.pictures import Cropper
from mien.errors import DataError
from mien.labels import FER2013_ORDER, LABELS

# fer2013.csv


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.csv.gz"])
def test_fer2013_keeps_its_rows_labels_and_splits(tmp_path: Path, name: str) -> None:
    rows = read_source(write_csv(tmp_path / name, fer_rows()), Cropper(48))
    assert (rows.images == np.stack([noise(i) for i in range(21)])).all()
    assert [LABELS[k] for k in rows.labels] == [FER2013_ORDER[i % 7] for i in range(21)]
    assert rows.splits == [("train", "validation", "test")[i % 3] for i in range(21)]
    assert rows.sources[:2] == ["fer2013.csv:2", "fer2013.csv:3"]
    assert rows.problems == []


def test_columns_may_stand_in_any_order_with_blanks_quotes_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "icml.csv"
    pixels = " ".join(map(str, noise(0).ravel()))
    path.write_bytes(f'\ufeffemotion, Usage, pixels\r\n3,PublicTest,"{pixels}"\r\n\r\n'.encode())
    rows = read_csv(path, 48)
    assert (rows.images[0] == noise(0)).all()
    assert (LABELS[rows.labels[0]], rows.splits) == ("happy", ["validation"])


def test_larger_crops_are_averaged_down(tmp_path: Path) -> None:
    large = np.kron(noise(0, 24, 24), np.ones((2, 2), np.uint8))
    rows = read_csv(write_csv(tmp_path / "big.csv", [csv_row(0, large, "Training")]), 24)
    assert (rows.images[0] == noise(0, 24, 24)).all()


GOOD = csv_row(0, noise(0), "Training")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("0,1 2 3,Training", r"line 3: pixels should be 2304 .* got 3 numbers"),
        (csv_row(0, noise(1, 47, 48), "Training"), r"line 3: pixels should be 2304 .* got 2256 numbers"),
        (GOOD.replace(" ", " 256 ", 1), r"line 3: pixels should be 2304 .* got something else"),
        (GOOD.replace(" ", " -1 ", 1), r"line 3: .* got something else"),
        (GOOD.replace(" ", " 18446744073709551617 ", 1), r"line 3: .* got something else"),
        (GOOD.replace(" ", " 1.5 ", 1), r"line 3: "),
        (GOOD.replace(" ", " x ", 1), r"line 3: "),
        ("0,,Training", r"line 3: .* got something else"),
        ("7" + GOOD[1:], r"line 3: emotion is '7', not a number from 0 to 6"),
        ("happy" + GOOD[1:], r"line 3: emotion is 'happy'"),
        (GOOD + "Set", r"line 3: Usage is 'TrainingSet', not one of Training"),
        (GOOD.rpartition(",")[0], r"line 3: 2 fields where the header has 3"),
        (GOOD + ",more", r"line 3: 4 fields where the header has 3"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(tmp_path: Path, bad: str, sentence: str) -> None:
    path = write_csv(tmp_path / "fer2013.csv", [GOOD, bad, GOOD])
    with pytest.raises(DataError, match=r"fer2013\.csv " + sentence) as error:
        read_csv(path, 48)
    assert "\n" not in str(error.value)


def test_files_that_are_no_fer2013_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"should have the columns emotion, pixels and Usage, not 'a,b'"):
        read_csv(write_csv(tmp_path / "a.csv", ["1,2"], "a,b"), 48)
    with pytest.raises(DataError, match="there is no image in it"):
        read_csv(write_csv(tmp_path / "b.csv", []), 48)
    with pytest.raises(DataError, match=r"is no data set; name a fer2013\.csv"):
        read_source(write_csv(tmp_path / "c.txt", []), Cropper(48))
    with pytest.raises(DataError, match="does not exist"):
        read_source(tmp_path / "nowhere.csv", Cropper(48))
    (tmp_path / "d.csv.gz").write_text("not gzipped")
    with pytest.raises(DataError, match="cannot be read or is cut short"):
        read_csv(tmp_path / "d.csv.gz", 48)
    cut = write_csv(tmp_path / "e.csv.gz", fer_rows())
    cut.write_bytes(cut.read_bytes()[:-500])
    with pytest.raises(DataError, match="cannot be read or is cut short"):
        read_csv(cut, 48)


# FER+

VOTE_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def write_votes(path: Path, count: int = 21, header: str = VOTE_HEADER) -> Path:
    rows = [f"{USAGES[i % 3]},fer{i:07}.png,{i % 11},0,0,0,0,0,0,0,0,{10 - i % 11}" for i in range(count)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_votes_belong_to_rows(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "fer2013.csv", fer_rows())
    data = prepare([source], votes=write_votes(tmp_path / "fer2013new.csv")).data
    assert data.votes.dtype == np.uint8
    assert data.votes[:, 0].tolist() == [i % 11 for i in range(21)]
    assert data.votes[:, 9].tolist() == [10 - i % 11 for i in range(21)]
    assert not prepare([source]).data.votes.any()


def test_votes_of_other_rows_are_refused(tmp_path: Path) -> None:
    rows = read_csv(write_csv(tmp_path / "fer2013.csv", fer_rows()), 48)
    with pytest.raises(DataError, match="has 20 rows for 21 images"):
        read_votes(write_votes(tmp_path / "a.csv", 20), rows)
    with pytest.raises(DataError, match="should have the columns Usage, Image name, neutral"):
        read_votes(write_votes(tmp_path / "b.csv", header=VOTE_HEADER.replace("anger", "angst")), rows)
    shifted = write_votes(tmp_path / "c.csv")
    lines = shifted.read_text().splitlines()
    shifted.write_text("\n".join([lines[0], *lines[2:], lines[1]]))
    with pytest.raises(DataError, match="line 2: Usage is 'PublicTest' where the image is in train"):
        read_votes(shifted, rows)
    broken = write_votes(tmp_path / "d.csv")
    broken.write_text(broken.read_text().replace("fer0000004.png,4,", "fer0000004.png,four,"))
    with pytest.raises(DataError, match="line 6: should have 10 counts"):
        read_votes(broken, rows)
    with pytest.raises(DataError, match=r"cannot be read as CSV"):
        read_votes(tmp_path / "missing.csv", rows)


def test_votes_need_the_one_csv_they_belong_to(tmp_path: Path) -> None:
    picture(tmp_path / "faces" / "happy" / "a.png", noise(0))
    with pytest.raises(DataError, match=r"rows of one fer2013\.csv, the sources have 0"):
        prepare([tmp_path / "faces"], votes=write_votes(tmp_path / "votes.csv"))


# folders


def test_the_kaggle_tree(tmp_path: Path) -> None:
    for i, (split, label) in enumerate([("train", "angry"), ("train", "sad"), ("validation", "angry")]):
        picture(tmp_path / "images" / split / label / f"{i}.png", noise(i))
    rows = read_source(tmp_path, Cropper(48))
    assert rows.sources == ["images/train/angry/0.png", "images/train/sad/1.png", "images/validation/angry/2.png"]
    assert rows.splits == ["train", "train", "validation"]
    assert [LABELS[k] for k in rows.labels] == ["angry", "sad", "angry"]
    assert (rows.images == np.stack([noise(i) for i in range(3)])).all()


def test_usage_in_the_file_name_goes_before_the_split_folder(tmp_path: Path) -> None:
    for name in ("train/happy/Training_1.png", "test/happy/PublicTest_2.png", "test/happy/PrivateTest_3.png"):
        picture(tmp_path / name, noise(0))
    rows = read_folder(tmp_path, Cropper(48))
    assert dict(zip(rows.sources, rows.splits, strict=True)) == {
        "train/happy/Training_1.png": "train",
        "test/happy/PublicTest_2.png": "validation",
        "test/happy/PrivateTest_3.png": "test",
    }


def test_colour_of_any_size_becomes_grey_and_square(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    picture(tmp_path / "Happiness" / "eileen.png", astronaut[50:250, 170:330])
    rows = read_folder(tmp_path, Cropper(64))
    assert rows.images.shape == (1, 64, 64)
    grey = cv2.cvtColor(astronaut[50:250, 170:330], cv2.COLOR_RGB2GRAY)
    assert (rows.images[0] == cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA)).all()
    assert (rows.splits, LABELS[rows.labels[0]]) == ([""], "happy")


def test_jpeg_is_read_as_pillow_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "fear" / "a.jpg"
    picture(path, np.asarray(cv2.GaussianBlur(noise(3), (5, 5), 2), np.uint8))
    assert (read_folder(tmp_path, Cropper(48)).images[0] == np.array(Image.open(path))).all()


def test_the_folder_itself_may_be_a_label_or_a_split(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "happy" / "a.png", noise(0))
    inner = read_folder(tmp_path / "train" / "happy", Cropper(48))
    assert (inner.sources, LABELS[inner.labels[0]]) == (["a.png"], "happy")
    assert read_folder(tmp_path / "train", Cropper(48)).splits == ["train"]


def test_the_split_may_stand_inside_the_label(tmp_path: Path) -> None:
    picture(tmp_path / "happy" / "test" / "person 1" / "a.png", noise(0))
    rows = read_folder(tmp_path, Cropper(48))
    assert (rows.splits, LABELS[rows.labels[0]]) == (["test"], "happy")


def test_an_unknown_folder_is_refused_with_the_close_match(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "happy" / "a.png", noise(0))
    picture(tmp_path / "train" / "hapyp" / "b.png", noise(0))
    with pytest.raises(DataError, match=r"hapyp holds images, but 'hapyp' is not an expression .*'happy'"):
        read_folder(tmp_path, Cropper(48))


def test_images_beside_the_splits_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "happy" / "a.png", noise(0))
    picture(tmp_path / "sad" / "b.png", noise(0))
    with pytest.raises(DataError, match=r"sad/b\.png is in no split while other images"):
        read_folder(tmp_path, Cropper(48))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="without images"):
        read_folder(tmp_path, Cropper(48))


def test_unreadable_images_are_listed_and_the_others_read(tmp_path: Path) -> None:
    picture(tmp_path / "sad" / "good.png", noise(0))
    (tmp_path / "sad" / "empty.jpg").touch()
    (tmp_path / "sad" / "text.jpg").write_text("not a picture")
    whole = picture(tmp_path / "sad" / "zcut.png", noise(1))
    cut = (tmp_path / "sad" / "zcut.png").read_bytes()
    (tmp_path / "sad" / "zcut.png").write_bytes(cut[: len(cut) // 2])
    rows = read_folder(tmp_path, Cropper(48))
    assert whole.shape == (48, 48)
    assert rows.sources == ["sad/good.png"]
    assert (rows.images[0] == noise(0)).all()
    assert [Path(problem.split()[0]).name for problem in rows.problems] == ["empty.jpg", "text.jpg", "zcut.png"]
    (tmp_path / "sad" / "good.png").unlink()
    with pytest.raises(DataError, match=r"none of its 3 images could be used; first: .*empty\.jpg"):
        read_folder(tmp_path, Cropper(48))


# Parquet


def write_parquet(path: Path, labels: list[Any], struct: bool = True, names: list[str] | None = None) -> Path:
    import polars as pl

    pictures = [encoded(noise(i)) for i in range(len(labels))]
    images = [{"bytes": p, "path": f"{i}.png"} for i, p in enumerate(pictures)] if struct else pictures
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    pl.DataFrame({"image": images, "label": labels}).write_parquet(path, metadata=metadata)
    return path


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_with_names(tmp_path: Path, struct: bool) -> None:
    rows = read_source(write_parquet(tmp_path / "faces.parquet", ["happy", "Anger", "sad"], struct), Cropper(48))
    assert (rows.images == np.stack([noise(i) for i in range(3)])).all()
    assert [LABELS[k] for k in rows.labels] == ["happy", "angry", "sad"]
    assert rows.sources == ["faces.parquet:0", "faces.parquet:1", "faces.parquet:2"]
    assert rows.splits == ["", "", ""]


def test_parquet_with_numbers_needs_their_names(tmp_path: Path) -> None:
    named = write_parquet(tmp_path / "test-00000-of-00001.parquet", [1, 0], names=["sad", "happy"])
    rows = read_parquet(named, Cropper(48))
    assert [LABELS[k] for k in rows.labels] == ["happy", "sad"]
    assert rows.splits == ["test", "test"]
    with pytest.raises(DataError, match="labels are numbers and the file does not say what they mean"):
        read_parquet(write_parquet(tmp_path / "bare.parquet", [0, 1]), Cropper(48))
    with pytest.raises(DataError, match="row 1: '2' is not an expression"):
        read_parquet(write_parquet(tmp_path / "more.parquet", [0, 2], names=["sad", "happy"]), Cropper(48))


def test_a_missing_label_is_not_taken_for_the_last_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: '-1' is not an expression"):
        read_parquet(write_parquet(tmp_path / "a.parquet", [0, -1], names=["sad", "happy"]), Cropper(48))


def test_parquet_that_is_something_else_is_refused(tmp_path: Path) -> None:
    import polars as pl

    (tmp_path / "text.parquet").write_text("x")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_parquet(tmp_path / "text.parquet", Cropper(48))
    pl.DataFrame({"picture": [b""], "label": ["sad"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="should have the columns image and label, it has picture, label"):
        read_parquet(tmp_path / "a.parquet", Cropper(48))
    pl.DataFrame({"image": ["a.png"], "label": ["sad"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="image should hold encoded pictures as bytes"):
        read_parquet(tmp_path / "b.parquet", Cropper(48))
    with pytest.raises(DataError, match=r"row 0: 'hapy' is not an expression \(did you mean 'happy'"):
        read_parquet(write_parquet(tmp_path / "c.parquet", ["hapy"]), Cropper(48))


def test_unreadable_parquet_images_are_listed(tmp_path: Path) -> None:
    import polars as pl

    images = [encoded(noise(0)), b"no picture", None]
    pl.DataFrame({"image": images, "label": ["sad"] * 3}).write_parquet(tmp_path / "a.parquet")
    rows = read_parquet(tmp_path / "a.parquet", Cropper(48))
    assert rows.sources == ["a.parquet:0"]
    assert [problem.split()[0] for problem in rows.problems] == ["a.parquet:1", "a.parquet:2"]


def test_fer2013_itself(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "fer2013" / "fer2013.csv.gz"
    if not source.exists():
        pytest.skip("needs FER2013")
    with gzip.open(source) as file:
        head = b"".join(file.readline() for _ in range(101))
    (tmp_path / "fer2013.csv").write_bytes(head)
    rows = read_csv(tmp_path / "fer2013.csv", 48)
    assert rows.images.shape == (100, 48, 48)
    assert rows.images[0, 0, :3].tolist() == [70, 80, 82]
    assert [LABELS[k] for k in rows.labels[:3]] == ["angry", "angry", "fear"]
    assert rows.splits == ["train"] * 100
