"""The wheel in an environment of its own: small, without torch, and it reads a photograph."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[1]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.slow
def test_core_only_installation(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("mien-*.whl")
    assert wheel.stat().st_size <= 15e6
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    empty = size_of(tmp_path / "env")
    subprocess.run([str(python), *pip[1:], "install", str(wheel)], check=True)
    assert size_of(tmp_path / "env") - empty <= 500e6
    photo = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(photo)
    code = (
        "import sys; sys.argv[0] = 'mien'\n"
        "from mien.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'sklearn', 'matplotlib', 'polars') if m in sys.modules], file=sys.stderr)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(python), "-c", code, "predict", str(photo), "--json", "--detector", "haar"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    assert json.loads(done.stdout)["faces"][0]["label"] == "happy"
