"""`mien data fetch`: says plainly what is missing, and takes nothing for FER2013 that is not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from command import mien

from mien.data import kaggle
from mien.data.kaggle import check_fer2013, fetch_fer2013
from mien.errors import FetchError

SMALL = {"Training": 3, "PublicTest": 1, "PrivateTest": 1}


def table(folder: Path, rows: dict[str, int], name: str = "fer2013.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"0,1 2 3 4,{usage}" for usage, count in rows.items() for _ in range(count)]
    (folder / name).write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    return folder / name


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A FER2013 of five rows."""
    monkeypatch.setattr(kaggle, "ROWS", SMALL)


def account(monkeypatch: pytest.MonkeyPatch, came: Path | Exception) -> None:
    """Kaggle cannot be asked from a test: a stand-in for its client gives what it would have put into its cache."""

    def dataset_download(handle: str) -> str:
        assert handle == kaggle.HANDLE
        if isinstance(came, Exception):
            raise came
        return str(came)

    client = ModuleType("kagglehub")
    client.__dict__["dataset_download"] = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", client)


def test_without_kagglehub_the_way_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(FetchError) as error:
        fetch_fer2013(tmp_path)
    told = str(error.value)
    assert "\n" not in told
    for needed in ("pip install kagglehub", "kaggle.json", "KAGGLE_USERNAME", "by hand", kaggle.PAGE):
        assert needed in told


def test_what_kaggle_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account(monkeypatch, RuntimeError("403 Client Error.\nYou need to log in"))
    with pytest.raises(FetchError, match=r"Kaggle gave no FER2013 \(403 Client Error\.\); sign in at .* by hand"):
        fetch_fer2013(tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv"])
def test_what_came_is_checked_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table(tmp_path / "cache" / "fer2013", SMALL, name)
    account(monkeypatch, tmp_path / "cache")
    path = fetch_fer2013(tmp_path / "out")
    assert path == tmp_path / "out" / "fer2013.csv"
    assert path.read_text() == (tmp_path / "cache" / "fer2013" / name).read_text()
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert fetch_fer2013(tmp_path / "out") == path, "a file that is there is kept"


@pytest.mark.usefixtures("small")
def test_another_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "cache", {"Training": 3, "PublicTest": 2})
    account(monkeypatch, tmp_path / "cache")
    with pytest.raises(FetchError, match=r"is not FER2013: it has 3 Training, 2 PublicTest, FER2013 has 3 Training, 1"):
        fetch_fer2013(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "cache" / "fer2013.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FetchError, match=r"this is not FER2013: .* should have the columns emotion, pixels"):
        fetch_fer2013(tmp_path / "out")
    (tmp_path / "cache" / "fer2013.csv").rename(tmp_path / "cache" / "other.csv")
    with pytest.raises(FetchError, match=r"holds no fer2013\.csv but other\.csv"):
        fetch_fer2013(tmp_path / "out")


@pytest.mark.usefixtures("small")
def test_the_command_prints_the_path(tmp_path: Path) -> None:
    path = table(tmp_path / "out", SMALL)
    done = mien("data", "fetch", "fer2013", "--out", path.parent)
    assert done.code == 0, done.err
    assert done.out.strip() == str(path)
    other = mien("data", "fetch", "fer2031", "--out", path.parent)
    assert other.code == 1
    assert "did you mean 'fer2013'" in other.errors[0]


@pytest.mark.slow
def test_fer2013_itself_passes(shared: Path) -> None:
    source = shared / "data" / "fer2013" / "fer2013.csv.gz"
    if not source.exists():
        pytest.skip("needs FER2013")
    check_fer2013(source)
