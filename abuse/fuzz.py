"""Coverage-guided fuzzing of what parses bytes that mien itself defined, with atheris.

    python -m abuse.fuzz --seconds 600                  # all targets, one after another
    python -m abuse.fuzz --target card --seconds 60     # one of them
    python -m abuse.fuzz --target card --input FILE     # an input again

A target takes bytes and may raise MienError, which is how mien refuses. Anything else is a finding; each place in the
code is reported once, with the input that led there. atheris is no dependency: pip install atheris.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from abuse.children import ROOT
from mien.errors import MienError
from mien.provenance import provenance

Parse = Callable[[bytes], object]


@cache
def _place() -> Path:
    """A folder for the files that are parsed; the process that starts the fuzzers has it removed."""
    return Path(tempfile.mkdtemp(prefix="mien-fuzz-"))


def _memory() -> str | None:
    """A folder in memory, where the system has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _file(name: str, content: bytes) -> Path:
    path = _place() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _card(content: bytes) -> None:
    from mien import models

    _file("model.json", content)
    models.load(_file("model.onnx", b"weights"))


def _detector_card(content: bytes) -> None:
    from mien import models

    _file("finder.json", content)
    models.load_detector(_file("finder.onnx", b"weights"))


def _recipe(content: bytes) -> None:
    from mien.training import reading

    reading.read(_file("a.toml", content))


def _setting(content: bytes) -> None:
    from mien.training import reading

    reading.read("tiny", [content.decode("utf-8", "replace")])


def _set(content: bytes) -> None:
    """The description and the manifest of a prepared set, parted by a zero; its pictures are not there."""
    from mien.data import prepared

    about, _, manifest = content.partition(b"\0")
    _file("set/set.json", about)
    _file("set/manifest.csv", manifest)
    for load in (prepared.load_labels, prepared.load_counts, prepared.load):
        load(_place() / "set")


def _boxes(content: bytes) -> None:
    from mien.data import photographs

    _file("photos/a.png", b"")
    _file("photos/boxes.csv", content)
    photographs.read_folder(_place() / "photos")


def _fer(content: bytes) -> None:
    from mien.data.readers.fer_csv import read_csv

    read_csv(_file("fer.csv", content), 48)


def _votes(content: bytes) -> None:
    from mien.data.readers.fer_csv import read_csv, read_votes

    rows = read_csv(_file("one.csv", b"emotion,pixels,Usage\n0,1 2 3 4,Training\n"), 48)
    read_votes(_file("votes.csv", content), rows)


def _scores(content: bytes) -> None:
    from mien.evaluation.expression.scores import read_scores

    read_scores(_file("scores.json", content))


def _run_folder(content: bytes) -> None:
    """A run's description, table and recipe, parted by zeros."""
    from mien.evaluation.expression.training_log import read_training_log
    from mien.training.run_folder import RunFolder

    parts = [*content.split(b"\0", 2), b"", b""]
    for name, part in zip(("run.json", "metrics.csv", "recipe.json"), parts, strict=False):
        _file(f"run/{name}", part)
    folder = RunFolder(_place() / "run")
    for read in (lambda: folder.plan, lambda: folder.about, folder.history):
        try:
            found: Any = read()
            if callable(found):
                found()
        except MienError:
            continue
    read_training_log(_place() / "run")


def _recording(content: bytes) -> None:
    """A recording that a browser sends back, to a table and captions, through the application itself."""
    for kind in ("csv", "vtt"):
        _asked("POST", f"/v1/recordings?format={kind}", content)


@cache
def _app() -> Any:
    import mien
    from mien.serve.app import create_app
    from mien.serve.settings import Settings

    app = create_app(
        mien.load(detector="haar", threads=1), Settings(hosts=None, requests_per_second=1e9, frames_per_second=1e9)
    )
    app.state.service.open()
    return app


