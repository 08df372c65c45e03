"""A run that was killed, interrupted or stopped resumes to the same bits, and is never mixed with another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_sets import saved, small_recipe, striped

from mien.errors import DataError, ModelError, RecipeError
from mien.training.fit import _expected_seconds, fit
from mien.training.run_folder import Epoch, RunFolder

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
