from __future__ import annotations

from pathlib import Path

import pytest

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
