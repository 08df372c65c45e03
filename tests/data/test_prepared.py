"""A prepared set comes back from disk exactly as it was, or is refused in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data import prepared
from mien.data.prepared import (
    PER_SHEET,
    PreparedSet,
    few_images_note,
    image_hash,
    load,
    load_counts,
    load_problems,
    manifest_hash,
    save,
)
from mien.errors import DataError
from mien.labels import LABELS, SPLITS

COLUMNS = ("images", "labels", "votes", "splits", "sources", "hashes", "flags")


def make_set(count: int, size: int = 48, seed: int = 0) -> PreparedSet:
    """Noise, with every label, split and kind of vote."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, size, size), np.uint8)
    votes = random.integers(0, 11, (count, 10), np.uint8)
    votes[::3] = 0
    return PreparedSet(
        images,
        random.integers(0, len(LABELS), count),
        votes,
        random.choice(SPLITS, count).astype(np.str_),
        np.array([f"some, folder/{i}.jpg" for i in range(count)], np.str_),
        np.array([image_hash(image) for image in images], np.str_),
        random.choice(["", "leak", "leak blank"], count).astype(np.str_),
    )


def assert_same(one: PreparedSet, other: PreparedSet) -> None:
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), column)
    assert [column.dtype.name for column in (one.images, one.labels, one.votes)] == ["uint8", "int64", "uint8"]


@settings(max_examples=25, deadline=None)
@given(
    count=st.one_of(st.integers(0, 5), st.sampled_from([PER_SHEET - 1, PER_SHEET, PER_SHEET + 1])),
    size=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_any_set_comes_back_exactly(count: int, size: int, seed: int) -> None:
    data = make_set(count, size, seed)
    with TemporaryDirectory() as folder:
        save(Path(folder) / "set", data)
        assert_same(load(Path(folder) / "set"), data)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(blacklist_characters="\0"), max_size=20))
def test_any_file_name_comes_back(name: str) -> None:
    data = make_set(1, 4)
    data.sources[:] = ""
    named = PreparedSet(**{c: getattr(data, c) for c in COLUMNS} | {"sources": np.array([name], np.str_)})
    with TemporaryDirectory() as folder:
        save(Path(folder) / "set", named)
        assert load(Path(folder) / "set").sources.tolist() == [name]


def test_a_file_name_that_is_not_utf8_comes_back(tmp_path: Path) -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    data = make_set(1, 4)
    named = PreparedSet(**{c: getattr(data, c) for c in COLUMNS} | {"sources": np.array([name], np.str_)})
    save(tmp_path / "set", named)
    assert load(tmp_path / "set").sources.tolist() == [name]


def test_what_is_missing_comes_back_a_line_each(tmp_path: Path) -> None:
    problems = ["two\r\nlines.png is empty", "caf\udce9.png is empty"]
    save(tmp_path / "set", make_set(1, 4), problems=problems)
    assert load_problems(tmp_path / "set") == ["two lines.png is empty", problems[1]]
    save(tmp_path / "set", make_set(1, 4))
    assert load_problems(tmp_path / "set") == []


def test_progress_counts_every_image(tmp_path: Path) -> None:
    counts: list[int] = []
    save(tmp_path / "set", make_set(PER_SHEET + 3, 4), counts.append)
    assert counts == [PER_SHEET, 3]


def test_saving_again_replaces_the_older_set_and_leaves_nothing_else(tmp_path: Path) -> None:
    save(tmp_path / "set", make_set(PER_SHEET + 1, 8, seed=1))
    newer = make_set(3, 8, seed=2)
    save(tmp_path / "set", newer)
    assert_same(load(tmp_path / "set"), newer)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["manifest.csv", "set.json", "sheets"]
    assert len(list((tmp_path / "set" / "sheets").iterdir())) == 1


def test_an_empty_folder_is_taken_and_a_foreign_one_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty", make_set(1))
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "holiday.jpg").write_text("x")
    with pytest.raises(DataError, match="photos exists and is not a prepared set"):
        save(foreign, make_set(1))
    assert [path.name for path in foreign.iterdir()] == ["holiday.jpg"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="file exists and is not a prepared set"):
        save(tmp_path / "file", make_set(1))


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot write .*: not a directory"):
        save(tmp_path / "file" / "set", make_set(1))


