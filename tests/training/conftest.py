"""A small set and a run on it, for every file of tests that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_sets import saved, small_recipe

from mien.training.fit import fit
from mien.training.run_folder import RunFolder

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