def _asked(method: str, path: str, content: bytes) -> None:
    name, _, query = path.partition("?")
    headers = [(b"host", b"a"), (b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": name,
        "raw_path": name.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("a", 80),
        "scheme": "http",
        "root_path": "",
    }
    messages = [{"type": "http.request", "body": content, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    _loop().run_until_complete(_app()(scope, receive, send))
    assert statuses
    assert statuses[0] < 500, f"answered with {statuses[0]}"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _messages(content: bytes) -> None:
    """Messages of a viewer of the stream, parted by two zeros; those that begin with `t` are text."""
    from mien.serve.guard import PROTOCOL

    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "path": "/v1/stream",
        "raw_path": b"/v1/stream",
        "query_string": b"",
        "headers": [(b"host", b"a")],
        "client": ("127.0.0.1", 1),
        "server": ("a", 80),
        "scheme": "ws",
        "root_path": "",
        "subprotocols": [PROTOCOL],
        "http_version": "1.1",
    }
    messages: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    for part in content.split(b"\0\0")[:8]:
        text = part[1:].decode("utf-8", "ignore")
        messages.append({"type": "websocket.receive", **({"text": text} if part[:1] == b"t" else {"bytes": part})})
    closed: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            closed.append(message.get("code", 1000))

    _loop().run_until_complete(_app()(scope, receive, send))
    assert 1011 not in closed, "the server fails"


_FACE = {
    "id": 1,
    "box": [1.0, 2.0, 30.0, 40.0],
    "score": 0.9,
    "landmarks": None,
    "label": "happy",
    "confidence": 0.9,
    "probabilities": {
        "angry": 0.0,
        "disgust": 0.0,
        "fear": 0.0,
        "happy": 1.0,
        "neutral": 0.0,
        "sad": 0.0,
        "surprise": 0.0,
    },
}
_FRAME = {"sequence": 0, "time": 0.0, "width": 50, "height": 50, "faces": [_FACE]}


def _shipped(name: str) -> bytes:
    return (ROOT / "src" / "mien" / name).read_bytes()


TARGETS: dict[str, tuple[Parse, Callable[[], list[bytes]]]] = {
    "card": (_card, lambda: [_shipped("weights/base.json")]),
    "detector-card": (_detector_card, lambda: [_shipped("weights/detector/mien.json")]),
    "recipe": (
        _recipe,
        lambda: [_shipped(f"recipes/{name}.toml") for name in ("tiny", "base", "detector", "finetune")],
    ),
    "setting": (_setting, lambda: [b"optim.lr=0.1", b"model.widths=[8,16]", b"augment.scale=[0.9,1.1]", b"name='x'"]),
    "set": (
        _set,
        lambda: [
            b'{"format": "contact sheets of 16x16 grey crops, lossless WebP", "version": 1, "size": 16, "images": 1}\0'
            b"id,source,split,label,votes,hash,flags\r\n0,a.png,train,happy,1 0 0 0 0 0 0 0 0 9,0011223344556677,\r\n",
        ],
    ),
    "boxes": (_boxes, lambda: [b"image,x1,y1,x2,y2,ignore\na.png,1,2,3,4,0\na.png,1,2,3,4,1\n"]),
    "fer": (_fer, lambda: [b"emotion,pixels,Usage\n0,1 2 3 4,Training\n3,9 9 9 9,PublicTest\n"]),
    "votes": (
        _votes,
        lambda: [
            b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
            b"Training,a.png,1,2,0,0,0,0,0,0,7,0\n"
        ],
    ),
    "scores": (_scores, lambda: [b'{"version":3,"model":"base","split":"test"}']),
    "run-folder": (
        _run_folder,
        lambda: [
            b'{"mien":"0.1.0","device":"cpu","facts":{}}\0'
            b"epoch,size,lr,train_loss,train_accuracy,validation_loss,validation_accuracy,images_per_second\n"
            b'1,48,0.1,1,0.5,1,0.5,100\n\0{"name":"x"}',
        ],
    ),
    "recording": (_recording, lambda: [json.dumps({"name": "x", "frames": [_FRAME]}).encode()]),
    "messages": (
        _messages,
        lambda: [
            b't{"type":"settings","smoothing":true,"min_confidence":0.5}\0\0t{"type":"reset"}',
            bytes(16) + b"\xff\xd8\xff\xe0",
            b"\1" * 24,
        ],
    ),
}
"""Each with inputs that it takes, from which others are made."""


def _fuzz(name: str, seconds: int, report: Path) -> None:
    """Never returns; runs in a process of its own. Findings go to `report`, one JSON object a line."""
    import atheris

    parse, examples = TARGETS[name]
    with atheris.instrument_imports(include=["mien"]):
        parse(examples()[0]) if name in {"recording", "messages", "setting", "boxes", "fer"} else _try(
            parse, examples()[0]
        )
    corpus = _place() / "corpus"
    corpus.mkdir()
    for k, example in enumerate(examples()):
        (corpus / str(k)).write_bytes(example)
    seen: set[str] = set()

    def once(content: bytes) -> None:
        try:
            parse(content)
        except MienError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            frames = traceback.extract_tb(error.__traceback__)
            where = next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if "/mien/" in f.filename), "")
            if where not in seen:
                seen.add(where)
                found = {
                    "target": name,
                    "error": f"{type(error).__name__}: {error}"[:300],
                    "where": where,
                    "input": content.hex(),
                }
                with report.open("a") as file:
                    file.write(json.dumps(found) + "\n")

    options = [
        f"-max_total_time={seconds}",
        "-max_len=20000",
        "-rss_limit_mb=6000",
        "-timeout=20",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


def _try(parse: Parse, content: bytes) -> None:
    try:
        parse(content)
    except MienError:
        return


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m abuse.fuzz", description="Fuzz what mien parses, guided by coverage."
    )
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; may be repeated")
    parser.add_argument("--seconds", type=int, default=300, help="of each target")
    parser.add_argument("--input", type=Path, help="parse this file with the target, and nothing else")
    parser.add_argument("--json", type=Path, help="write what was found here")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    wanted = args.target or list(TARGETS)
    if args.input:
        TARGETS[wanted[0]][0](args.input.read_bytes())
        return
    if args.report:
        _fuzz(wanted[0], args.seconds, args.report)
    about, console, rows = provenance(), Console(), []
    with tempfile.TemporaryDirectory(prefix="mien-fuzz-", dir=_memory()) as folder:
        report = Path(folder) / "found"
        report.touch()
        for name in wanted:
            command = [
                sys.executable,
                "-m",
                "abuse.fuzz",
                "--target",
                name,
                "--seconds",
                str(args.seconds),
                "--report",
                str(report),
            ]
            paths = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
            done = subprocess.run(
                command,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": paths, "TMPDIR": folder},
                errors="replace",
            )
            runs = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
            coverage = re.findall(r"cov: (\d+)", done.stderr)
            row = {
                "target": name,
                "runs": int(runs[-1]) if runs else 0,
                "coverage": int(coverage[-1]) if coverage else 0,
                "exit": done.returncode,
            }
            if done.returncode:
                row["end"] = done.stderr[-1500:]
            rows.append(row)
            console.print(Text(str(row)))
        found = [json.loads(line) for line in report.read_text().splitlines()]
    table = Table("target", "inputs", "branches", "findings", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            str(row["target"]),
            f"{row['runs']:,}",
            str(row["coverage"]),
            str(sum(f["target"] == row["target"] for f in found)),
        )
    console.print(table)
    for one in found:
        console.print(
            Text(f"{one['target']}: {one['error']} at {one['where']}; input {one['input'][:200]}"), soft_wrap=True
        )
    if args.json:
        args.json.write_text(
            json.dumps({**about, "seconds": args.seconds, "targets": rows, "findings": found}, indent=2) + "\n"
        )
    if found or any(row["exit"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
