"""Training: it learns, says what it did, refuses what cannot work, and survives being killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from training_sets import SIZE, expression_recipe, saved, small_recipe, striped

import mien
from mien.data import prepared
from mien.data.prepared import image_hash
from mien.errors import DataError, MienError, ModelError, RecipeError
from mien.labels import LABELS, VOTE_LABELS
from mien.training.device import find_device, predict_logits
from mien.training.expression.data import doubled
from mien.training.expression.net import build, normalise, to_input
from mien.training.fit import _expected_seconds, fit
from mien.training.recipe import Recipe
from mien.training.run_folder import Epoch, RunFolder, best
from mien.training.start import start

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("set") / "striped")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(small_recipe(), data, folder)
    return RunFolder(folder)


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


def test_best_weights_are_those_of_the_best_epoch(run: RunFolder) -> None:
    top = best(run.history())
    net, epoch = run.best_net()
    assert epoch == top.epoch
    assert (epoch == 4) == all(torch.equal(value, net.state_dict()[key]) for key, value in load_file(run.last).items())


KILLED = """
import sys, time
from pathlib import Path
import torch
from training_sets import small_recipe
from mien.training.fit import _expected_seconds, fit
torch.set_num_threads(1)
def stop(epoch, done, of, line):
    if epoch == 3 and line is None:
        print("in epoch 3", flush=True)
        time.sleep(60)
