"""The private folder: for nobody else, gone at the end, and swept at the next start after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from films import make_film
from serving import PATIENCE, wait_until

from mien.serve.folders import private_folder, sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs locks of folders")


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server whose temporary files are in that folder, and its host."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--no-browser", "--detector", "haar"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder), "COLUMNS": "200"},
    )  # fmt: skip
    assert process.stdout is not None
    host = process.stdout.readline().partition("http://")[2].partition("/")[0]
    wait_until(lambda: httpx.get(f"http://{host}/v1/health", timeout=PATIENCE).status_code == 200)
    return process, host


def test_a_film_does_not_outlive_a_kill(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    film = make_film(tmp_path / "film.mp4", count=90).read_bytes()
    first, host = start(temporary)
    other, _ = start(temporary)
    try:
        mine = {path: stat.S_IMODE(path.stat().st_mode) for path in temporary.iterdir()}
        assert set(mine.values()) == {0o700}
        assert len(mine) == 2
        assert httpx.post(f"http://{host}/v1/videos", content=film, timeout=PATIENCE).status_code == 202
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE)
        assert [path for path in temporary.rglob("*") if path.stat().st_size == len(film)], "the film is left behind"
        third, _ = start(temporary)
        left = set(temporary.iterdir())
        assert len(left) == 2, "that of the other server, and that of the new one"
        assert len(left & set(mine)) == 1
        third.terminate()
        third.wait(PATIENCE)
        assert len(list(temporary.iterdir())) == 1
    finally:
        other.terminate()
        other.wait(PATIENCE)
        first.kill()
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "photo").write_text("x")
    (tmp_path / "mien-serve-link").symlink_to(precious)
    (tmp_path / "mien-serve-file").write_text("x")
    (tmp_path / "mien-serve-open").mkdir(mode=0o755)
    (tmp_path / "mien-other").mkdir(mode=0o700)
    left = tmp_path / "mien-serve-left"
    left.mkdir(mode=0o700)
    (left / "inner").symlink_to(precious)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert sweep(tmp_path) == []
    monkeypatch.undo()
    assert sweep(tmp_path) == [left]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mien-other", "mien-serve-file", "mien-serve-link", "mien-serve-open", "precious",
    ]  # fmt: skip
    assert (precious / "photo").read_text() == "x"


def test_a_folder_in_use_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with private_folder() as one:
        assert sweep(tmp_path) == []
        with private_folder() as two:
            assert one.is_dir()
            assert two.is_dir()
        assert not two.exists()
    assert list(tmp_path.iterdir()) == []
