"""The detector's training: which cells answer for a face, precision, and a run from photographs to a file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command import mien
from marked import BOX, marked, write_album
from numpy.typing import NDArray
from training_sets import PLAIN_SCENES

from mien import load
from mien.errors import DataError, ModelError
from mien.models import DetectorModel, load_detector
from mien.training.detector.assignment import Cells, Truth, assign, costs
from mien.training.detector.export import in_float32, prove_parity, quantized, to_onnx
from mien.training.detector.net import DetectorNet, Separable, normalised
from mien.training.detector.precision import Result, average_precision, score_at_false_alarms
from mien.training.detector.start import start, unfold
from mien.training.detector.task import Batch, composed
from mien.training.fit import fit
from mien.training.recipe import DetectorRecipe
from mien.training.run_folder import RunFolder
from mien.vision.detect import MienDetector


def small_recipe(**optim: object) -> DetectorRecipe:
    return DetectorRecipe.model_validate(
        {
            "task": "detect", "name": "small", "seed": 2,
            "model": {"widths": [8, 8, 12, 12, 16], "depths": [1, 1, 1, 1], "neck": 12},
            "augment": PLAIN_SCENES | {"sizes": [96], "tiles": [1], "tilt": 0, "smallest": 30},
            "optim": {
                "epochs": 6, "batch_size": 8, "optimizer": "adamw", "lr": 0.01, "warmup_epochs": 1,
                "average_decay": 0.9, **optim,
            },
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    path = tmp_path_factory.mktemp("album") / "photos.parquet"
    write_album(path, astronaut)
    return path


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
        fit(small_recipe(), album, tmp_path / "run", threads=1, progress=stop)
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


def test_an_exported_detector_can_be_trained_on(astronaut: NDArray[np.uint8]) -> None:
    """With the normalisations put back it answers as the file does, also with the statistics of the batch itself."""
    torch.manual_seed(0)
    model = load_detector()
    picture = np.asarray(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    pictures = np.stack([picture, picture[:, ::-1], picture[::-1]])
    first, net = (DetectorNet(DetectorRecipe(task="detect", name="x").model) for _ in range(2))
    unfold(first, model.weights, pictures)
    for parameter in first.parameters():
        parameter.data += 1e-3 * torch.randn_like(parameter)
    exported = to_onnx(first)
    unfold(net, exported, pictures)
    assert prove_parity(net, exported, [marked(picture), marked(picture[:, ::-1])]) < 0.01
    with torch.no_grad():
        outputs = net.train()(normalised(torch.from_numpy(pictures)))
    logits, boxes, _ = Cells.of(*pictures.shape[1:3]).decode(outputs)
    scores = logits.sigmoid()
    best = int(scores[0].argmax())
    assert scores[0, best] > 0.7
    assert np.abs(boxes[0, best].numpy() - np.array(BOX) / 2).max() < 8
    small = quantized(in_float32(first), [marked(one) for one in pictures])
    assert len(small) < len(exported)
    sure, again = (
        MienDetector(DetectorModel(load_detector().card, file)).detect(picture) for file in (exported, small)
    )
    assert np.abs(again.boxes[0] - sure.boxes[0]).max() < 6
    unfold(net, small, pictures)
    assert (
        np.abs(MienDetector(DetectorModel(model.card, to_onnx(net))).detect(picture).boxes[0] - sure.boxes[0]).max() < 6
    )
    recipe = DetectorRecipe.model_validate(small_recipe().model_dump() | {"init": "mien"})
    with pytest.raises(ModelError, match="another network"):
        start(DetectorNet(recipe.model), recipe, [marked(picture)])


def test_an_exported_detector_can_grow(astronaut: NDArray[np.uint8]) -> None:
    """A wider and deeper network begins with the file's answers, and hears of what is new in it."""
    torch.manual_seed(0)
    small = small_recipe().model
    large = small.model_copy(update={"widths": (8, 8, 16, 12, 24), "depths": (1, 1, 2, 1)})
    picture = np.asarray(cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)
    pictures = np.stack([picture, picture[:, ::-1], picture[::-1]])
    trained = DetectorNet(small).eval()
    for parameter in trained.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    weights = to_onnx(trained)
    net = DetectorNet(large)
    unfold(net, weights, pictures)
    assert prove_parity(net, weights, [marked(picture)]) < 0.01
    net.train()(normalised(torch.from_numpy(pictures))).square().sum().backward()
    lateral = net.get_submodule("lateral.0.0").weight.grad
    assert isinstance(lateral, torch.Tensor)
    assert lateral[:, 12:].abs().max() > 0
    with pytest.raises(RuntimeError, match="does not fit"):
        unfold(DetectorNet(small.model_copy(update={"neck": 8})), weights, pictures)