fit(small_recipe(), Path(sys.argv[1]), Path(sys.argv[2]), progress=stop)
"""


def test_a_killed_run_resumes_to_the_same_bits(run: RunFolder, data: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "killed")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    command = [sys.executable, "-c", KILLED, str(data), str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in epoch 3\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(folder.history()) == 2
    assert not folder.finished
    folder.checkpoint.with_suffix(".part").write_bytes(b"half a checkpoint")
    fit(small_recipe(), data, folder.path, resume=True)
    assert_same_run(folder, run)
    assert len(folder.about()["resumed"]) == 1


def test_an_interrupted_run_draws_its_curves_and_resumes_to_the_same_bits(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    def interrupt(epoch: int, done: int, of: int, line: Epoch | None) -> None:
        if epoch == 2 and line is None:
            signal.raise_signal(signal.SIGINT)

    folder = RunFolder(tmp_path / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        fit(small_recipe(), data, folder.path, progress=interrupt)
    assert len(folder.history()) == 1
    assert folder.curves.exists()
    fit(small_recipe(), data, folder.path, resume=True)
    assert_same_run(folder, run)


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    """Weights, momentum and metrics are the same to the last bit; only the clock may differ."""
    for name in ("last", "weights", "checkpoint"):
        ones, others = load_file(getattr(one, name)), load_file(getattr(other, name))
        assert ones.keys() == others.keys()
        assert all(torch.equal(ones[key], others[key]) for key in others), name
    assert [without_time(line) for line in one.history()] == [without_time(line) for line in other.history()]


def without_time(line: Epoch) -> Epoch:
    return replace(line, seconds=0.0, images_per_second=0.0)


def test_a_finished_run_is_left_alone(run: RunFolder, data: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert fit(small_recipe(), data, run.path, resume=True) == run.history()
    assert before == {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}


def test_a_run_is_not_overwritten_nor_mixed_with_another(run: RunFolder, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a run already; resume it, or choose another folder"):
        fit(small_recipe(), data, run.path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").touch()
    with pytest.raises(DataError, match="holds other things than a run"):
        fit(small_recipe(), data, tmp_path / "pictures")
    with pytest.raises(RecipeError, match=r"was begun with optim\.lr = 0\.1, the recipe now says 0\.2"):
        fit(small_recipe(lr=0.2), data, run.path, resume=True)
    other = saved(tmp_path / "other", striped(seed=1))
    with pytest.raises(DataError, match=r"was begun on other data \(sha256 was"):
        fit(small_recipe(), other, run.path, resume=True)
    with pytest.raises(DataError, match=r"holds no run \(no recipe\.json\)"):
        fit(small_recipe(), data, tmp_path / "nothing", resume=True)


def test_a_damaged_checkpoint_is_told(run: RunFolder, data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_bytes((run.path / "recipe.json").read_bytes())
    (tmp_path / "checkpoint.safetensors").write_bytes(run.checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot read .*checkpoint"):
        fit(small_recipe(), data, tmp_path, resume=True)


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


class Stop(Exception):
    """Ends a run."""


def stop_after_an_epoch(epoch: int, done: int, of: int, line: Epoch | None) -> None:
    if line:
        raise Stop


@pytest.mark.parametrize("recipe", [{"vote_weight": 0}, {"momentum": 0}])
def test_a_head_without_a_loss_and_sgd_without_momentum_resume(
    data: Path, tmp_path: Path, recipe: dict[str, object]
) -> None:
    with pytest.raises(Stop):
        fit(small_recipe(epochs=2, **recipe), data, tmp_path, progress=stop_after_an_epoch)
    assert len(fit(small_recipe(epochs=2, **recipe), data, tmp_path, resume=True)) == 2


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


def test_a_run_from_before_mixup_and_sharpness_went_is_still_read(run: RunFolder, tmp_path: Path) -> None:
    older = run.recipe().model_dump()
    older |= {"mix": {"mixup": 0.0, "cutmix": 0.0, "until": 0.85}}
    older["optim"]["sharpness"] = 0.0
    older["data"] |= {"retaken": "sets/again", "retaken_share": 0.3}
    del older["data"]["recropped"], older["data"]["recropped_share"]
    (tmp_path / "recipe.json").write_text(json.dumps(older))
    recipe = RunFolder(tmp_path).recipe()
    assert (recipe.data.recropped, recipe.data.recropped_share) == ("sets/again", 0.3)
    older["mix"]["cutmix"] = 1.0
    (tmp_path / "recipe.json").write_text(json.dumps(older))
    with pytest.raises(DataError, match="damaged: Extra inputs are not permitted"):
        RunFolder(tmp_path).recipe()


@pytest.mark.parametrize("optim", [{"optimizer": "adamw", "lr": 0.01}, {"optimizer": "sgd"}, {"vote_weight": 0}])
def test_every_optimizer_resumes_to_the_last_bit(data: Path, tmp_path: Path, optim: dict[str, object]) -> None:
    recipe = small_recipe(epochs=2, **optim)
    fit(recipe, data, tmp_path / "whole")

    with pytest.raises(Stop):
        fit(recipe, data, tmp_path / "cut", progress=stop_after_an_epoch)
    fit(recipe, data, tmp_path / "cut", resume=True)
    whole, cut = (load_file(RunFolder(tmp_path / name).last) for name in ("whole", "cut"))
    for key, value in whole.items():
        assert torch.equal(value, cut[key]), key


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


def test_no_minutes_train_nothing_and_a_later_call_goes_on(data: Path, tmp_path: Path) -> None:
    recipe = small_recipe(epochs=2)
    assert fit(recipe, data, tmp_path, minutes=0) == []
    assert not RunFolder(tmp_path).finished
    assert len(fit(recipe, data, tmp_path, resume=True)) == 2


def test_a_resumed_run_knows_how_long_an_epoch_takes_here(data: Path, tmp_path: Path) -> None:
    """It stops before an epoch that would not end in time, and starts one where another machine was slow."""
    recipe, run = small_recipe(epochs=3, sizes=[]), RunFolder(tmp_path)
    with pytest.raises(Stop):
        fit(recipe, data, tmp_path, progress=stop_after_an_epoch)

    def pretend(seconds: float, machine: str) -> None:
        """That the first epoch took so long, on this machine."""
        tensors = load_file(run.checkpoint)
        lines = [{**asdict(line), "seconds": seconds} for line in run.history()]
        save_file(tensors, run.checkpoint, {"history": json.dumps(lines)})
        about = run.about()
        (tmp_path / "run.json").write_text(json.dumps({**about, "machine": machine, "resumed": []}))

    here = run.about()["machine"]
    pretend(3600, here)
    assert len(fit(recipe, data, tmp_path, resume=True, minutes=30)) == 1
    pretend(3600, "a slower one")
    assert len(fit(recipe, data, tmp_path, resume=True, minutes=30)) == 3


def test_larger_images_make_an_epoch_longer() -> None:
    line = Epoch(1, 24, 0.1, 1, 0.5, 1, 0.5, images_per_second=10, seconds=10)
    assert [_expected_seconds([line], size) for size in (12, 24, 48)] == [10, 10, 40]


def test_teachers_may_look_at_the_augmented_images(learned: RunFolder, data: Path, tmp_path: Path) -> None:
    """A network that learns only from its own earlier self on the same views hardly moves."""
    optim = {"teachers": [str(learned.path)], "distillation": 1.0, "teach_views": "augmented"}
    (line,) = fit(started_from(learned, **optim), data, tmp_path / "taught")
    assert line.validation_accuracy == pytest.approx(best(learned.history()).validation_accuracy, abs=0.03)
    (seen,) = fit(started_from(learned, **optim, teachers_see_votes=True), data, tmp_path / "seen")
    assert seen.train_loss < line.train_loss, "with the votes they are surer"
