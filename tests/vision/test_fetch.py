"""Downloads, against a real server on loopback and a port where none is."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien.errors import FetchError
from mien.vision import fetch
from mien.vision.detect import load_detector

CONTENT = b"weights" * 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("MIEN_HOME", str(folder))
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP, from which the detector file is fetched."""
    served = tmp_path / "served"
    served.mkdir()
    _Quiet.requests = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "YUNET_URL", f"http://127.0.0.1:{httpd.server_port}/yunet.onnx")
        monkeypatch.setattr(fetch, "YUNET_SHA256", hashlib.sha256(CONTENT).hexdigest())
        yield served
        httpd.shutdown()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on this port."""
    monkeypatch.setattr(fetch, "YUNET_URL", "http://127.0.0.1:9/yunet.onnx")


def test_download_once_then_from_the_cache(home: Path, server: Path) -> None:
    (server / "yunet.onnx").write_bytes(CONTENT)
    path = fetch.yunet()
    assert path.read_bytes() == CONTENT
    assert path.parent == home
    assert fetch.yunet() == path
    assert _Quiet.requests == 1
    assert [p.name for p in home.iterdir()] == [path.name], "no temporary file is left"


def test_wrong_content_is_refused_and_not_kept(home: Path, server: Path) -> None:
    (server / "yunet.onnx").write_bytes(CONTENT[:-1])
    with pytest.raises(FetchError, match="not what it should be"):
        fetch.yunet()
    assert not (home / fetch.YUNET_FILE).exists()


def test_a_dead_network_is_asked_once(home: Path, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fetch.YUNET_URL
    monkeypatch.setattr(fetch, "YUNET_URL", "http://127.0.0.1:9/yunet.onnx")
    with pytest.raises(FetchError, match="could not be downloaded"):
        fetch.yunet()
    monkeypatch.setattr(fetch, "YUNET_URL", url)
    (server / "yunet.onnx").write_bytes(CONTENT)
    with pytest.raises(FetchError, match="a short while ago"):
        fetch.yunet()
    assert _Quiet.requests == 0
    assert fetch.yunet(retry=True).exists()
    assert fetch.yunet().exists()


def test_the_network_is_tried_again_after_an_hour(home: Path, server: Path) -> None:
    (server / "yunet.onnx").write_bytes(CONTENT)
    home.mkdir()
    stamp = home / f"{fetch.YUNET_FILE}.unreachable"
    stamp.touch()
    os.utime(stamp, (0, 0))
    assert fetch.yunet().exists()
    assert not stamp.exists()


def test_a_damaged_file_in_the_cache_is_named(home: Path) -> None:
    home.mkdir()
    (home / fetch.YUNET_FILE).write_bytes(b"broken")
    with pytest.raises(FetchError, match="delete it and run: mien fetch"):
        fetch.yunet()


def test_without_a_network_only_yunet_is_missing(home: Path, offline: None) -> None:
    assert load_detector().name == "mien"
    with pytest.raises(FetchError):
        load_detector("yunet")


def test_a_cache_that_cannot_be_written_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(FetchError, match="could not be downloaded"):
        fetch.yunet()
