"""An honest client of the server, in a process of its own: a picture five times a second, and as many frames.

Prints a line of JSON for each answer: when it was asked, what, after how many milliseconds the answer came, and what
was wrong with it. Ends when its standard input does.
"""

from __future__ import annotations

import http.client
import json
import struct
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from abuse.trial import photograph

PERIOD = 0.2


def main() -> None:
    host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    content = BytesIO()
    Image.fromarray(np.asarray(photograph(256))).save(content, "JPEG")
    picture, stop, lock = content.getvalue(), threading.Event(), threading.Lock()

    def every_period(what: str, ask: Callable[[int], str]) -> None:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            asked, at = time.perf_counter(), time.time()
            try:
                problem = ask(number)
            except (OSError, http.client.HTTPException, EOFError, RuntimeError) as error:
                problem = f"{type(error).__name__}: {error}"
            took = 1000 * (time.perf_counter() - asked)
            with lock:
                print(
                    json.dumps({"at": at, "what": what, "milliseconds": round(took, 1), "problem": problem}), flush=True
                )
            number += 1
            stop.wait(max(0.0 if not problem else PERIOD, began + number * PERIOD - time.monotonic()))

    line = http.client.HTTPConnection(host, port, timeout=30)

    def post(_: int) -> str:
        try:
            line.request(
                "POST", "/v1/analyze", picture, {"Content-Type": "image/jpeg", "Authorization": f"Bearer {token}"}
            )
            answer = line.getresponse()
            text = answer.read()
        except BaseException:
            line.close()
            raise
        return "" if answer.status == 200 and b'"box"' in text else f"{answer.status} {text[:100]!r}"

    def watch() -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        protocols = [Subprotocol("mien.v1"), Subprotocol(f"bearer.{token}")]
        while not stop.is_set():
            try:
                with connect(f"ws://{host}:{port}/v1/stream", subprotocols=protocols, compression=None) as socket:
                    socket.recv(30)

                    def send(number: int) -> str:
                        socket.send(struct.pack("<IId", number, 0, number * PERIOD) + picture)
                        kind = json.loads(socket.recv(30))["type"]
                        return "" if kind == "faces" else kind

                    every_period("frame", send)
            except (OSError, WebSocketException) as error:
                with lock:
                    problem = f"{type(error).__name__}: {error}"
                    print(
                        json.dumps({"at": time.time(), "what": "frame", "milliseconds": 0, "problem": problem}),
                        flush=True,
                    )
                stop.wait(1)

    for work in (lambda: every_period("picture", post), watch):
        threading.Thread(target=work, daemon=True).start()
    sys.stdin.read()
    stop.set()
    time.sleep(1)


if __name__ == "__main__":
    main()
