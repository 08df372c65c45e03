from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien import files
from mien.errors import OutputError
from mien.files import replacing


def test_a_file_appears_whole_in_folders_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with replacing(path, "a") as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path, "a") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the list"), replacing(tmp_path / "file" / "a", "the list"):
        pass


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_folder_is_no_name_for_a_file(path: str) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write the list: . is a folder; name a file"),
        replacing(Path(path), "the list"),
    ):
        pass


WRITES = """
import sys, time
from pathlib import Path
from mien.files import replacing
with replacing(Path(sys.argv[1]), "it") as part:
    part.write_text("half")
    part.with_name(part.name + "batches").mkdir()
    print(part, flush=True)
    time.sleep(60)
"""


@contextmanager
def writer(path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process in the middle of writing a file, and its hidden file, which looks as if it were old."""
    process = subprocess.Popen([sys.executable, "-c", WRITES, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        part = Path(process.stdout.readline().strip())
        os.utime(part, (0, 0))
        yield process, part
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks that end with their process")
def test_what_a_killed_run_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_swept", set())
    foreign = tmp_path / ".mine.part"
    foreign.write_text("somebody else's")
    os.utime(foreign, (0, 0))
    with writer(tmp_path / "killed.txt") as (process, left), writer(tmp_path / "alive.txt") as (_, held):
        process.kill()
        process.wait()
        with replacing(tmp_path / "a.txt", "a") as part:
            part.write_text("whole")
        assert not left.exists()
        assert not left.with_name(left.name + "batches").exists()
        assert held.read_text() == "half"
        assert held.with_name(held.name + "batches").exists()
    assert foreign.exists()
    assert not (tmp_path / "killed.txt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks that end with their process")
def test_what_was_left_just_now_stays_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a file that somebody has reserved and not yet locked."""
    monkeypatch.setattr(files, "_swept", set())
    new = tmp_path / ".b.txt.0123abcd.part"
    new.touch()
    with replacing(tmp_path / "a.txt", "a") as part:
        part.write_text("whole")
    assert new.exists()