def test_channels_that_say_nothing_start_anew(astronaut: NDArray[np.uint8]) -> None:
    """Of one that is the same everywhere the weights would only grow, until float16 cannot hold them."""
    torch.manual_seed(0)
    table = small_recipe().model
    pictures = np.asarray(cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)[None]
    trained = DetectorNet(table).eval()
    for parameter in trained.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    first = trained.get_submodule("stages.0.0")
    assert isinstance(first, Separable)
    first.across.weight.data[3] = 0
    weights = to_onnx(trained)
    net = DetectorNet(table)
    unfold(net, weights, pictures)
    assert prove_parity(net, weights, [marked(pictures[0])]) < 0.01
    reborn = net.get_submodule("stages.0.0")
    assert isinstance(reborn, Separable)
    assert reborn.across.weight[3].abs().max() > 0.01
    assert reborn.norm_across.weight[3] == 0
    assert reborn.norm_across.weight[2] != 0
    first.across.weight.data[3] = 1e-9
    first.norm_across.running_var[3] = 1e-18  # type: ignore[index]
    first.norm_across.weight.data[3] = 1e30
    assert np.isfinite(
        MienDetector(DetectorModel(load_detector().card, to_onnx(trained))).detect(pictures[0]).boxes
    ).all()


def test_processes_compose_what_threads_do() -> None:
    """Beside a GPU scenes come from processes: the same ones, in the same order."""

    def compose(rows: list[int], size: int) -> Batch:
        pictures = np.stack([np.random.default_rng(row).integers(0, 256, (size, size, 3), np.uint8) for row in rows])
        return torch.from_numpy(pictures), truth([[row, 0, row + 9, 9] for row in rows])

    plan = [([3 * i, 3 * i + 1], 32 * (1 + i % 2)) for i in range(7)]
    threads, processes = (list(composed(compose, plan, 2, device)) for device in ("cpu", "cuda"))
    assert len(threads) == len(processes) == 7
    for one, other in zip(threads, processes, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1].boxes, other[1].boxes)


def test_the_command_trains_and_exports_one(album: Path, tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    import polars as pl

    folder, file, more = tmp_path / "run", tmp_path / "eyes.onnx", tmp_path / "more.parquet"
    pl.read_parquet(album)[:7].write_parquet(more)
    both = ("--data", album, "--data", more)
    options = ["optim.epochs=2", "optim.batch_size=16", "optim.warmup_epochs=0", "augment.sizes=[96]", "data.paste="]
    settings = [word for option in options for word in ("--set", option)]
    done = mien("train", "detector", *both, "--out", folder, *settings)
    assert done.code == 0, done
    assert f"mien export {folder} --data {album} --data {more}\n" in done.out
    done = mien("export", folder, *both, "--out", file, "--int8")
    assert done.code == 0, done
    assert "least score" in done.out
    assert f"--data {album} --data {more} --task detect" in done.out
    assert file.stat().st_size < 600_000
    model = load_detector(file)
    assert (model.card.name, model.card.parameters) == ("eyes", 219501)
    assert MienDetector(model, min_score=0).detect(astronaut).detector == "mien"
    assert load(detector_weights=file).detector.name == "mien"
    done = mien("evaluate", file, "--data", album)
    assert done.code == 1
    assert "card of" in done.err
    small = load_detector(tmp_path / "eyes-int8.onnx")
    assert small.card.name == "eyes-int8"
    assert len(small.weights) < file.stat().st_size
    assert small.card.provenance["of_sha256"] == model.card.sha256
    assert MienDetector(small, min_score=0).detect(astronaut).detector == "mien"
    assert mien("export", folder, *both, "--balance", "1").code == 1
    other = tmp_path / "other.parquet"
    other.write_bytes(album.read_bytes())
    done = mien("export", folder, "--data", other, "--data", more, "--out", tmp_path / "again.onnx")
    assert done.code == 0, "only the content counts"
    done = mien("export", folder, "--data", album)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "was trained on other photographs" in done.err
    done = mien("export", folder, "--data", tmp_path / "none.parquet")
    assert (done.code, done.err.count("\n")) == (1, 1)
