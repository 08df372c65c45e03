"""The detector's training: scenes, which cells answer for a face, precision, and a run from photographs to a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command import mien
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import BOX, LANDMARKS, SCENE, marked
from numpy.typing import NDArray

from mien import load
from mien.data import photographs
from mien.data.photographs import Photograph
from mien.detect import MienDetector
from mien.errors import DataError, ModelError
from mien.models import load_detector
from mien.train.detector.assign import Cells, Truth, assign, costs
from mien.train.detector.export import prove_parity, to_onnx
from mien.train.detector.net import DetectorNet
from mien.train.detector.precision import Result, average_precision, score_at_false_alarms
from mien.train.detector.scenes import Studio
from mien.train.fit import fit
from mien.train.recipe import DetectorRecipe, SceneTable
from mien.train.run_folder import RunFolder

PLAIN = {
    "tiles": [1, 1, 1], "paste": 0, "frames": 0, "mistakes": 0, "soft": 0, "occlude": 0, "grey": 0, "dark": 0,
    "blur": 0, "noise": 0, "jpeg": 0,
}  # fmt: skip
DOTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])
MIRRORED = [1, 0, 2, 4, 3]


def small_recipe(**optim: object) -> DetectorRecipe:
    return DetectorRecipe.model_validate(
        {
            "task": "detect", "name": "small", "seed": 2,
            "model": {"widths": [8, 8, 12, 12, 16], "depths": [1, 1, 1, 1], "neck": 12},
            "augment": PLAIN | {"sizes": [96], "tiles": [1], "tilt": 0, "smallest": 30},
            "optim": {
                "epochs": 6, "batch_size": 8, "optimizer": "adamw", "lr": 0.01, "warmup_epochs": 1,
                "average_decay": 0.9, **optim,
            },
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    """A Parquet file with 60 portraits and 20 scenes, told apart by the quality of their compression."""
    import polars as pl

    x1, y1, x2, y2 = SCENE
    rows = []
    for quality in range(40, 100):
        for pixels, face in ((astronaut, True), (astronaut[y1:y2, x1:x2], False)):
            if face or quality % 3 == 0:
                code = cv2.imencode(
                    ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality)
                )
                rows.append(
                    {
                        "image": code[1].tobytes(),
                        "faces": [list(BOX)] * face,
                        "landmarks": [[list(point) for point in LANDMARKS]] * face,
                        "ignore": [],
                    }
                )
    path = tmp_path_factory.mktemp("album") / "photos.parquet"
    boxes = pl.List(pl.List(pl.Float32))
    columns = [("image", pl.Binary()), ("faces", boxes), ("landmarks", pl.List(boxes)), ("ignore", boxes)]
    pl.DataFrame(rows, schema=columns).write_parquet(path)
    return path


# Scenes


def dotted() -> Photograph:
    """A face that is an oval with a dot of its own colour at each landmark."""
    image = np.full((300, 260, 3), 40, np.uint8)
    box, points = np.array([60, 70, 200, 250]), np.array([[95, 130], [165, 130], [130, 170], [105, 205], [155, 205]])
    cv2.ellipse(image, (130, 160), (70, 90), 0, 0, 360, (128, 128, 128), -1)
    for point, colour in zip(points, DOTS, strict=True):
        cv2.circle(image, point.tolist(), 11, colour.tolist(), -1)
    return marked(image, [box], [points])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_landmarks_and_boxes_stay_on_their_faces(seed: int) -> None:
    table = SceneTable.model_validate(PLAIN | {"smallest": 60, "tiles": [1]})
    studio = Studio([dotted()], np.empty((0, 48, 48), np.uint8), table)
    scene = studio.compose(0, 320, np.random.default_rng(seed))
    for box, points in zip(scene.boxes, scene.landmarks, strict=True):
        seen = scene.image[tuple(points.clip(0, 319).astype(int).T[::-1])].astype(int)
        # Light changes colours, but not which channels are bright.
        bright = seen > (seen.min(1, keepdims=True) + seen.max(1, keepdims=True)) / 2
        inside = ((points > 2) & (points < 318)).all(1)
        for order in (DOTS, DOTS[MIRRORED]):
            if (bright == (order > 128))[inside].all():
                break
        else:
            raise AssertionError(f"no landmark's own colour at {points}")
        center = (box[:2] + box[2:]) / 2
        assert np.abs(points.mean(0) - center).max() < 0.25 * np.max(box[2:] - box[:2])
        assert ((points > box[:2]) & (points < box[2:])).all()


def test_a_scene_is_its_seed(astronaut: NDArray[np.uint8]) -> None:
    pictures = [marked(astronaut, [BOX], [LANDMARKS]), marked(astronaut[:300, 260:])]
    crops = np.full((2, 48, 48), 200, np.uint8)
    studio = Studio(pictures, crops, SceneTable(paste=1, occlude=1))
    one, same, other = (studio.compose(0, 160, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image, other.image)


def test_pasted_faces_have_boxes_but_no_landmarks() -> None:
    empty = marked(np.full((200, 200, 3), 90, np.uint8))
    studio = Studio([empty], np.full((3, 48, 48), 255, np.uint8), SceneTable.model_validate(PLAIN | {"paste": 1}))
    scenes = [studio.compose(0, 256, np.random.default_rng(seed)) for seed in range(8)]
    assert all(len(scene.boxes) for scene in scenes)
    for scene in scenes:
        assert np.isnan(scene.landmarks).all()
        for box in scene.boxes:
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            corner = scene.image[0, 0].astype(int)
            assert scene.image[y, x].astype(int).sum() > corner.sum(), "the face is brighter than the wall"


def test_a_crop_fills_a_tile_and_its_face_lies_in_the_middle() -> None:
    empty, crop = marked(np.full((200, 200, 3), 90, np.uint8)), np.full((1, 48, 48), 200, np.uint8)
    studio = Studio([empty], crop, SceneTable.model_validate(PLAIN | {"tiles": [1], "frames": 1}))
    for seed in range(8):
        scene = studio.compose(0, 128, np.random.default_rng(seed))
        assert np.ptp(scene.image, axis=(0, 1)).max() <= 1, "nothing else is seen"
        ((x1, y1, x2, y2),) = scene.boxes
        assert x1 < 64 < x2 and y1 < 64 < y2
        assert y2 - y1 > 0.8 * 128
        assert np.isnan(scene.landmarks).all()


def test_mistakes_are_shown_near_the_middle_and_are_no_faces() -> None:
    pixels = np.full((300, 300, 3), 40, np.uint8)
    pixels[200:240, 30:70] = (0, 255, 0)
    mistake = (0, np.array([30, 200, 70, 240], np.float32))
    table = SceneTable.model_validate(PLAIN | {"tiles": [1], "mistakes": 1, "close": 1})
    studio = Studio([marked(pixels)], np.empty((0, 48, 48), np.uint8), table, [mistake])
    for seed in range(8):
        scene = studio.compose(0, 128, np.random.default_rng(seed))
        green = (scene.image[..., 1] > scene.image[..., 0].astype(int) + 50).mean()
        assert green > 0.04, "a third of the side or more, half of it in the picture"
        assert not len(scene.boxes)


def test_turned_faces_are_drawn_more_often(astronaut: NDArray[np.uint8]) -> None:
    """Two faces side by side: the right one is in the dark, and its nose stands far aside."""
    right = np.array([512, 0])
    aside = np.array(LANDMARKS) + right
    aside[2] += (30, 0)
    boxes = [BOX, np.array(BOX) + np.tile(right, 2)]
    pair = marked(np.concatenate([astronaut, astronaut // 4], 1), boxes, [LANDMARKS, aside])

    def dark_scenes(turned: float) -> int:
        table = SceneTable.model_validate(PLAIN | {"tiles": [1], "close": 1, "turned": turned})
        studio = Studio([pair], np.empty((0, 48, 48), np.uint8), table)
        scenes = (studio.compose(0, 96, np.random.default_rng(seed)) for seed in range(60))
        return sum(bool(scene.image.mean() < 60) for scene in scenes)

    assert dark_scenes(50) > dark_scenes(1) + 10


def test_what_is_cut_or_tiny_is_ignored(astronaut: NDArray[np.uint8]) -> None:
    table = SceneTable.model_validate(PLAIN | {"smallest": 4, "tiles": [0, 0, 1]})
    studio = Studio([marked(astronaut, [BOX], [LANDMARKS])], np.empty((0, 48, 48), np.uint8), table)
    scenes = [studio.compose(0, 200, np.random.default_rng(seed)) for seed in range(30)]
    sides = np.concatenate([np.sqrt(np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)) for scene in scenes])
    assert sides.min() >= 4 * 0.85
    assert sum(len(scene.ignore) for scene in scenes) > 0


# Cells


def truth(boxes: list[list[float]], ignore: list[list[float]] | None = None) -> Truth:
    array = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    middle = ((array[:, :2] + array[:, 2:]) / 2).unsqueeze(1)
    points = middle + torch.tensor([[-5.0, -5], [5, -5], [0, 0], [-4, 5], [4, 5]])
    region = torch.tensor(ignore or [], dtype=torch.float32).view(-1, 4)
    nobody = torch.zeros(len(array), dtype=torch.int64)
    return Truth(nobody, array, points, torch.zeros(len(region), dtype=torch.int64), region)


def perfect(cells: Cells, wanted: Truth) -> torch.Tensor:
    """Outputs by which every cell answers rightly for the face nearest to it."""
    center = (wanted.boxes[:, :2] + wanted.boxes[:, 2:]) / 2
    nearest = torch.cdist(cells.corner + cells.stride / 2, center).argmin(1)
    size = wanted.boxes[nearest, 2:] - wanted.boxes[nearest, :2]
    points = (wanted.landmarks[nearest] - cells.corner.unsqueeze(1)) / cells.stride.unsqueeze(1)
    outputs = torch.cat(
        [
            torch.full((len(nearest), 1), -12.0),
            (center[nearest] - cells.corner) / cells.stride,
            (size / cells.stride).log(),
            points.flatten(1),
        ],
        1,
    )
    return outputs.unsqueeze(0)


def test_outputs_become_boxes_and_landmarks() -> None:
    cells, wanted = Cells.of(96, 128), truth([[10, 20, 50, 70]])
    _, boxes, landmarks = cells.decode(perfect(cells, wanted))
    assert boxes.shape == (1, 12 * 16 + 6 * 8 + 3 * 4, 4)
    torch.testing.assert_close(boxes[0], wanted.boxes.expand_as(boxes[0]))
    torch.testing.assert_close(landmarks[0], wanted.landmarks.expand_as(landmarks[0]), atol=1e-4, rtol=1e-4)


def test_every_face_gets_cells_of_its_own() -> None:
    cells, wanted = Cells.of(128, 128), truth([[10, 10, 18, 19], [40, 40, 100, 110], [44, 44, 96, 100]])
    logits, boxes, _ = cells.decode(perfect(cells, wanted))
    image, cell, face, overlap = assign(logits, boxes, cells, wanted)
    assert set(face.tolist()) == {0, 1, 2}
    assert len(set(cell.tolist())) == len(cell), "no cell answers for two"
    assert bool((image == 0).all())
    center = (wanted.boxes[face, :2] + wanted.boxes[face, 2:]) / 2
    inside = ((cells.corner[cell] + cells.stride[cell] / 2 - center).abs() < 2.5 * cells.stride[cell]).all(1)
    assert bool(inside[overlap > 0.99].all())
    nothing = assign(logits, boxes, cells, truth([]))
    assert all(len(column) == 0 for column in nothing)


def test_right_answers_cost_nothing_and_ignored_ones_neither() -> None:
    cells, wanted = Cells.of(128, 128), truth([[40, 40, 100, 110]])
    outputs = perfect(cells, wanted)
    _, cell, _, _ = assign(outputs[..., 0], cells.decode(outputs)[1], cells, wanted)
    outputs[0, cell, 0] = 12
    found = costs(outputs, cells, wanted)
    assert float(found.total) < 0.01
    assert float(found.found) == 1
    corner = outputs.clone()
    corner[0, 0, 0] = 8  # a false alarm at the upper left
    assert float(costs(corner, cells, wanted).score) > 0.1
    assert float(costs(corner, cells, truth([[40, 40, 100, 110]], [[0, 0, 12, 12]])).score) < 0.01
    worse = outputs.clone()
    worse[0, :, 5:] += 1
    assert float(costs(worse, cells, wanted).landmarks) > 0.1


# Precision


def result(found: list[tuple[float, list[float]]], there: list[list[float]], ignore: list[list[float]]) -> Result:
    boxes = np.array([box for _, box in found], np.float32).reshape(-1, 4)
    return (
        np.array([score for score, _ in found], np.float32), boxes,
        np.array(there, np.float32).reshape(-1, 4), np.array(ignore, np.float32).reshape(-1, 4),
    )  # fmt: skip


def test_average_precision_by_hand() -> None:
    one, two, elsewhere = [0.0, 0, 10, 10], [20.0, 20, 30, 30], [50.0, 50, 60, 60]
    assert average_precision([result([(0.9, one), (0.8, two)], [one, two], [])]) == 1
    assert average_precision([result([(0.9, one)], [one, two], [])]) == 0.5
    assert average_precision([result([(0.9, one), (0.8, one)], [one], [])]) == 1, "the second comes after the last face"
    # Precision at the two faces is 1/2 and 2/3, and may be raised to the best that follows.
    assert average_precision([result([(0.9, elsewhere), (0.8, one), (0.7, two)], [one, two], [])]) == pytest.approx(
        2 / 3
    )
    assert average_precision([result([(0.9, elsewhere), (0.8, one)], [one], [elsewhere])]) == 1
    assert average_precision([result([], [], [])]) == 1
    assert average_precision([result([(0.5, one)], [], [])]) == 0


def test_the_score_that_leaves_so_many_false_alarms() -> None:
    face, wall = [0.0, 0, 10, 10], [20.0, 20, 30, 30]
    results = [result([(0.9, face), (alarm, wall)], [face], []) for alarm in (0.8, 0.6, 0.4, 0.2)]
    assert score_at_false_alarms(results, 0.0) == pytest.approx(0.9)
    assert score_at_false_alarms(results, 0.25) == pytest.approx(0.8)
    assert score_at_false_alarms(results, 0.5) == pytest.approx(0.6)
    assert score_at_false_alarms(results, 1) == pytest.approx(0.2)


# From photographs to a file


def test_photographs_are_read_and_refused(album: Path, tmp_path: Path) -> None:
    import polars as pl

    rows = photographs.read(album)
    assert {row.part for row in rows} == {"train", "validation"}
    assert rows[0].pixels().shape == (512, 512, 3)
    assert sum(len(row.boxes) for row in rows) == 60
    table = pl.read_parquet(album)
    for broken, words in (
        (table.drop("faces"), "it lacks faces"),
        (table.with_columns(landmarks=pl.lit([], dtype=table.schema["landmarks"])), "1 faces but landmarks of 0"),
        (table.with_columns(faces=pl.lit([[5.0, 5, 1, 9]], dtype=table.schema["faces"])), "empty box"),
        (table.with_columns(faces=pl.lit([[5.0, 5, 1]], dtype=table.schema["faces"])), "lists of 4 numbers"),
        (table.clear(), "holds no photographs"),
    ):
        broken.write_parquet(tmp_path / "broken.parquet")
        with pytest.raises(DataError, match=words):
            photographs.read(tmp_path / "broken.parquet")
    with pytest.raises(DataError, match="cannot be decoded"):
        replace(marked(np.zeros((4, 4, 3), np.uint8)), encoded=b"no").pixels()


def test_several_files_are_one_collection(album: Path, tmp_path: Path) -> None:
    import polars as pl

    pl.read_parquet(album)[:7].write_parquet(tmp_path / "more.parquet")
    assert len(photographs.read(album, tmp_path / "more.parquet")) == len(photographs.read(album)) + 7
    assert photographs.file_hash(album) != photographs.file_hash(album, tmp_path / "more.parquet")


def test_yaws_of_faces() -> None:
    frontal = np.array(LANDMARKS, np.float32)
    three_quarter, profile = frontal.copy(), frontal.copy()
    three_quarter[2] += (12, 0)
    profile[:] = [[50, 40], [56, 40], [76, 60], [60, 80], [62, 80]]
    found = photographs.yaws(np.stack([frontal, three_quarter, profile]))
    assert found[0] < 10
    assert 30 < found[1] < 60
    assert found[2] > 60
    turned = np.stack([frontal, profile]) @ np.array([[0, 1], [-1, 0]], np.float32)
    np.testing.assert_allclose(photographs.yaws(turned), found[[0, 2]], atol=0.01)
    assert photographs.yaws(np.empty((0, 5, 2), np.float32)).shape == (0,)


@pytest.fixture(scope="module")
def learned(album: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    fit(small_recipe(), album, run.path, threads=1)
    return run


def test_it_learns(learned: RunFolder) -> None:
    history = learned.history()
    assert history[-1].train_loss < 0.9 * history[0].train_loss
    assert history[-1].validation_loss < history[0].validation_loss
    assert isinstance(learned.plan(), DetectorRecipe)
    with pytest.raises(DataError, match="trains a face detector"):
        learned.recipe()


def test_a_resumed_run_ends_with_the_same_bits(album: Path, learned: RunFolder, tmp_path: Path) -> None:
    def stop(epoch: int, done: int, of: int, line: object) -> None:
        if epoch == 3 and line is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small_recipe(), album, tmp_path / "run", threads=1, watch=stop)
    assert len(RunFolder(tmp_path / "run").history()) == 2
    fit(small_recipe(), album, tmp_path / "run", threads=1, resume=True)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == learned.last.read_bytes()


def test_a_set_without_faces_is_refused(tmp_path: Path, album: Path) -> None:
    import polars as pl

    table = pl.read_parquet(album).filter(pl.col("faces").list.len() == 0)
    table.write_parquet(tmp_path / "scenes.parquet")
    with pytest.raises(DataError, match="leaves no face for training"):
        fit(small_recipe(), tmp_path / "scenes.parquet", tmp_path / "run")


def test_the_file_takes_any_size_and_computes_what_torch_does(astronaut: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    net = DetectorNet(small_recipe().model).eval()
    pictures = [marked(astronaut[: 40 + 61 * i, : 300 - 50 * i]) for i in range(4)]
    assert prove_parity(net, to_onnx(net), pictures) < 1e-3
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 15)
        weights = to_onnx(net)
        for name, parameter in net.named_parameters():
            if name.startswith("heads") and name.endswith("bias"):
                parameter.add_(5)
    with pytest.raises(ModelError, match="differs from torch"):
        prove_parity(net, weights, pictures)


def test_the_command_trains_and_exports_one(album: Path, tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    folder, file = tmp_path / "run", tmp_path / "eyes.onnx"
    options = ["optim.epochs=2", "optim.batch_size=16", "optim.warmup_epochs=0", "augment.sizes=[96]", "data.paste="]
    settings = [word for option in options for word in ("--set", option)]
    done = mien("train", "detector", "--data", album, "--out", folder, *settings)
    assert done.code == 0, done
    assert "mien export" in done.out
    done = mien("export", folder, "--data", album, "--out", file)
    assert done.code == 0, done
    assert "least score" in done.out
    assert file.stat().st_size < 600_000
    model = load_detector(file)
    assert (model.card.name, model.card.parameters) == ("eyes", 116109)
    assert MienDetector(model, min_score=0).detect(astronaut).detector == "mien"
    assert load(detector_weights=file).detector.name == "mien"
    done = mien("evaluate", file, "--data", album)
    assert done.code == 1
    assert "card of" in done.err
    assert mien("export", folder, "--data", album, "--int8").code == 2
    other = tmp_path / "other.parquet"
    other.write_bytes(album.read_bytes())
    done = mien("export", folder, "--data", other, "--out", tmp_path / "again.onnx")
    assert done.code == 0, "only the content counts"
    done = mien("export", folder, "--data", tmp_path / "none.parquet")
    assert (done.code, done.err.count("\n")) == (1, 1)
