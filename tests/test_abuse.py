"""A small spread of the campaign of abuse, which `make abuse` runs whole; and that its instruments are sharp."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from abuse.campaign import Campaign
from abuse.children import Child
from abuse.shim import compiled
from abuse.trial import judged
from abuse.writers import BROKEN, MISSING, state

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    with Campaign() as campaign:
        yield campaign


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "only", "every"),
    [
        ("images", "", 24),
        ("films", "codec", 16),
        ("films", "cut", 24),
        ("options", "predict", 16),
        ("options", "data-audit", 10),
        ("faults", "table-csv", 4),
        ("faults", "save-film", 16),
        ("faults", "everything-full-7", 1),
        ("kills", "table-parquet", 4),
        ("kills", "audit", 6),
        ("clients", "check-hosts", 1),
        ("clients", "check-malformed-messages", 1),
    ],
)
def test_nothing_breaks(campaign: Campaign, family: str, only: str, every: int) -> None:
    tally = campaign.run(family, only=only, every=every)
    if not tally.notes:  # which say what this machine lacks
        assert tally.tried > 0
    assert tally.findings == []
    assert tally.failed == []


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("child")
    with Child(folder, compiled(folder)) as child:
        yield child


needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")


def test_a_command_ends_as_in_a_shell(child: Child, tmp_path: Path) -> None:
    done = child.run(["--version"], tmp_path)
    assert (done.code, done.signal, done.hung) == (0, 0, False)
    assert done.out.startswith("mien ")
    assert judged(done, "well") == []
    failed = child.run(["predict", "nothing.jpg"], tmp_path)
    assert failed.code == 1
    assert "error: " in failed.err
    assert judged(failed, "refused") == []
    assert [fault.kind for fault in judged(failed, "well")] == ["wrong exit"]


def test_what_hangs_is_seen_and_ended(child: Child, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    hangs = child.run(
        ["predict", "-", "--size", "8x8", "--fps", "5"], tmp_path, limit=4, stdin=_held(tmp_path / "pipe")
    )
    assert hangs.hung
    (fault,) = judged(hangs)
    assert fault.kind == "hang"
    assert ".py" in fault.detail  # where it hangs


def _held(pipe: Path) -> Path:
    """Somebody holds its other end, and never writes."""
    os.open(pipe, os.O_RDWR)
    return pipe


@needs_compiler
@pytest.mark.parametrize("deed", ["full", "once"])
def test_the_nth_write_fails(child: Child, tmp_path: Path, deed: str) -> None:
    words = ["explain", "photo.png", "--save", "out"]
    shutil.copyfile(_photo(tmp_path), tmp_path / "photo.png")
    (tmp_path / "out").mkdir()
    whole = child.run(words, tmp_path, at=10**9, deed="count", under=tmp_path / "out")
    assert whole.code == 0
    assert whole.hits >= 4  # two files are opened, written and renamed
    failed = child.run(words, tmp_path, at=2, deed=deed, under=tmp_path / "out")  # type: ignore[arg-type]
    assert failed.code == 1
    assert os.strerror(errno.ENOSPC if deed == "full" else errno.EIO).lower() in failed.err.lower()
    killed = child.run(words, tmp_path, at=2, deed="kill", under=tmp_path / "out")
    assert killed.signal == 9


def _photo(folder: Path) -> Path:
    from PIL import Image

    from abuse.trial import photograph

    Image.fromarray(photograph()).save(folder / "source.png")
    return folder / "source.png"


def test_broken_files_are_known(tmp_path: Path) -> None:
    table, page, picture = tmp_path / "a.csv", tmp_path / "a.html", _photo(tmp_path)
    assert state(table) == MISSING
    table.write_text("a,b\n1,2\n")
    whole = state(table)
    table.write_text("a,b\n1,")
    assert state(table).startswith(BROKEN)
    assert not whole.startswith(BROKEN)
    page.write_text("<html><p>")
    assert state(page).startswith(BROKEN)
    assert not state(picture).startswith(BROKEN)
    picture.write_bytes(picture.read_bytes()[:-20_000])
    assert state(picture).startswith(BROKEN)
