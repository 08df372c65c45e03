"""Fixtures for all tests: a real photograph, a tiny but valid model, and the data folder beside the checkout."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.labels import LABELS
from mien.models import Card

if TYPE_CHECKING:
    from browser import Server as Site
    from browser import Watched
    from command import Done, Predict
    from playwright.sync_api import Browser, Playwright
    from serving import Server

    from mien.analyzer import Analyzer


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Programs started in the background ignore Ctrl-C, and so would the tests that press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """A public-domain photograph with one smiling face, `(512, 512, 3)` uint8 RGB."""
    from skimage import data

    return np.array(data.astronaut(), np.uint8)


@pytest.fixture
def web() -> Iterator[Callable[..., str]]:
    """Starts a web server on this machine that answers every request with the same content; gives its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(content: bytes, kind: str, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .onnx file with its card beside it: one linear layer with fixed random weights, `(n, 1, 48, 48)` in,
    logits `(n, 7)` out. It knows nothing of faces, but everything that carries a real model carries it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size = 48
    weights = np.random.default_rng(0).normal(0, 0.05, (size * size, len(LABELS))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(LABELS)])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    content: bytes = model.SerializeToString()
    path.write_bytes(content)
    card = Card(
        name="tiny",
        labels=LABELS,
        input_size=size,
        mean=0.5,
        std=0.25,
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=weights.size,
    )
    path.with_suffix(".json").write_text(card.model_dump_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with FER2013 and detector weights beside the checkout; skips the test where there is none."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the shared data folder beside the checkout")
    return folder


@pytest.fixture
def predict(tiny_model: Path) -> Predict:
    """`mien predict` with the tiny model and the cascade unless told otherwise."""
    from command import mien

    def predict(*arguments: object, model: object = tiny_model, detector: str | None = "haar") -> Done:
        return mien("predict", *arguments, "--model", model, *(("--detector", detector) if detector else ()))

    return predict


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    """The shipped network behind the cascade, which needs no download."""
    import mien

    return mien.load(detector="haar", threads=1)


@pytest.fixture(scope="module")
def server(analyzer: Analyzer) -> Iterator[Server]:
    """A server for a whole file of tests, with the settings that it has by itself."""
    from serving import serving

    with serving(analyzer) as server:
        yield server


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One without a camera."""
    from browser import chromium

    with chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """`mien serve` as a process of its own, for a whole file of tests."""
    from browser import serving

    with serving() as site:
        yield site


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[Watched]:
    """The page in the browser; at the end it has complained about nothing."""
    from browser import watching

    with watching(browser, site) as tab:
        yield tab
