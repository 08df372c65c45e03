"""`mien serve` as people start it: the doors, the port, the address, and a clean end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from command import mien
from serving import PATIENCE, heard, wait_until
from websockets.sync.client import connect

from mien.analyzer import Analyzer
from mien.cli.serve import _listening
from mien.serve.app import create_app, make_server
from mien.serve.settings import Settings


def refused(*words: str) -> str:
    """The one sentence with which it does not start."""
    done = mien("serve", "--no-browser", "--detector", "haar", *words)
    assert (done.code, done.err.count("\n")) == (1, 1)
    (sentence,) = done.errors
    return sentence


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_public_server_without_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    (fresh,) = re.findall(r"--token (\S+)$", refused("--host", host))
    assert len(fresh) >= 16


def test_short_tokens() -> None:
    assert "16" in refused("--token", "secret")


@pytest.mark.parametrize("origin", ["*", "https://example.org/", "example.org", "https://*.example.org"])
def test_origins_are_exact(origin: str) -> None:
    sentence = refused("--allow-origin", "https://good.example", "--allow-origin", origin)
    assert repr(origin) in sentence
    assert "https://example.org" in sentence


@pytest.mark.parametrize("proxy", ["*", "proxy.example", "10.0.0.1/8"])
def test_proxies_are_named_by_address(proxy: str) -> None:
    assert repr(proxy) in refused("--trusted-proxy", proxy, "--token", "x" * 20)


def test_no_proxy_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    assert "--token" in refused("--trusted-proxy", "127.0.0.1")


def test_answers_do_not_wait_for_acknowledgements(analyzer: Analyzer) -> None:
    """TCP_NODELAY is set on the connections of the command's own socket."""
    settings = Settings()
    app = create_app(analyzer, settings)
    server = make_server(app, settings)
    with _listening("127.0.0.1", 0) as listener:
        host = "{}:{}".format(*listener.getsockname())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            with connect(f"ws://{host}/v1/stream", subprotocols=["mien.v1"]) as viewer:  # type: ignore[list-item]
                assert heard(viewer)["type"] == "ready"
                accepted = [c.transport.get_extra_info("socket") for c in server.server_state.connections]
                assert accepted
                for connection in accepted:
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        error = refused("--port", port)
    assert port in error
    assert "--port" in error


def test_an_address_of_others() -> None:
    assert "192.0.2.1" in refused("--host", "192.0.2.1", "--token", "x" * 20)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.cli.serve.find_spec", lambda name: None)
    assert 'pip install "mien[serve]"' in refused()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_from_start_to_end(tmp_path: Path, end: signal.Signals) -> None:
    token = "a-token-for-the-test"
    home, folder = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    folder.mkdir()
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(folder), "MIEN_TOKEN": token, "COLUMNS": "200"}
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from mien.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--port", "0", "--no-browser", "--detector", "haar"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        (host,) = re.findall(rf"http://(127\.0\.0\.1:\d+)/#token={token}", line)
        assert httpx.get(f"http://{host}/v1/health", timeout=PATIENCE).json()["status"] == "ok"
        assert httpx.get(f"http://{host}/v1/model", timeout=PATIENCE).status_code == 401
        assert [path.name[:5] for path in folder.iterdir()] == ["mien-"]
        with connect(f"ws://{host}/v1/stream", subprotocols=[f"bearer.{token}"], open_timeout=PATIENCE):  # type: ignore[list-item]
            process.send_signal(end)
            _, error = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == (0 if end == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in error
    assert [*folder.iterdir(), *home.iterdir()] == []
