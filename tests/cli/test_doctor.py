"""The doctor finds what is wrong, says what to do, and exits accordingly."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command import mien

from mien import __version__, models
from mien.cli.licences import UNKNOWN, licences


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, whose network has just failed."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "yunet_n_dynamic.onnx.unreachable").touch()
    monkeypatch.setenv("MIEN_HOME", str(home))
    return home


def findings() -> dict[str, dict[str, str]]:
    done = mien("doctor", "--json")
    assert done.err == ""
    report: dict[str, Any] = json.loads(done.out)
    checks = {check["name"]: check for check in report["checks"]}
    assert len(checks) == len(report["checks"])
    assert report["healthy"] == all(check["status"] != "error" for check in checks.values())
    assert done.code == (0 if report["healthy"] else 1)
    return checks


def test_licences_of_all_that_is_installed() -> None:
    done = mien("doctor", "--licences", "--json")
    assert (done.code, done.err) == (0, "")
    found = {(one["kind"], one["name"]): one["licence"] for one in json.loads(done.out)["licences"]}
    assert found["package", "mien"] == "MIT"
    assert found["package", "av"] == "BSD-3-Clause"
    assert found["package", "pillow"] == "MIT-CMU"
    assert found["package", "certifi"] == "MPL-2.0", "what a package needs in turn"
    assert {name for kind, name in found if kind == "network"} == {*models.shipped(), "mien (detector)"}
    assert not [key for key, licence in found.items() if not licence or "\n" in licence]
    shown = mien("doctor", "--licences").out
    assert all(name in shown for _, name in found)


@pytest.mark.skipif(sys.platform != "linux", reason="PyAV's wheels for other systems hold other libraries")
def test_what_the_wheel_of_pyav_brings_along() -> None:
    found = {one.name: one.licence for one in licences() if one.kind == "library"}
    if not found:
        pytest.skip("PyAV was built against the system's FFmpeg")
    assert found["x264"] == found["x265"] == "GPL-2.0-or-later"
    assert "under the GPL together with x264 and x265" in found["avcodec"]
    assert not [name for name, licence in found.items() if licence == UNKNOWN]


def install(site: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    """The traces that an installed package leaves."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_what_is_in_use() -> None:
    checks = findings()
    assert checks["mien"]["finding"] == __version__
    assert checks["python"]["finding"].startswith(".".join(map(str, sys.version_info[:3])))
    assert checks["OpenCV"]["status"] == "ok"
    assert "CPUExecutionProvider" in checks["providers"]["finding"]
    assert checks["cache"]["status"] == "ok"
    assert checks["model"]["status"] == ("ok" if models.DEFAULT in models.shipped() else "error")
    assert checks["detector"]["status"] == "ok"
    assert "parameters" in checks["detector"]["finding"]


def test_people_get_lines() -> None:
    done = mien("doctor")
    assert (done.code in (0, 1), done.err) == (True, "")
    assert any(line.split()[:2] == ["ok", "mien"] for line in done.out.splitlines())


def test_packages_and_extras_are_those_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [f"{r}; extra == 'table'" for r in project["optional-dependencies"]["table"]]
    absent = ("no-such-package>=2", "no-such-thing[x]>=1; extra == 'other'")
    install(tmp_path / "site", "mien", "9.9", (*project["dependencies"], *extras, *absent))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    checks = findings()
    for requirement in project["dependencies"]:
        name = requirement.split(">=")[0]
        assert checks[name]["status"] == "ok", name
    assert checks["extra table"]["finding"].startswith("polars ")
    assert checks["no-such-package"]["status"] == "error"
    assert "no-such-thing" in checks["extra other"]["finding"]
    assert 'pip install "mien[other]"' in checks["extra other"]["finding"]
    assert checks["extra other"]["status"] == "ok", "an extra is a choice"


def test_opencv_twice_is_an_error_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "opencv-python", "4.13.0.1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    check = findings()["OpenCV"]
    assert check["status"] == "error"
    assert "pip uninstall -y opencv-python-headless opencv-python" in check["finding"]
    assert "pip install" in check["finding"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "file" / "home"))
    check = findings()["cache"]
    assert check["status"] == "error"
    assert "MIEN_HOME" in check["finding"]


def test_fetch_prints_where_the_file_lies(shared: Path, home: Path) -> None:
    weights = shared / "models" / "yunet_n_dynamic.onnx"
    if not weights.is_file():
        pytest.skip("needs the shared YuNet file")
    shutil.copy(weights, home)
    done = mien("fetch")
    assert (done.code, Path(done.out.strip()), done.err) == (0, home / weights.name, "")


def test_fetch_says_in_one_sentence_why_not(home: Path) -> None:
    (home / "yunet_n_dynamic.onnx").write_text("something else")
    done = mien("fetch")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "SHA-256" in done.err
