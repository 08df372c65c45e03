"""`mien data audit` finds what was put into a set: copies, leaks, contradictions, blanks and what is no face."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command import Done, mien
from likenesses import compressed, moved, natural
from numpy.typing import NDArray

from mien.data import prepared
from mien.data.auditing import page as audit_page
from mien.data.auditing.duplicates import mirror
from mien.data.auditing.findings import audit, find_faceless
from mien.data.prepared import PreparedSet, image_hash
from mien.labels import FERPLUS_COLUMNS, LABELS
from mien.models import CropGeometry
from mien.vision.crop import crop_faces
from mien.vision.detect import Haar

A, B, C, D, E = (natural(seed) for seed in range(5))
GREY = np.full((48, 48), 77, np.uint8)
ROWS = [
    (A, "angry", "train"),  # 0
    (A, "sad", "train"),  # 1: copy of 0 under another name
    (compressed(A), "angry", "validation"),  # 2: nearly 0 and 1
    (B, "happy", "train"),  # 3
    (B, "happy", "test"),  # 4: copy of 3
    (moved(B, 1, 1), "fear", "test"),  # 5: nearly 3 and 4, under another name
    (C, "happy", "validation"),  # 6
    (compressed(C), "happy", "test"),  # 7: nearly 6
    (D, "neutral", "train"),  # 8
    (compressed(D), "neutral", "train"),  # 9: nearly 8
    (E, "surprise", "train"),  # 10
    (GREY, "surprise", "test"),  # 11
    (mirror(E), "sad", "validation"),  # 12: mirrored 10, under another name
]


@pytest.fixture(scope="module")
def data() -> PreparedSet:
    images = np.stack([row[0] for row in ROWS])
    votes = np.zeros((len(ROWS), len(FERPLUS_COLUMNS)), np.uint8)
    votes[:, 0] = 10
    votes[11] = votes[10] = 0
    votes[11, FERPLUS_COLUMNS.index("no face")] = 6
    votes[11, 0] = 4
    votes[10, [0, FERPLUS_COLUMNS.index("no face")]] = 5
    return PreparedSet(
        images,
        np.array([LABELS.index(row[1]) for row in ROWS], np.int64),
        votes,
        np.array([row[2] for row in ROWS], np.str_),
        np.array([f"<b>made</b>/{i}.png" for i in range(len(ROWS))], np.str_),
        np.array([image_hash(image) for image in images], np.str_),
        np.array([""] * len(ROWS), np.str_),
    )


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    image = astronaut()
    return np.asarray(crop_faces(image, Haar().detect(image).select([0]), 48, CropGeometry())[0])


def test_everything_that_was_put_in_is_found(data: PreparedSet) -> None:
    found = audit(data, unusable=["x.png is empty"])
    assert sorted(group.tolist() for group in found.copies) == [[0, 1], [3, 4]]
    assert found.near.tolist() == [[0, 2], [3, 5], [6, 7], [8, 9], [10, 12]]
    assert found.near[found.mirrored].tolist() == [[10, 12]]
    assert [group.tolist() for group in found.conflicts] == [[0, 1]]
    assert found.near[found.near_conflicts].tolist() == [[3, 5], [10, 12]]
    leaks = {(leak.earlier, leak.later): leak for leak in found.leaks}
    assert leaks["train", "validation"].pairs.tolist() == [[0, 2], [10, 12]]
    assert leaks["train", "validation"].exact.tolist() == [False, False]
    assert leaks["train", "validation"].mirrored.tolist() == [False, True]
    assert leaks["train", "test"].pairs.tolist() == [[3, 4], [3, 5]]
    assert leaks["train", "test"].exact.tolist() == [True, False]
    assert not leaks["train", "test"].mirrored.any()
    assert leaks["validation", "test"].pairs.tolist() == [[6, 7]]
    assert found.blank.tolist() == [11]
    assert found.voted_faceless is not None
    assert found.voted_faceless.tolist() == [11], "half of the votes is not most of them"
    assert found.faceless is None
    assert found.removable.tolist() == [0, 1, 3, 9, 10]
    assert found.balance[:, LABELS.index("happy")].tolist() == [1, 1, 2]
    assert found.balance.sum() == len(data)
    json.dumps(found.to_dict())


def test_a_clean_set_is_clean() -> None:
    images = np.stack([natural(seed) for seed in range(20, 40)])
    text = np.array([""] * 20, np.str_)
    splits = np.array(["train"] * 14 + ["test"] * 6, np.str_)
    hashes = np.array([image_hash(image) for image in images], np.str_)
    data = PreparedSet(
        images, np.arange(20) % 7, np.zeros((20, len(FERPLUS_COLUMNS)), np.uint8), splits, text, hashes, text
    )
    found = audit(data)
    assert not found.copies
    assert not len(found.near) + sum(len(leak.pairs) for leak in found.leaks) + len(found.blank) + len(found.removable)
    assert found.voted_faceless is None
    page = audit_page.render(found, "clean")
    assert "Nothing found: validation images also in train, test images also in train" in page
    assert "<img" not in page


def test_an_empty_set_has_no_faults(data: PreparedSet) -> None:
    found = audit(data.take(np.zeros(len(data), bool)), detector=Haar())
    assert found.balance.sum() == 0
    assert "0 images" in audit_page.render(found, "empty")


def test_what_is_no_face_is_found_at_any_crop_size(face: NDArray[np.uint8]) -> None:
    images = np.stack([face, natural(1), face[:, ::-1], GREY])
    assert find_faceless(images, Haar()).tolist() == [False, True, False, True]


# the page


def test_the_page_shows_pairs_side_by_side(data: PreparedSet) -> None:
    page = audit_page.render(audit(data, unusable=["x.png is empty"]), "my set")
    section = page[page.index("<h2>Near copies with different labels") :]
    card = re.findall(r"<figure.*?</figure>", section, re.S)[:2]
    for figure, row, label, split in zip(card, (3, 5), ("happy", "fear"), ("train", "test"), strict=True):
        assert 'src="data:image/png;base64,' in figure
        assert f">{label}</b>" in figure
        assert f"{split} {row}<" in figure
    mirrored = page[page.index("<h2>Mirrored copies") :]
    assert "train 10<" in mirrored and "validation 12<" in mirrored and "1.00, mirrored<" in mirrored
    assert "0 of them are in train pixel by pixel, 1 mirrored, the others nearly" in page
    assert "x.png is empty" in page
    assert "<b>made" not in page, "what comes from files is escaped"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page), "nothing is loaded from elsewhere"


def test_a_long_finding_is_shown_in_part_and_counted(data: PreparedSet) -> None:
    many = audit(data.take(np.repeat(np.arange(len(data)), 50)))
    page = audit_page.render(many, "many")
    section = page[page.index("<h2>Test images also in train</h2>") :]
    assert f"{audit_page.LIMIT} of 100 images are shown" in section
    assert "and 92 more" in page
    blank = page[page.index("<h2>Blank</h2>") :]
    assert blank[: blank.index("</section>")].count("<figure") == audit_page.LIMIT


def test_large_crops_do_not_make_a_large_page(data: PreparedSet) -> None:
    large = np.repeat(np.repeat(data.images, 4, 1), 4, 2)
    page = audit_page.render(audit(replace(data, images=large)), "large")
    assert len(page) < 1_000_000


# the command


run = partial(mien, "data", "audit")


def lines(done: Done) -> list[str]:
    """What was printed, without the frames of tables."""
    return [" ".join(line.replace("│", " ").split()) for line in done.out.splitlines()]


def test_the_command_prints_and_writes(data: PreparedSet, tmp_path: Path) -> None:
    prepared.save(tmp_path / "set", data, problems=["x.png is empty", "y.png is empty"])
    done = run(tmp_path / "set", "--html", tmp_path / "out" / "a.html", "--json", tmp_path / "a.json")
    assert done.code == 0, done.err
    rows = lines(done)
    assert "test images also in train 2 1 exact, 1 near, 0 mirrored" in rows
    assert "validation images also in train 2 0 exact, 1 near, 1 mirrored" in rows
    assert "near copies 4 pairs" in rows
    assert "mirrored copies 1 pairs" in rows
    assert "could not be used 2 images" in rows
    assert "removed by prepare --dedupe 5 training images" in rows
    assert "disgust none none none" in rows
    assert (tmp_path / "out" / "a.html").read_text("utf-8").startswith("<!doctype html>")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["manifest_sha256"] == prepared.manifest_hash(tmp_path / "set")
    assert told["near_copies"][1]["rows"] == [3, 5]
    assert told["near_copies"][1]["labels_differ"] is True
    assert [pair["mirrored"] for pair in told["near_copies"]] == [False] * 4 + [True]
    assert told["unusable"] == ["x.png is empty", "y.png is empty"]
    assert "no_face" in told


def test_faces_are_looked_for_when_asked(data: PreparedSet, tmp_path: Path) -> None:
    prepared.save(tmp_path / "set", data)
    done = run(tmp_path / "set", "--faces", "--detector", "haar")
    assert done.code == 0, done.err
    assert f"no face by haar {find_faceless(data.images, Haar()).sum()} images" in lines(done)
    assert run(tmp_path / "set", "--detector", "haar").code == 1


def test_a_page_that_cannot_be_written_is_said(data: PreparedSet, tmp_path: Path) -> None:
    prepared.save(tmp_path / "set", data)
    (tmp_path / "file").touch()
    done = run(tmp_path / "set", "--html", tmp_path / "file" / "a.html")
    assert done.code == 1
    assert "cannot write" in done.errors[0]
