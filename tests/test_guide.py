"""The guide's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import make_faces_film
from numpy.typing import NDArray
from PIL import Image

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"


def code(start: str, end: str) -> str:
    """The Python between two headings."""
    text = GUIDE.read_text("utf-8")
    part = text[text.index(f"\n{start}\n") : text.index(f"\n{end}\n")]
    return "\n".join(re.findall(r"```python\n(.*?)```", part, re.DOTALL))


def test_read_faces(
    astronaut: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut).save("photo.jpg")
    make_faces_film(tmp_path / "film.mp4", astronaut)
    names: dict[str, Any] = {"array": astronaut}
    shown = code("## Read faces", "### In the browser")
    assert "mien.watch(" in shown
    exec(compile(shown, "guide", "exec"), names)
    assert capsys.readouterr().out.startswith("happy 0.9")
    assert {path.name for path in tmp_path.iterdir()} == {
        "photo.jpg", "film.mp4", "faces.parquet", "film.vtt", "film.png", "results",
    }  # fmt: skip
    assert len(names["recording"].people) >= 2
    assert names["faces"].label == "happy"
