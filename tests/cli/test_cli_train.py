"""`mien train` and `mien export`: what they print, where it goes, and how a stopped run is picked up."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import mien
from training_sets import saved, striped

from mien import models
from mien.training.run_folder import RunFolder

torch.set_num_threads(1)
RECIPE = """
name = "small"
[model]
input_size = 28
stem_width = 8
widths = [8]
depths = [1]
squeeze_excite = [false]
[optim]
epochs = 3
warmup_epochs = 0
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """`mien train` on a small set into `tmp_path / "run"`."""
    (tmp_path / "small.toml").write_text(RECIPE)
    data = saved(tmp_path / "set")
    return ["train", str(tmp_path / "small.toml"), "--data", str(data), "--out", str(tmp_path / "run")]


def test_train_prints_a_line_per_epoch_and_the_next_step_which_works(command: list[str], tmp_path: Path) -> None:
    done = mien(*command, "--set", "optim.epochs=2", "--threads", "1")
    assert done.code == 0, done
    head, *lines = done.err.splitlines()
    assert head.split()[:3] == ["epoch", "size", "lr"]
    assert [line.split()[0] for line in lines if not line.startswith("note: ")] == ["1", "2"]
    assert "validation accuracy in epoch" in done.out
    *_, following = done.out.strip().splitlines()
    assert following.split()[:3] == ["next", "mien", "export"]
    exported = mien(*following.split()[2:])
    assert exported.code == 0, exported
    assert "parity" in exported.out
    assert models.load(tmp_path / "run" / "small.onnx").card.name == "small"


def test_ctrl_c_keeps_the_epochs_and_says_how_to_go_on(command: list[str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    command += ["--set", "optim.epochs=2000", "--set", "optim.sizes=[[0.0, 16]]"]

    def press() -> None:
        while not run.checkpoint.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    done = mien(*command)
    assert done.code == 130, done
    kept = len(run.history())
    assert f"stopped; {kept} of 2000 epochs are kept in {run.path}; go on with: mien train" in done.err
    assert done.err.strip().endswith("--resume")


def test_minutes_stop_before_an_epoch_that_would_end_later(command: list[str], tmp_path: Path) -> None:
    done = mien(*command, "--minutes", "0")
    assert done.code == 0, done
    run = RunFolder(tmp_path / "run")
    assert "stopped before epoch 1, which would not end within 0 minutes; 0 of 3 epochs are kept" in done.err
    assert not run.finished and not run.checkpoint.exists()
    done = mien(*command, "--minutes", "10", "--resume")
    assert done.code == 0, done
    assert run.finished


def test_a_network_that_stands_at_the_majority_rate_is_told(command: list[str]) -> None:
    done = mien(*command, "--set", "optim.lr=1e-7", "--set", "optim.epochs=1")
    assert done.code == 0, done
    *_, line, note = done.err.splitlines()
    assert line.endswith("no better than always angry")
    assert "no better than always naming the most frequent label (angry, 14.29%): nothing was learned yet" in note


def test_labels_of_few_test_images_are_told_before_training(command: list[str], tmp_path: Path) -> None:
    data = striped(70)
    splits = data.splits.copy()
    splits[:14] = "test"
    saved(tmp_path / "set", replace(data, splits=splits.astype("<U10")))
    done = mien(*command, "--set", "optim.epochs=1")
    assert done.code == 0, done
    assert done.err.startswith("note: few test images (2 of angry, 2 of disgust")


def test_an_adjustment_is_a_label_and_a_number(tmp_path: Path) -> None:
    done = mien("export", tmp_path / "run", "--data", tmp_path, "--adjust", "fear")
    assert done.code == 2
    assert "should be a label and a number, such as fear=0.3" in " ".join(done.err.replace("│", " ").split())
