"""For tests of detectors: photographs in which the faces are marked, made of the astronaut's picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.photographs import Photograph

BOX = (178.0, 65.0, 269.0, 176.0)
LANDMARKS = ((203.0, 104.0), (248.0, 104.0), (224.0, 128.0), (204.0, 143.0), (243.0, 144.0))
"""The astronaut's face and its landmarks, by eye."""
SCENE = (0, 260, 300, 512)
"""A piece of that photograph without a face: x1 y1 x2 y2."""


def marked(pixels: NDArray[np.uint8], boxes: object = (), landmarks: object = (), ignore: object = ()) -> Photograph:
    """A picture, without loss, and what is in it."""
    content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    return _photograph(content, boxes, landmarks, ignore)


def _photograph(content: bytes, boxes: object = (), landmarks: object = (), ignore: object = ()) -> Photograph:
    there, points, doubtful = (np.array(value, np.float32) for value in (boxes, landmarks, ignore))
    return Photograph(
        content, there.reshape(-1, 4), points.reshape(-1, 5, 2), doubtful.reshape(-1, 4), "portrait", "made:0"
    )


def held_out(pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """The picture as JPEGs of falling quality, those whose hash puts them among the held-out ones."""
    picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    for quality in range(98, 40, -1):
        content = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
        if _photograph(content).part == "validation":
            yield content


def write_photographs(path: Path, astronaut: NDArray[np.uint8]) -> str:
    """A Parquet file with one portrait and one scene, both held out; gives its SHA-256."""
    import polars as pl

    x1, y1, x2, y2 = SCENE
    rows = [(next(held_out(astronaut)), "portrait"), (next(held_out(astronaut[y1:y2, x1:x2])), "scene")]
    table = pl.DataFrame(
        {
            "image": [content for content, _ in rows],
            "kind": [kind for _, kind in rows],
            "faces": [[list(BOX)] if kind == "portrait" else [] for _, kind in rows],
            "landmarks": [[[list(point) for point in LANDMARKS]] if kind == "portrait" else [] for _, kind in rows],
            "ignore": [[] for _ in rows],
        },
        schema={
            "image": pl.Binary,
            "kind": pl.String,
            "faces": pl.List(pl.List(pl.Float32)),
            "landmarks": pl.List(pl.List(pl.List(pl.Float32))),
            "ignore": pl.List(pl.List(pl.Float32)),
        },
    )
    table.write_parquet(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_folder(folder: Path, astronaut: NDArray[np.uint8]) -> None:
    """A picture with a face and a doubtful region, and one without either."""
    folder.mkdir()
    x1, y1, x2, y2 = SCENE
    for name, pixels in (("face.png", astronaut), ("scene.png", astronaut[y1:y2, x1:x2])):
        cv2.imwrite(str(folder / name), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    lines = ["image,x1,y1,x2,y2,ignore", f"face.png,{','.join(map(str, BOX))},", "face.png,0,0,30,40,1"]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def write_album(path: Path, astronaut: NDArray[np.uint8]) -> None:
    """Make a Parquet file with 60 portraits and 20 scenes, told apart by the quality of their compression."""
    import polars as pl

    x1, y1, x2, y2 = SCENE
    rows = []
    for quality in range(40, 100):
        for pixels, face in ((astronaut, True), (astronaut[y1:y2, x1:x2], False)):
            if face or quality % 3 == 0:
                code = cv2.imencode(
                    ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality)
                )
                rows.append(
                    {
                        "image": code[1].tobytes(),
                        "faces": [list(BOX)] * face,
                        "landmarks": [[list(point) for point in LANDMARKS]] * face,
                        "ignore": [],
                    }
                )
    boxes = pl.List(pl.List(pl.Float32))
    columns = [("image", pl.Binary()), ("faces", boxes), ("landmarks", pl.List(boxes)), ("ignore", boxes)]
    pl.DataFrame(rows, schema=columns).write_parquet(path)
