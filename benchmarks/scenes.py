"""The end-to-end proof: is a face read as well inside a large picture as its own crop is?

    python benchmarks/scenes.py --data sets/fer2013 --json scenes.json

Pastes the PublicTest faces of FER2013 into generated 1280x720 scenes, at several sizes and turned by up to 25
degrees, detects, crops and classifies them as any user would, and compares with classifying the original crops
of the same faces. Misses are counted apart: a face that was not found is neither right nor wrong.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mien
from mien.data import prepared
from mien.provenance import provenance

WIDTH, HEIGHT = 1280, 720
SIZES = (48, 64, 96, 128, 200, 300)
MAX_TILT = 25.0


def background(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Coloured clouds: structure at all scales and no face."""
    scene = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cells in (4, 12, 40, 160):
        noise = rng.random((cells * 9 // 16 + 1, cells, 3), np.float32)
        scene += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * (90 / cells**0.35)
    return np.clip(scene + 20, 0, 255).astype(np.uint8)


def paste(scene: NDArray[np.uint8], face: NDArray[np.uint8], x: float, y: float, size: int, tilt: float) -> None:
    """Lay a grey face of `size` pixels into the scene, centred at x, y and turned by `tilt` degrees."""
    side = int(size * 1.5)  # holds the face at any tilt
    left, top = int(x) - side // 2, int(y) - side // 2
    turn = cv2.getRotationMatrix2D(((face.shape[1] - 1) / 2, (face.shape[0] - 1) / 2), tilt, size / face.shape[0])
    turn[:, 2] += np.array([x - left, y - top]) - (face.shape[0] - 1) / 2
    flat = np.repeat(face[..., None], 3, 2)
    laid = cv2.warpAffine(flat, turn, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.ones(face.shape, np.float32), turn, (side, side))[..., None]
    place = np.s_[max(top, 0) : top + side, max(left, 0) : left + side]
    inside = np.s_[max(-top, 0) :, max(-left, 0) :]
    there = scene[place]
    laid, mask = laid[inside][: len(there), : there.shape[1]], mask[inside][: len(there), : there.shape[1]]
    scene[place] = (there * (1 - mask) + laid * mask).astype(np.uint8)


def run_size(
    analyzer: mien.Analyzer, images: NDArray[np.uint8], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which faces were found, and what they were read as."""
    cell = int(size * 1.5) + 8
    columns, rows = WIDTH // cell, HEIGHT // cell
    per_scene = max(1, min(8, columns * rows))
    found, read = np.zeros(len(images), bool), np.zeros(len(images), np.intp)
    for first in track(range(0, len(images), per_scene), f"{size} px"):
        scene = background(rng)
        places = []
        for spot, face in zip(rng.permutation(columns * rows), images[first : first + per_scene], strict=False):
            x, y = (spot % columns + 0.5) * cell, (spot // columns + 0.5) * cell
            paste(scene, face, x, y, size, rng.uniform(-MAX_TILT, MAX_TILT))
            places.append((x, y))
        faces = analyzer.analyze(scene)
        assert faces.probs is not None
        centers = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        for i, place in enumerate(places):
            distances = np.hypot(*(centers - place).T)
            if len(distances) and distances.min() < size / 3:
                found[first + i] = True
                read[first + i] = faces.probs[distances.argmin()].argmax()
    return found, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set of FER2013")
    parser.add_argument("--model", default=None)
    parser.add_argument("--detector", default=None)
    parser.add_argument("--detector-weights", type=Path, default=None)
    parser.add_argument("--images", type=int, default=3589)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    analyzer = mien.load(args.model, args.detector, args.detector_weights)
    faces = prepared.load(args.data).split("validation")
    images, labels = faces.images[: args.images], faces.labels[: args.images]
    original = analyzer.classify(images).argmax(1)
    table = Table(title=f"{len(images)} PublicTest faces in 1280x720 scenes, turned by up to {MAX_TILT:.0f}°")
    for column in ("face px", "missed", "as own crop", "end to end", "difference", "same label"):
        table.add_column(column, justify="right")
    rows = []
    for size in SIZES:
        found, read = run_size(analyzer, images, size, np.random.default_rng(size))
        whole = float((original[found] == labels[found]).mean())
        end_to_end = float((read[found] == labels[found]).mean())
        rows.append(
            {
                "size": size,
                "missed": float(1 - found.mean()),
                "crop_accuracy": whole,
                "end_to_end_accuracy": end_to_end,
                "agreement": float((read[found] == original[found]).mean()),
            }
        )
        table.add_row(
            str(size), f"{1 - found.mean():.1%}", f"{whole:.2%}", f"{end_to_end:.2%}",
            f"{100 * (end_to_end - whole):+.2f} points", f"{rows[-1]['agreement']:.1%}",
        )  # fmt: skip
    Console().print(table)
    if args.json:
        about = {"detector": analyzer.detector.name, "model": analyzer.classifier.card.name, "split": "PublicTest"}
        args.json.write_text(json.dumps({**provenance(), **about, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
