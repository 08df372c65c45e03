"""Sources become one set: split as they say, by chance or by people, without repeats, and flagged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from layouts import USAGES, csv_row, encoded, fer_rows, noise, picture, write_csv
from likenesses import compressed, natural

from mien.data import prepared
from mien.data.preparation import find_flags, prepare
from mien.data.readers.folders import read_folder
from mien.data.readers.pictures import Cropper
from mien.data.splits import group_split, stratified_split
from mien.errors import DataError
from mien.labels import SPLITS


@pytest.mark.parametrize("count", [10, 11, 100])
def test_a_random_split_is_stratified_and_repeatable(count: int) -> None:
    labels = np.repeat(np.arange(7), count)
    splits = stratified_split(labels, (0.8, 0.1, 0.1), 0)
    for label in range(7):
        counts = [int((splits[labels == label] == name).sum()) for name in SPLITS]
        assert sum(counts) == count
        assert np.abs(np.array(counts) - np.array([0.8, 0.1, 0.1]) * count).max() < 1
    assert (splits == stratified_split(labels, (0.8, 0.1, 0.1), 0)).all()
    assert (splits != stratified_split(labels, (0.8, 0.1, 0.1), 1)).any()
    assert set(stratified_split(labels, (1, 0, 0), 0)) == {"train"}


def test_groups_stay_together_and_labels_are_shared_out() -> None:
    random = np.random.default_rng(0)
    groups = [f"person {k}" for k in random.integers(0, 60, 2000)]
    labels = random.choice(7, 2000, p=[0.3, 0.02, 0.1, 0.3, 0.1, 0.1, 0.08])
    splits = group_split(labels, groups, (0.8, 0.1, 0.1), 0)
    sides = {group: {split for split, g in zip(splits, groups, strict=True) if g == group} for group in set(groups)}
    assert all(len(side) == 1 for side in sides.values())
    for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert abs((splits == name).mean() - share) < 0.03
        for label in range(7):
            assert abs((splits[labels == label] == name).mean() - share) < 0.12
    assert (splits == group_split(labels, groups, (0.8, 0.1, 0.1), 0)).all()
    assert (splits != group_split(labels, groups, (0.8, 0.1, 0.1), 1)).any()


def test_every_split_with_a_share_gets_a_group() -> None:
    labels, groups = np.zeros(6, np.int64), list("aaabbc")
    assert sorted(set(group_split(labels, groups, (0.9, 0.05, 0.05), 0))) == sorted(SPLITS)
    assert set(group_split(labels, groups, (0.5, 0.5, 0), 0)) == {"train", "validation"}
    with pytest.raises(DataError, match=r"1 group \(a\) cannot fill 3 splits"):
        group_split(labels, ["a"] * 6, (0.8, 0.1, 0.1), 0)


def test_a_csv_is_grouped_by_a_column(tmp_path: Path) -> None:
    rows = [f"{csv_row(i % 7, noise(i), USAGES[i % 3])},p{i % 5}" for i in range(40)]
    source = write_csv(tmp_path / "faces.csv", rows, "emotion,pixels,Usage,Person")
    made = prepare([source], group="person", shares=(0.6, 0.2, 0.2))
    people = {split: {i % 5 for i in np.flatnonzero(made.data.splits == split)} for split in SPLITS}
    assert sum(len(group) for group in people.values()) == 5
    assert set().union(*people.values()) == set(range(5))
    assert made.notes[0].endswith("its own split is set aside for one by groups")
    with pytest.raises(DataError, match=r"no column 'persn' \(did you mean 'person'\?\); it has emotion, pixels"):
        prepare([source], group="persn")
    write_csv(source, [*rows, csv_row(0, noise(0), "Training") + ","], "emotion,pixels,Usage,Person")
    with pytest.raises(DataError, match="line 42: person is empty"):
        prepare([source], group="person")


def test_a_parquet_file_is_grouped_by_a_column(tmp_path: Path) -> None:
    import polars as pl

    images = [encoded(noise(i)) for i in range(12)]
    table = pl.DataFrame({"image": images, "label": ["sad", "happy"] * 6, "subject": [i // 2 for i in range(12)]})
    table.write_parquet(tmp_path / "a.parquet")
    splits = prepare([tmp_path / "a.parquet"], group="subject", shares=(0.5, 0.25, 0.25)).data.splits
    assert (splits[::2] == splits[1::2]).all()
    with pytest.raises(DataError, match=r"no column 'sbject' \(did you mean 'subject'"):
        prepare([tmp_path / "a.parquet"], group="sbject")
    table.with_columns(pl.lit(None).alias("subject")).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 0: subject is empty"):
        prepare([tmp_path / "a.parquet"], group="subject")


@pytest.mark.parametrize("pattern", [r"^\w+/(S\d+)_", r"S\d+"])
def test_a_folder_is_grouped_by_what_its_paths_say(tmp_path: Path, pattern: str) -> None:
    for i in range(12):
        picture(tmp_path / ("sad", "happy")[i % 2] / f"S{i // 3}_{i}.png", noise(i))
    data = prepare([tmp_path], group=pattern, shares=(0.5, 0.25, 0.25)).data
    people = [{s.partition("/")[2].partition("_")[0] for s in data.sources[data.splits == name]} for name in SPLITS]
    assert sorted(len(group) for group in people) == [1, 1, 2]
    assert len(set().union(*people)) == 4


def test_a_pattern_that_misses_a_path_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "sad" / "S1_a.png", noise(0))
    picture(tmp_path / "sad" / "b.png", noise(1))
    with pytest.raises(DataError, match=r"'S\\d' finds nothing in 1 of the 2 paths below .*, first in sad/b\.png"):
        read_folder(tmp_path, Cropper(48), group=r"S\d")
    with pytest.raises(DataError, match=r"'\(' is no regular expression: missing \)"):
        read_folder(tmp_path, Cropper(48), group="(")


def test_shares_put_a_random_split_in_place_of_the_official_one(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "fer2013.csv", fer_rows())
    assert (prepare([source]).data.splits == "train").sum() == 7
    made = prepare([source], shares=(2 / 3, 0, 1 / 3))
    assert [int((made.data.splits == name).sum()) for name in SPLITS] == [14, 0, 7]
    assert made.notes[0] == f"{source}: its own split is set aside for a random one"


def test_what_a_network_could_not_learn_is_said(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "test" / "sad" / f"{i}.png", noise(i))
    assert prepare([tmp_path]).notes[-2:] == [
        "every image is sad; training needs two expressions at least",
        "few test images (4 of sad): scores of a label with fewer than 20 say little; mind the intervals",
    ]
    picture(tmp_path / "train" / "happy" / "a.png", noise(9))
    picture(tmp_path / "train" / "fear" / "b.png", noise(8))
    assert prepare([tmp_path]).notes[-5:-1] == [
        "no image of angry, disgust, neutral, surprise",
        "no image of sad in train, though there are some elsewhere",
        "no image in validation, which training needs; add images, or split by shares of your own",
        "no image of fear, happy in test, though there are some elsewhere",
    ]


def test_only_sources_without_a_split_are_split(tmp_path: Path) -> None:
    for i in range(10):
        picture(tmp_path / "flat" / "sad" / f"{i}.png", noise(i))
        picture(tmp_path / "cut" / "test" / "sad" / f"{i}.png", noise(100 + i))
    data = prepare([tmp_path / "flat", tmp_path / "cut"]).data
    assert [int((data.splits[:10] == name).sum()) for name in SPLITS] == [8, 1, 1]
    assert set(data.splits[10:]) == {"test"}
    assert data.sources[0] == "sad/0.png"


def test_flags_by_hand() -> None:
    images = np.stack([noise(0), noise(1), noise(0), noise(2), noise(2), np.full((48, 48), 9, np.uint8), noise(0)])
    splits = np.array(["train", "train", "train", "validation", "test", "train", "test"])
    hashes = np.array([prepared.image_hash(image) for image in images])
    assert find_flags(images, splits, hashes).tolist() == ["leak", "", "leak duplicate", "", "", "blank", ""]


def test_flags_stand_in_their_order_and_nothing_is_dropped(tmp_path: Path) -> None:
    black = np.zeros((48, 48), np.uint8)
    rows = [csv_row(0, black, "Training"), csv_row(1, black, "Training"), csv_row(0, black, "PublicTest")]
    data = prepare([write_csv(tmp_path / "fer2013.csv", rows)]).data
    assert data.flags.tolist() == ["leak blank", "leak duplicate blank", "blank"]
    assert set(data.hashes) == {hashlib.blake2b(bytes(48 * 48), digest_size=8).hexdigest()}


def test_progress_is_told_the_end(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / "sad" / f"{i}.png", noise(i))
    seen: list[tuple[Path, int, int | None]] = []
    prepare([tmp_path], progress=lambda *step: seen.append(step))
    assert seen[-1] == (tmp_path, 3, 3)


def test_dedupe_removes_exact_and_near_copies_from_training_alone(tmp_path: Path) -> None:
    shown = [natural(seed) for seed in range(4)]
    for name, image in {
        "train/sad/0": shown[0], "train/sad/1": shown[1], "train/sad/2": shown[1],
        "train/happy/3": compressed(shown[1]), "train/happy/4": shown[2], "test/happy/5": compressed(shown[2]),
        "test/sad/6": shown[3], "test/sad/7": shown[3],
    }.items():  # fmt: skip
        picture(tmp_path / f"{name}.png", image)
    made = prepare([tmp_path], dedupe=True)
    assert sorted(made.data.sources.tolist()) == [
        "test/happy/5.png", "test/sad/6.png", "test/sad/7.png", "train/happy/3.png", "train/sad/0.png",
    ]  # fmt: skip
    assert made.notes[1] == "removed 3 of 5 training images: 1 also in validation or test, 2 repeating another"
    assert made.data.flags.tolist() == [""] * 5
