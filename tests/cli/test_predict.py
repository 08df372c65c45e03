"""The verb as people use it: real files in, exit codes and readable or parseable text out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Predict
from numpy.typing import NDArray
from PIL import Image

from mien.labels import LABELS


@pytest.fixture
def photos(astronaut: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A folder with one face, two faces in a folder below, and a picture without any."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(astronaut).save(folder / "a one.png")
    Image.fromarray(np.hstack([astronaut, astronaut[:, ::-1]])).save(folder / "more" / "two.jpg", quality=95)
    Image.fromarray(np.full((90, 120, 3), 130, np.uint8)).save(folder / "more" / "wall.gif")
    return folder


# What is printed


def test_json_says_what_was_seen(predict: Predict, photos: Path) -> None:
    done = predict(photos, "--json")
    assert (done.code, done.err) == (0, "")
    one, two, wall = done.objects
    assert [Path(o["source"]).name for o in (one, two, wall)] == ["a one.png", "two.jpg", "wall.gif"]
    assert list(one) == ["schema", "source", "width", "height", "detector", "model", "faces"]
    assert (one["width"], one["height"], one["detector"], one["model"]) == (512, 512, "haar", "tiny")
    assert (len(one["faces"]), len(two["faces"]), wall["faces"]) == (1, 2, [])
    (face,) = one["faces"]
    assert list(face) == ["box", "score", "landmarks", "label", "confidence", "probabilities"]
    x1, y1, x2, y2 = face["box"]
    assert x1 < 224 < x2, "the astronaut's nose"
    assert y1 < 115 < y2
    assert np.shape(face["landmarks"]) == (5, 2)
    assert list(face["probabilities"]) == list(LABELS)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert face["label"] == max(face["probabilities"], key=face["probabilities"].get)
    assert face["confidence"] == face["probabilities"][face["label"]]


def test_people_get_a_table(predict: Predict, photos: Path) -> None:
    label = predict(photos / "a one.png", "--json").objects[0]["faces"][0]["label"]
    done = predict(photos)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert label in next(line for line in lines if "a one.png" in line)
    assert "no face" in next(line for line in lines if "wall.gif" in line)
    assert "3 faces in 2 of 3 images" in lines[-1]
    assert "detector haar, model tiny" in lines[-1]


def test_long_paths_are_whole_in_a_pipe(predict: Predict, photos: Path) -> None:
    deep = photos / ("long" * 30) / ("name" * 20)
    deep.mkdir(parents=True)
    (photos / "more" / "wall.gif").rename(deep / "wall.gif")
    assert str(deep / "wall.gif") in predict(photos).out


def test_order_is_that_of_the_input(predict: Predict, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    paths = []
    for i in range(9):  # the large ones, which take longest, first
        side = 300 if i < 3 else 30
        paths.append(tmp_path / f"{i:02d}.png")
        Image.fromarray(np.resize(astronaut, (side, side, 3))).save(paths[-1], compress_level=1)
    done = predict(*reversed(paths), "--json", "--jobs", "4")
    assert [Path(o["source"]) for o in done.objects] == paths[::-1]
    assert predict(*reversed(paths), "--json", "--jobs", "1").out == done.out


def test_uncertain_below_the_limit(predict: Predict, photos: Path) -> None:
    done = predict(photos / "a one.png", "--json", "--min-confidence", "1")
    assert done.objects[0]["faces"][0]["label"] == "uncertain"
    assert "uncertain" in predict(photos / "a one.png", "--min-confidence", "1").out


def test_the_detector_in_the_package_needs_no_network(
    predict: Predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    done = predict(photos, "--json", detector=None)
    assert (done.code, done.err) == (0, "")
    assert [(o["detector"], len(o["faces"])) for o in done.objects] == [("mien", 1), ("mien", 2), ("mien", 0)]
    assert not (tmp_path / "home").exists()


def test_a_detector_file_of_ones_own(predict: Predict, photos: Path, shared: Path) -> None:
    weights = shared / "models" / "yunet_n_dynamic.onnx"
    done = predict(photos, "--json", "--detector-weights", weights, detector=None)
    assert (done.code, done.err) == (0, "")
    assert [(o["detector"], len(o["faces"])) for o in done.objects] == [("yunet", 1), ("yunet", 2), ("yunet", 0)]


# What is written


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_table_holds_the_same_as_json(predict: Predict, photos: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"faces.{ending}"
    done = predict(photos, "--json", "--table", path)
    assert done.code == 0
    if ending == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        import polars as pl

        rows = pl.read_parquet(path).to_dicts()
    expected = [(o["source"], f["label"], f["confidence"], f["box"][0]) for o in done.objects for f in o["faces"]]
    assert [
        (r["source"], r["label"], float(r["confidence"]), float(r["x1"] if "x1" in r else r["box"][0])) for r in rows
    ] == expected


def test_saved_images_lie_as_the_originals_do(predict: Predict, photos: Path, tmp_path: Path) -> None:
    (photos / "more" / "a one.png").write_bytes((photos / "a one.png").read_bytes())
    (photos / "more" / "wall.gif.png").write_bytes((photos / "a one.png").read_bytes())
    out = tmp_path / "new" / "out"
    done = predict(photos, "--save", out)
    assert (done.code, done.err) == (0, "")
    saved = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert saved == ["a one.png", "more/a one.png", "more/two.jpg", "more/wall.gif.png", "more/wall.gif_.png"]
    with Image.open(photos / "a one.png") as original, Image.open(out / "a one.png") as annotated:
        assert annotated.size == original.size
        assert (np.array(annotated) != np.array(original)).any()


def test_same_names_from_different_folders(predict: Predict, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a one.png").write_bytes((photos / "a one.png").read_bytes())
    out = tmp_path / "out"
    assert predict(photos / "a one.png", other, "--save", out).code == 0
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.png")) == ["other/a one.png", "photos/a one.png"]


def test_originals_are_never_overwritten(predict: Predict, photos: Path) -> None:
    before = {p: p.read_bytes() for p in photos.rglob("*") if p.is_file()}
    done = predict(photos, "--save", photos)
    assert done.code == 1
    assert "overwrite" in done.errors[0]
    assert {p: p.read_bytes() for p in photos.rglob("*") if p.is_file()} == before


# What goes wrong


def test_bad_files_are_listed_and_the_rest_goes_on(
    predict: Predict, photos: Path, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    (photos / "empty.jpg").touch()
    (photos / "letter.jpg").write_text("Dear reader")
    (photos / "cut.jpg").write_bytes((photos / "more" / "two.jpg").read_bytes()[:3000])
    Image.fromarray(np.zeros((1, 60_000), np.uint8)).save(photos / "thin.png")
    Image.fromarray(astronaut[..., 0].astype(np.uint16) * 257).save(photos / "deep.png")
    Image.fromarray(astronaut).convert("CMYK").save(photos / "cmyk.jpg")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    (tmp_path / "void").mkdir()
    table = tmp_path / "faces.csv"
    arguments = (photos, tmp_path / "nowhere.png", tmp_path / "void", "--table", table, "--save", tmp_path / "out")
    done = predict(*arguments, "--json")
    assert done.code == 1
    assert len(done.errors) == 6
    for name in ("empty.jpg", "letter.jpg", "cut.jpg", "thin.png", "nowhere.png", "void"):
        assert sum(name in sentence for sentence in done.errors) == 1, name
    faces = {Path(o["source"]).name: len(o["faces"]) for o in done.objects}
    assert faces == {"a one.png": 1, "cmyk.jpg": 1, "deep.png": 1, "dot.png": 0, "two.jpg": 2, "wall.gif": 0}
    assert len(table.read_text("utf-8").splitlines()) == 1 + 5
    assert not list((tmp_path / "out").glob("*.part"))
    shown = predict(*arguments)
    assert shown.code == 1
    assert "failed" in next(line for line in shown.out.splitlines() if "empty.jpg" in line)
    assert "6 failed" in shown.out.splitlines()[-1]


def test_nothing_to_read(predict: Predict, tmp_path: Path) -> None:
    done = predict(tmp_path, "--json")
    assert (done.code, done.out) == (1, "")
    assert "without images" in done.errors[0]


def test_broken_models(predict: Predict, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    weights, card = tmp_path / "m.onnx", tmp_path / "m.json"
    right = tiny_model.with_suffix(".json").read_text("utf-8")

    def sentence(content: bytes | None, text: str | None) -> str:
        for path, value in ((weights, content), (card, None if text is None else text.encode())):
            path.unlink(missing_ok=True)
            if value is not None:
                path.write_bytes(value)
        done = predict(photos, "--json", model=weights)
        assert (done.code, done.out) == (1, "")
        (error,) = done.errors
        return error

    content = tiny_model.read_bytes()
    assert "cannot read" in sentence(None, right)
    assert "cannot read" in sentence(content, None)
    assert "broken" in sentence(content, "{")
    assert "SHA-256" in sentence(content + b"x", right)
    rubbish = b"no network at all"
    from hashlib import sha256

    digest = sha256(rubbish).hexdigest()
    assert "no ONNX network" in sentence(rubbish, json.dumps(json.loads(right) | {"sha256": digest}))
    assert "disagree" in sentence(content, json.dumps(json.loads(right) | {"input_size": 64}))


def test_unknown_names_are_guessed(predict: Predict, photos: Path) -> None:
    assert "did you mean 'haar'" in predict(photos, detector="har").errors[0]
    assert "no model 'nosuch'" in predict(photos, model="nosuch").errors[0]
    assert "did you mean '.csv'" in predict(photos, "--table", "faces.cvs").errors[0]


def test_unknown_options_exit_with_two(predict: Predict, photos: Path) -> None:
    assert predict(photos, "--nonsense").code == 2


def test_places_that_cannot_be_written(predict: Predict, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = predict(photos / "a one.png", "--save", tmp_path / "file")
    assert done.code == 1
    assert "cannot write" in done.errors[0]
    done = predict(photos / "a one.png", "--table", tmp_path / "file" / "faces.csv")
    assert done.code == 1
    assert "cannot write" in done.errors[0]


@pytest.mark.skipif(sys.platform != "linux", reason="file names elsewhere are always text")
def test_a_name_that_is_no_text(predict: Predict, photos: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(photos) + b"/\xff.png")
    (photos / "a one.png").rename(strange)
    done = predict(photos, "--table", tmp_path / "faces.csv")
    assert (done.code, done.err) == (0, "")
    assert "\\udcff.png" in done.out
    Path(strange).write_text("no image")
    done = predict(photos)
    assert done.code == 1
    assert len(done.errors) == 1


# As a process of its own


def command(tiny_model: Path, *arguments: str | Path) -> list[str]:
    words = [sys.executable, "-m", "mien.cli", "predict", *arguments, "--model", tiny_model, "--detector", "haar"]
    return list(map(str, words))


def test_a_process_of_its_own(photos: Path, tiny_model: Path) -> None:
    (photos / "empty.jpg").touch()
    done = subprocess.run(command(tiny_model, photos, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    assert done.stderr.splitlines() == [f"error: {photos / 'empty.jpg'} is empty (0 bytes)"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_progress_bar_does_not_swallow_results(photos: Path, tiny_model: Path) -> None:
    controller, terminal = os.openpty()
    try:
        done = subprocess.run(
            command(tiny_model, photos, "--json"), stdout=subprocess.PIPE, stderr=terminal, text=True, check=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(terminal)
        shown = os.read(controller, 100_000).decode()
    finally:
        os.close(controller)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    assert "pictures" in shown
    assert '"source"' not in shown


def test_a_reader_that_leaves_early(photos: Path, tiny_model: Path) -> None:
    with subprocess.Popen(
        command(tiny_model, *[photos / "a one.png", photos], "--json", "--jobs", "1"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
