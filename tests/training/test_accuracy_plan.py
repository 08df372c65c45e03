"""The plan for a lent GPU, in miniature: every stage is trained, and a call goes on where the last one stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder

SCRIPT = Path(__file__).parents[2] / "scripts" / "accuracy_plan.py"
SMALL = (
    "model.input_size=28", "model.stem_width=8", "model.stem_stride=2", "model.widths=[8,8]", "model.depths=[1,1]",
    "model.squeeze_excite=[false,true]", "optim.batch_size=20",
)  # fmt: skip


def call(data: Path, runs: Path, minutes: float) -> str:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", data, "--runs", runs, "--scale", "0", "--minutes", str(minutes),
         "--device", "cpu", *settings],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return done.stdout


def test_the_plan_stops_in_time_and_goes_on(data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert "the same command goes on" in call(data, runs, 0)
    assert "all stages are finished" in call(data, runs, 5)
    assert sorted(folder.name for folder in runs.iterdir()) == ["student", "teacher-1", "teacher-2"]
    assert all(RunFolder(folder).finished for folder in runs.iterdir())
    plan = RunFolder(runs / "student").plan()
    assert isinstance(plan, Recipe)
    assert plan.optim.teachers == (str(runs / "teacher-1"), str(runs / "teacher-2"))