def test_a_run_killed_half_way_leaves_the_older_set(tmp_path: Path) -> None:
    older = make_set(5, 8)
    save(tmp_path / "set", older)
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_prepared import make_set
from mien.data.prepared import save
save(Path(sys.argv[1]), make_set(600, 8), lambda count: os.kill(os.getpid(), signal.SIGKILL))
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "set"), str(Path(__file__).parent)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert_same(load(tmp_path / "set"), older)
    newer = make_set(7, 8)
    save(tmp_path / "set", newer)
    assert_same(load(tmp_path / "set"), newer)


def test_what_a_killed_run_left_goes_when_it_is_old(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("new", 60)):
        (tmp_path / f".set.{name}.part" / "sheets").mkdir(parents=True)
        for path in (tmp_path / f".set.{name}.part" / "sheets", tmp_path / f".set.{name}.part"):
            os.utime(path, (time.time() - age,) * 2)
    save(tmp_path / "set", make_set(1, 4))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.new.part", "set"]


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_prepared import make_set
from mien.data.prepared import save
renames, rename = [], Path.rename
def counted(self, target):
    renames.append(self)
    if len(renames) == int(sys.argv[3]):
        if sys.argv[4] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise PermissionError(13, "Permission denied")
    return rename(self, target)
Path.rename = counted
save(Path(sys.argv[1]), make_set(9, 8, seed=9))
"""


@pytest.mark.parametrize("ending", ["kill", "fail"])
@pytest.mark.parametrize("at", [1, 2])
def test_nothing_is_lost_when_a_rename_fails_or_the_run_is_killed_before_it(
    tmp_path: Path, at: int, ending: str
) -> None:
    older, folder = make_set(5, 8), tmp_path / "set"
    save(folder, older)
    before = manifest_hash(folder)

    def interrupted() -> int:
        arguments = [sys.executable, "-c", INTERRUPTED, str(folder), str(Path(__file__).parent), str(at), ending]
        return subprocess.run(arguments, check=False, capture_output=True).returncode

    for _ in range(2):  # what the first left behind is not lost by the second
        assert interrupted() == (-signal.SIGKILL if ending == "kill" else 1)
        assert_same(load(folder), older)
        assert manifest_hash(folder) == before
    newer = make_set(7, 8)
    save(folder, newer)
    assert_same(load(folder), newer)
    assert not (tmp_path / ".set.replaced").exists()


def test_an_older_set_is_found_though_the_folder_was_made_anew(tmp_path: Path) -> None:
    older, folder = make_set(5, 8), tmp_path / "set"
    save(folder, older)
    folder.rename(tmp_path / ".set.replaced")
    folder.mkdir()
    assert_same(load(folder), older)
    newer = make_set(3, 8)
    save(folder, newer)
    assert_same(load(folder), newer)


def test_faceless_images_are_those_that_most_votes_or_a_flag_say(tmp_path: Path) -> None:
    data = make_set(4, 8)
    data.votes[:] = 0
    data.votes[0, -1], data.votes[1, -1], data.votes[1, 0] = 6, 5, 5
    data.flags[:] = ["", "", "leak blank", "leak"]
    assert data.faceless().tolist() == [True, False, True, False]


def test_counts_are_read_from_the_manifest_alone(tmp_path: Path) -> None:
    data = make_set(50, 4)
    save(tmp_path / "set", data)
    for sheet in (tmp_path / "set" / "sheets").iterdir():
        sheet.unlink()
    found = load_counts(tmp_path / "set")
    assert sum(sum(row.values()) for row in found.values()) == 50
    assert found["test"]["happy"] == ((data.splits == "test") & (data.labels == LABELS.index("happy"))).sum()


def test_a_label_of_few_images_is_warned_of() -> None:
    assert few_images_note({"happy": 20, "sad": 100, "fear": 0}, "test") == ""
    note = few_images_note({"happy": 19, "sad": 100, "fear": 1}, "test")
    assert note.startswith("few test images (19 of happy, 1 of fear)")


def test_splits_are_chosen_by_any_of_their_names_and_without_flags() -> None:
    data = make_set(200, 4)
    train = data.split("Training")
    assert set(train.splits) == {"train"}
    kept = data.split("train", without_flags=("leak",))
    assert len(kept) == len(train) - train.flagged("leak").sum() < len(train)
    assert not kept.flagged("leak").any()
    assert (data.flagged("blank") == [f == "leak blank" for f in data.flags]).all()


def test_a_split_without_images_is_refused_with_what_there_is() -> None:
    data = make_set(200, 4)
    only_train = data.take(data.splits == "train")
    with pytest.raises(DataError, match=r"no image in split 'test'; the set has train \(\d+\)"):
        only_train.split("test")
    with pytest.raises(DataError, match="did you mean 'train'"):
        data.split("trian")


def test_the_manifest_hash_changes_with_any_pixel(tmp_path: Path) -> None:
    data = make_set(2, 8)
    save(tmp_path / "a", data)
    images = data.images.copy()
    images[1, 2, 3] ^= 1
    hashes = np.array([image_hash(image) for image in images], np.str_)
    changed = {c: getattr(data, c) for c in COLUMNS} | {"images": images, "hashes": hashes}
    save(tmp_path / "b", PreparedSet(**changed))
    save(tmp_path / "c", data)
    assert manifest_hash(tmp_path / "a") == manifest_hash(tmp_path / "c") != manifest_hash(tmp_path / "b")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    save(folder, make_set(PER_SHEET + 10, 8))
    return folder


def test_a_missing_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no set.json.*mien data prepare"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"size": "x"}',
        '{"version": 1, "size": -4, "images": 266}',
        '{"version": 1, "size": 100000, "images": 266}',
    ],
)
def test_a_damaged_set_json_is_refused(saved: Path, content: str) -> None:
    (saved / "set.json").write_text(content)
    with pytest.raises(DataError, match=r"set\.json is damaged .*; prepare the set again"):
        load(saved)


def test_a_set_of_a_later_version_is_refused(saved: Path) -> None:
    about = json.loads((saved / "set.json").read_text())
    (saved / "set.json").write_text(json.dumps(about | {"version": 2}))
    with pytest.raises(DataError, match="of version 2, this mien reads 1"):
        load(saved)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "other"])
def test_a_damaged_sheet_is_refused(saved: Path, damage: str) -> None:
    sheet = saved / "sheets" / "0001.webp"
    content = sheet.read_bytes()
    if damage == "missing":
        sheet.unlink()
    elif damage == "other":
        sheet.write_bytes((saved / "sheets" / "0000.webp").read_bytes())
    else:
        sheet.write_bytes({"empty": b"", "text": b"no picture", "cut": content[: len(content) // 2]}[damage])
    with pytest.raises(DataError, match=r"0001\.webp .*; prepare the set again") as error:
        load(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("id,source", "id,origin", "should have the columns id, source"),
        (",train,", ",trian,", "row [0-9]+ is damaged"),
        (",happy,", ",hapy,", "row [0-9]+ is damaged"),
        ("\r\n3,", "\r\n4,", "row 3 is damaged"),
        ("\r\n3,", "\r\n3\r\n3,", "267 rows for 266 images"),
        (",happy,", ",", "row [0-9]+ is damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(saved: Path, old: str, new: str, sentence: str) -> None:
    path = saved / "manifest.csv"
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new, 1).encode())
    with pytest.raises(DataError, match=sentence):
        load(saved)


def test_a_missing_manifest_is_refused(saved: Path) -> None:
    (saved / "manifest.csv").unlink()
    with pytest.raises(DataError, match=r"manifest\.csv is missing"):
        load(saved)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_damage_to_the_manifest_is_refused_or_harmless(data: st.DataObject) -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "set"
        save(folder, make_set(6, 4))
        content = bytearray((folder / "manifest.csv").read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
        (folder / "manifest.csv").write_bytes(content)
        try:
            loaded = prepared.load(folder)
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert len(loaded) == 6
