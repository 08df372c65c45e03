"""What is told of a failure reads as one sentence."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pytest
from command import mien

from mien.errors import reason
from mien.provenance import provenance


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "no space left on device"),
        (OSError("Not a gzipped file"), "not a gzipped file"),
        (OSError("I/O operation on closed file"), "I/O operation on closed file"),
        (OSError("/A/B is gone"), "/A/B is gone"),
        (OSError(), "OSError"),
    ],
)
def test_the_systems_words_go_on_a_sentence(error: OSError, words: str) -> None:
    assert reason(error) == words


def test_a_file_that_cannot_be_had_is_told_alike_by_every_command(tmp_path: Path) -> None:
    words = os.strerror(errno.ENOENT)
    assert words[0].isupper()
    for arguments in (
        ("predict", __file__, "--model", tmp_path / "none.onnx"),
        ("report", tmp_path / "none.json"),
        ("train", tmp_path / "none.toml", "--data", tmp_path),
    ):
        (sentence,) = mien(*arguments).errors
        assert words.lower() in sentence, arguments


def test_a_damaged_archive_is_told_without_the_systems_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"emotion,pixels\n")
    (sentence,) = mien("data", "prepare", tmp_path / "a.csv.gz", "--out", tmp_path / "set").errors
    assert "cannot be read or is cut short: not a gzipped file" in sentence
    rows = [f"{k % 7},{' '.join(map(str, os.urandom(48 * 48)))}\n" for k in range(30)]
    packed = gzip.compress("".join(["emotion,pixels\n", *rows]).encode())
    (tmp_path / "a.csv.gz").write_bytes(packed[: len(packed) // 2])
    (sentence,) = mien("data", "prepare", tmp_path / "a.csv.gz", "--out", tmp_path / "set").errors
    assert "cannot be read or is cut short: compressed file ended" in sentence
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", __file__, "--detector-weights", "a" * 5000),
        ("predict", __file__, "--table", "a" * 5000 + ".csv"),
        ("export", "a" * 5000, "--data", "set"),
        ("report", "{loop}"),
        ("data", "recrop", "{loop}", "--out", "{loop}"),
        ("evaluate", "base", "--data", "/"),
        ("data", "audit", "/"),
    ],
)
def test_a_path_that_the_system_refuses(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (loop := tmp_path / "loop").symlink_to(loop)
    done = mien(*(word.format(loop=loop) for word in arguments))
    assert done.code == 1
    assert len(done.errors) == 1
    assert "Traceback" not in done.err


def test_a_command_line_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files may hold any bytes; what tells of them is JSON."""
    monkeypatch.setattr("sys.argv", ["mien", "predict", os.fsdecode(b"a\xff.jpg")])
    assert provenance()["command"].encode().decode() == r"mien predict 'a\udcff.jpg'"
