"""Training: it learns, says what it did, refuses what cannot work, and survives being killed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from marked import BOX, LANDMARKS, write_album
from numpy.typing import NDArray
from safetensors.torch import load_file
from training_sets import SIZE, expression_recipe, saved, small_recipe, striped

import mien
from mien.data import prepared
from mien.data.photographs import read
from mien.data.prepared import image_hash
from mien.errors import DataError, MienError, ModelError, RecipeError
from mien.faces import Faces
from mien.labels import LABELS, VOTE_LABELS
from mien.models import CropGeometry
from mien.training.device import find_device, predict_logits
from mien.training.expression.data import doubled
from mien.training.expression.net import build, normalise, to_input
from mien.training.expression.photographs import unlabelled_faces
from mien.training.fit import fit
from mien.training.plots import TensorBoard
from mien.training.recipe import Recipe
from mien.training.run_folder import Epoch, RunFolder, best
from mien.training.start import start
from mien.vision.crop import crop_faces


@pytest.fixture(scope="module")
def learned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run long enough to learn all there is."""
    folder = tmp_path_factory.mktemp("runs") / "learned"
    fit(small_recipe(epochs=8, vote_weight=2), data, folder)
    return RunFolder(folder)


def test_a_separable_set_is_learned(learned: RunFolder, data: Path) -> None:
    history = learned.history()
    assert best(history).validation_accuracy > 0.9
    assert history[-1].train_loss < history[0].train_loss
    net, epoch = learned.best_net()
    validation = prepared.load(data).split("validation")
    logits = predict_logits(net, validation.images, 28, "cpu")
    right = float((logits.argmax(1).numpy() == validation.labels).mean())
    assert right == pytest.approx(history[epoch - 1].validation_accuracy, abs=0.02)


def test_the_run_folder_tells_all(run: RunFolder, data: Path) -> None:
    with (run.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["size"] for row in rows] == ["20", "20", "28", "28"]
    assert float(rows[-1]["lr"]) == 0
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    about = json.loads((run.path / "run.json").read_text())
    assert about["data"] == {"train": 140, "validation": 140, "sha256": prepared.manifest_hash(data)}
    assert about["started"] <= about["finished"]
    assert {"commit", "machine", "command", "torch", "device", "threads", "parameters"} <= set(about)
    assert run.recipe() == small_recipe()
    assert run.curves.read_bytes().startswith(b"\x89PNG")
    assert any(run.tensorboard.iterdir())
    assert not list(run.path.glob("*.part"))


def test_tensorboard_reads_the_run(run: RunFolder, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run.tensorboard)).Reload()
    told = [(event.step, event.value) for event in board.Scalars("loss/validation")]
    assert told == [(line.epoch, pytest.approx(line.validation_loss, rel=1e-5)) for line in run.history()]
    (tmp_path / "file").touch()
    blocked = TensorBoard(tmp_path / "file")  # training goes on without it
    blocked.log(run.history()[0])
    blocked.close()


def test_best_weights_are_those_of_the_best_epoch(run: RunFolder) -> None:
    top = best(run.history())
    net, epoch = run.best_net()
    assert epoch == top.epoch
    assert (epoch == 4) == all(torch.equal(value, net.state_dict()[key]) for key, value in load_file(run.last).items())


def test_a_file_in_the_way_is_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(MienError, match=r"cannot write .*taken.*: (file exists|not a directory)"):
        fit(small_recipe(), data, tmp_path / "taken")


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no longer finite in epoch 1, by step \d; lower optim\.lr \(now 1e\+12\)"):
        fit(small_recipe(lr=1e12), data, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert fit(small_recipe(epochs=1), data, tmp_path / "run")


def test_one_class_or_an_empty_split_is_told(tmp_path: Path) -> None:
    whole = striped(70)
    happy = saved(tmp_path / "happy", whole.take(whole.labels == LABELS.index("happy")))
    with pytest.raises(DataError, match="split 'train' holds only 'happy'"):
        fit(small_recipe(), happy, tmp_path / "run")
    unchosen = saved(tmp_path / "unchosen", whole.take(whole.splits == "train"))
    with pytest.raises(DataError, match=r"no image in split 'validation'; the set has train \(70\)"):
        fit(small_recipe(), unchosen, tmp_path / "run")


def test_votes_are_learned_by_their_own_head(learned: RunFolder, data: Path) -> None:
    """Each image's votes: seven for its label, two for contempt, one unknown (which is no class)."""
    validation = prepared.load(data).split("validation")
    net, _ = learned.best_net()
    with torch.no_grad():
        _, votes = net(normalise(torch.from_numpy(validation.images).unsqueeze(1).float() / 255))
    shares = votes.softmax(1)
    assert float(shares[:, VOTE_LABELS.index("contempt")].mean()) == pytest.approx(2 / 9, abs=0.13)
    assert float((votes.argmax(1).numpy() == validation.labels).mean()) > 0.9


def started_from(run: RunFolder, **optim: object) -> Recipe:
    content = small_recipe(epochs=1, lr=1e-4, warmup_epochs=0).model_dump() | {"init": str(run.path)}
    content["optim"] |= optim
    return Recipe.model_validate(content)


def test_a_run_that_starts_from_another_keeps_what_it_knew(learned: RunFolder, data: Path, tmp_path: Path) -> None:
    known = best(learned.history()).validation_accuracy
    (line,) = fit(started_from(learned), data, tmp_path / "on")
    assert line.validation_accuracy == pytest.approx(known, abs=0.03)
    (taught,) = fit(started_from(learned, teachers=[str(learned.path)], distillation=1.0), data, tmp_path / "taught")
    assert taught.train_loss != line.train_loss, "the targets are those that the teacher gives"
    both = started_from(learned, teachers=[str(learned.path)], distillation=1.0, teachers_see_votes=True)
    (seen,) = fit(both, data, tmp_path / "seen")
    assert seen.train_loss != taught.train_loss, "and of the votes"
    rows = prepared.load(data)
    unseen = saved(tmp_path / "unseen", replace(rows, votes=np.zeros_like(rows.votes)))
    with pytest.raises(DataError, match="needs votes on two expressions or more"):
        fit(both, unseen, tmp_path / "unseen-run")


def test_an_exported_model_may_teach_what_it_sees_plain(learned: RunFolder, data: Path, tmp_path: Path) -> None:
    mien.export(learned.path, data, out=tmp_path / "known.onnx")
    optim = {"teachers": [str(tmp_path / "known.onnx")], "distillation": 1.0}
    (line,) = fit(started_from(learned, **optim), data, tmp_path / "taught")
    (same,) = fit(started_from(learned, teachers=[str(learned.path)], distillation=1.0), data, tmp_path / "by-run")
    assert line.train_loss == pytest.approx(same.train_loss, rel=0.1), "but for the model's temperature"
    with pytest.raises(RecipeError, match="known cannot teach augmented images"):
        fit(started_from(learned, **optim, teach_views="augmented"), data, tmp_path / "augmented")


def test_teachers_label_the_faces_of_photographs(
    learned: RunFolder, data: Path, tmp_path: Path, astronaut: NDArray[np.uint8]
) -> None:
    album = tmp_path / "album.parquet"
    write_album(album, astronaut)
    optim = {"teachers": [str(learned.path)], "distillation": 1.0}
    content = started_from(learned, **optim).model_dump()
    content["data"]["photographs"] = [str(album)]
    (line,) = fit(Recipe.model_validate(content), data, tmp_path / "more")
    (plain,) = fit(started_from(learned, **optim), data, tmp_path / "plain")
    about = RunFolder(tmp_path / "more").about()["data"]
    portraits = sum(bool(len(photograph.boxes)) for photograph in read(album) if photograph.part == "train")
    assert about["faces"]["unlabelled"] == portraits > 40
    assert line.train_loss != plain.train_loss
    assert _images(line) > _images(plain)
    exported = mien.export(tmp_path / "more", data, out=tmp_path / "more.onnx")
    assert f"{portraits} faces of photographs" in exported.card.data
    with pytest.raises(ValueError, match="labelled by teachers"):
        Recipe.model_validate(content | {"optim": {}})


def _images(line: Epoch) -> float:
    return line.images_per_second * line.seconds


def test_faces_of_photographs_are_upright_and_framed_as_in_use(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    album = tmp_path / "album.parquet"
    write_album(album, astronaut)
    faces = Faces(np.array([BOX], np.float32), np.ones(1, np.float32), np.array([LANDMARKS], np.float32))
    (expected,) = crop_faces(astronaut, faces, 48, CropGeometry())
    for crop in unlabelled_faces([album]).crops(48):
        assert np.abs(crop.astype(int) - expected).mean() < 12, "but for compression"


def test_recropped_images_are_learned_and_checked(learned: RunFolder, data: Path, tmp_path: Path) -> None:
    rows = prepared.load(data)
    again = saved(tmp_path / "again", replace(rows, images=255 - rows.images, hashes=_hashes(255 - rows.images)))
    content = started_from(learned).model_dump()
    content["data"] |= {"recropped": str(again), "recropped_share": 1.0}
    (line,) = fit(Recipe.model_validate(content), data, tmp_path / "run")
    (plain,) = fit(started_from(learned), data, tmp_path / "plain")
    assert line.train_loss != plain.train_loss, "the images are the recropped ones"
    other = saved(tmp_path / "other", replace(rows, sources=np.char.add(rows.sources, "x")))
    content["data"]["recropped"] = str(other)
    with pytest.raises(DataError, match="holds other rows"):
        fit(Recipe.model_validate(content), data, tmp_path / "refused")


def _hashes(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    return np.array([image_hash(image) for image in images])


def test_a_start_that_does_not_fit_is_told(run: RunFolder, data: Path, tmp_path: Path) -> None:
    recipe = started_from(run)
    wider = recipe.model_copy(update={"model": recipe.model.model_copy(update={"stem_width": 16})})
    with pytest.raises(ModelError, match="another network"):
        fit(wider, data, tmp_path / "wider")
    with pytest.raises(ModelError, match="holds no weights"):
        fit(recipe.model_copy(update={"init": str(tmp_path)}), data, tmp_path / "none")


def test_devices() -> None:
    assert find_device("cpu") == "cpu"
    mps = torch.backends.mps.is_available()
    assert find_device("auto") == ("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    with pytest.raises(MienError, match=r"no device 'gpu'; use auto, cuda, mps, cpu"):
        find_device("gpu")
    if not mps:
        with pytest.raises(MienError, match="finds no mps device; use cpu, or a Mac"):
            find_device("mps")


def test_patience_ends_a_run_that_no_longer_gains(data: Path, tmp_path: Path) -> None:
    history = fit(small_recipe(epochs=40, lr=1e-6, patience=2), data, tmp_path)
    assert len(history) == best(history).epoch + 2 < 40
    again = fit(small_recipe(epochs=40, lr=1e-6, patience=2), data, tmp_path, resume=True)
    assert len(again) == len(history), "it is finished"


STILL = (
    "flip", "rotate", "shift", "stretch", "brightness", "contrast", "gamma", "blur", "low_resolution", "noise", "erase",
)  # fmt: skip
PLAIN = {"kind": "plain", "input_size": SIZE, "widths": [8, 16], "dense": [16], "dense_dropout": [0.0], "dropout": 0.0}


def plain_recipe(**tables: dict[str, object]) -> Recipe:
    content = small_recipe(sizes=[], optimizer="adamw", lr=3e-3, schedule="constant", warmup_epochs=0).model_dump()
    content |= {"model": PLAIN, "augment": {"flip": 0, "rotate": 3, "shift": 0, "erase": 0, "once": True}}
    for table, values in tables.items():
        content[table] = {**content[table], **values}
    return Recipe.model_validate(content)


def test_the_plain_network_learns_from_images_and_one_changed_copy_of_each(data: Path, tmp_path: Path) -> None:
    history = fit(plain_recipe(optim={"epochs": 8}), data, tmp_path)
    assert best(history).validation_accuracy > 0.5
    rows = prepared.load(data).split("train")
    twice = doubled(rows, plain_recipe().augment, seed=1)
    assert len(twice) == 2 * len(rows)
    np.testing.assert_array_equal(twice.images[: len(rows)], rows.images)
    assert (twice.images[len(rows) :] != rows.images).any(axis=(1, 2)).all()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(data: Path, tmp_path: Path) -> None:
    """Without draws of their own, and without batch statistics, the losses agree to rounding."""
    recipe = tmp_path / "plain.toml"
    still = "".join(f"{key} = 0\n" for key in STILL)
    recipe.write_text(
        f"name = 'plain'\n[model]\nkind = 'plain'\ninput_size = {SIZE}\nwidths = [8, 16]\ndense = [16]\n"
        f"dense_dropout = [0.0]\ndropout = 0.0\n[augment]\nscale = [1, 1]\n{still}"
        "[optim]\nepochs = 2\nbatch_size = 20\nlr = 0.02\nwarmup_epochs = 0\naverage_decay = 0.5\n"
    )
    for count in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += ["-m", "mien.cli", "train", str(recipe), "--data", str(data), "--threads", "1"]
        done = subprocess.run(
            [*command, "--device", "cpu", "--out", str(tmp_path / str(count))], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("validation accuracy") == 1, "only one process talks"
    one, two = (RunFolder(tmp_path / str(count)).history() for count in (1, 2))
    for line, other in zip(one, two, strict=True):
        assert other.train_loss == pytest.approx(line.train_loss, rel=0.01)
        assert other.validation_loss == pytest.approx(line.validation_loss, rel=0.01)


def test_a_network_starts_from_the_shipped_model(tmp_path: Path) -> None:
    recipe = expression_recipe("finetune")
    net = build(recipe.model).eval()
    start(net, recipe)
    crops = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    expected = mien.load(detector="haar").classifier.logits(crops)[0]
    with torch.no_grad():
        np.testing.assert_allclose(net(to_input(torch.from_numpy(crops), 48))[0].numpy(), expected, atol=1e-4)
    wider = recipe.model_copy(update={"model": recipe.model.model_copy(update={"stem_width": 16})})
    with pytest.raises(ModelError, match="another network"):
        start(build(wider.model), wider)
    with pytest.raises(RecipeError, match=r"model\.batch_norm = false"):
        start(net, recipe.model_copy(update={"model": recipe.model.model_copy(update={"batch_norm": True})}))


def test_teachers_may_look_at_the_augmented_images(learned: RunFolder, data: Path, tmp_path: Path) -> None:
    """A network that learns only from its own earlier self on the same views hardly moves."""
    optim = {"teachers": [str(learned.path)], "distillation": 1.0, "teach_views": "augmented"}
    (line,) = fit(started_from(learned, **optim), data, tmp_path / "taught")
    assert line.validation_accuracy == pytest.approx(best(learned.history()).validation_accuracy, abs=0.03)
    (seen,) = fit(started_from(learned, **optim, teachers_see_votes=True), data, tmp_path / "seen")
    assert seen.train_loss < line.train_loss, "with the votes they are surer"
