"""`mien predict` on moving pictures: what is printed, what is written, and what stops it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Done, Predict
from films import NTSC, make_faces_film, make_film, packets
from numpy.typing import NDArray
from PIL import Image

from mien.media.opening import open_frames


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    return make_faces_film(tmp_path_factory.mktemp("film") / "two people.mp4", astronaut)


def people(done: Done) -> set[int]:
    return {face["id"] for o in done.objects for face in o["faces"]} - {0}


def test_json_for_every_frame(predict: Predict, film: Path) -> None:
    done = predict(film, "--json", "--every", "3")
    assert (done.code, done.err) == (0, "")
    assert [o["frame"] for o in done.objects] == list(range(0, 60, 3))
    assert [o["time_s"] for o in done.objects] == [round(float(i * NTSC), 6) for i in range(0, 60, 3)]
    assert list(done.objects[0]) == [
        "schema",
        "source",
        "frame",
        "time_s",
        "width",
        "height",
        "detector",
        "model",
        "faces",
    ]
    assert people(done) == {1, 2, 3}
    assert next(iter(done.objects[0]["faces"][0])) == "id"


def test_a_part_of_it(predict: Predict, film: Path) -> None:
    times = [o["time_s"] for o in predict(film, "--json", "--start", "0.5", "--end", "1", "--max-fps", "10").objects]
    assert len(times) == 5
    assert all(0.5 <= t < 1 for t in times)


def test_people_get_a_table(predict: Predict, film: Path) -> None:
    done = predict(film, "--every", "2")
    assert (done.code, done.err) == (0, "")
    assert "two people.mp4" in done.out
    rows = [line.split()[0] for line in done.out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == ["1", "2", "3", "3"]
    assert "3 people in" in done.out
    assert "30 frames" in done.out


def test_everything_that_is_written(predict: Predict, film: Path, tmp_path: Path) -> None:
    table, line, told = tmp_path / "faces.csv", tmp_path / "line.png", tmp_path / "episodes.json"
    written = ("--table", table, "--save", tmp_path / "out", "--timeline", line, "--episodes", told)
    done = predict(film, "--json", *written)
    assert (done.code, done.err) == (0, "")
    with table.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    expected = [(o["frame"], f["id"], f["label"], f["quality"]) for o in done.objects for f in o["faces"]]
    assert [(int(r["frame"]), int(r["id"]), r["label"], float(r["quality"])) for r in rows] == expected
    raw = [f["raw_probabilities"]["happy"] for o in done.objects for f in o["faces"]]
    assert [float(r["raw_happy"]) for r in rows] == raw
    episodes = json.loads(told.read_text("utf-8"))["episodes"]
    assert {e["id"] for e in episodes} <= {1, 2, 3}
    assert episodes
    seen = {(round(o["time_s"], 3), f["id"]): f["label"] for o in done.objects for f in o["faces"]}
    assert all(seen[e["apex_s"], e["id"]] == e["label"] for e in episodes)
    saved = tmp_path / "out" / "two people.mp4"
    before, after = list(open_frames(film)), list(open_frames(saved))
    assert [f.time for f in after] == [f.time for f in before]
    assert packets(saved, "audio") == packets(film, "audio")
    assert np.abs(after[30].image.astype(int) - before[30].image).max() > 50, "something is drawn"
    with Image.open(line) as picture:
        assert picture.width > 1000


def test_pictures_and_films_together(
    predict: Predict, film: Path, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "a.png")
    (folder / "b.mp4").write_bytes(film.read_bytes())
    Image.fromarray(astronaut).save(folder / "c.png")
    (folder / "d.mp4").touch()
    done = predict(folder, "--json", "--every", "30", "--save", tmp_path / "out")
    assert done.code == 1
    assert [Path(o["source"]).name for o in done.objects] == ["a.png", "b.mp4", "b.mp4", "c.png"]
    assert len(done.errors) == 1
    assert "d.mp4" in done.errors[0]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.mp4", "c.png"]
    shown = predict(folder, "--every", "30")
    assert "2 faces in 2 of 2 images" in shown.out
    assert "b.mp4" in shown.out


def test_a_truncated_film_is_read_as_far_as_it_goes(predict: Predict, film: Path, tmp_path: Path) -> None:
    whole = make_film(tmp_path / "cut.mkv", [f.image for f in open_frames(film)], options={"g": "10"})
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = predict(whole, "--json", "--every", "5", "--save", tmp_path / "out")
    assert done.code == 1
    assert "cut short" in done.errors[0]
    assert done.objects
    assert len(list(open_frames(tmp_path / "out" / "cut.mkv.mp4"))) == len(done.objects)


def test_several_films_get_a_file_each(predict: Predict, film: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(film.read_bytes())
    done = predict(
        tmp_path / "a.mp4", tmp_path / "b.mp4", "--every", "4", "--episodes", tmp_path / "e", "--timeline",
        tmp_path / "t", "--frames", tmp_path / "frames.csv", "--table", tmp_path / "t.csv", "--quiet",
    )  # fmt: skip
    assert (done.code, done.out, done.err) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["a.csv", "b.csv"]
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["a.png", "b.png"]
    lines = (tmp_path / "frames.csv").read_text().splitlines()
    assert len(lines) == 31
    options = json.loads((tmp_path / "t.csv.json").read_text())["options"]
    assert (options["every"], options["smoothing"]) == (4, True)


def test_faces_that_are_small_or_faint_are_left_out(predict: Predict, film: Path) -> None:
    sizes = [
        face["box"][2] - face["box"][0] for o in predict(film, "--json", "--every", "6").objects for face in o["faces"]
    ]
    limit = (min(sizes) + max(sizes)) / 2
    done = predict(film, "--json", "--every", "6", "--min-size", f"{limit:.0f}")
    kept = [face["box"][2] - face["box"][0] for o in done.objects for face in o["faces"]]
    assert 0 < len(kept) < len(sizes)
    assert min(kept) > limit - 5
    assert not [
        face for o in predict(film, "--json", "--every", "6", "--min-score", "1").objects for face in o["faces"]
    ]


def test_one_sentence_each(predict: Predict, film: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for arguments, words in (
        ((tmp_path / "empty.mp4",), "empty"),
        ((film, "--start", "9"), "before the start"),
        (("http://127.0.0.1:9/x.mp4",), "127.0.0.1"),
        (("-",), "--size"),
        ((film, film.parent / "*.mp4", tmp_path / "empty.mp4", "--timeline", tmp_path / "t.png"), "give a folder"),
        ((film, "--timeline", tmp_path / "t.htm"), ".html"),
        ((film, "--save", film.parent), "overwrite"),
    ):
        done = predict(*arguments)
        assert done.code == 1, arguments
        assert len(done.errors) == 1
        assert words in done.errors[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--every", "0"), "every should be a whole number, 1 or greater, not 0"),
        (("--max-fps", "0"), "max_fps should be above 0, not 0.0"),
        (("--max-fps", "nan"), "max_fps should be above 0, not nan"),
        (("--start", "inf"), "start should be 0 or more, not inf"),
        (("--start", "2", "--end", "1"), "end (1 s) should come after start (2 s)"),
        (("--jobs", "0"), "workers should be a whole number, 1 or greater, not 0"),
        (("--min-score", "2"), "min_score should be 0 to 1, not 2.0"),
        (("--min-confidence", "-1"), "min_confidence should be 0 to 1, not -1.0"),
    ],
)
def test_options_that_make_no_sense(predict: Predict, film: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """The library says it; the command adds nothing."""
    done = predict(film, *arguments)
    assert (done.code, done.errors) == (1, [sentence])


def test_raw_frames_need_size_and_rate(predict: Predict, film: Path) -> None:
    assert predict(film, "--size", "12", "--fps", "3").code == 2


def test_raw_frames_through_a_pipe(film: Path, tiny_model: Path) -> None:
    frames = [f.image for f in open_frames(film, every=20)]
    command = [sys.executable, "-m", "mien.cli", "predict", "-", "--size", "320x160", "--fps", "1.5", "--json"]
    done = subprocess.run(
        [*command, "--model", str(tiny_model), "--detector", "haar"],
        input=b"".join(f.tobytes() for f in frames), capture_output=True, check=True,
    )  # fmt: skip
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(o["source"], o["frame"], o["time_s"]) for o in objects] == [
        ("-", 0, 0),
        ("-", 1, 0.666667),
        ("-", 2, 1.333333),
    ]
    assert [len(o["faces"]) for o in objects] == [2, 2, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_files(film: Path, tiny_model: Path, tmp_path: Path, number: signal.Signals) -> None:
    read, write = os.pipe()
    frame = next(open_frames(film)).image
    command = [
        *(sys.executable, "-m", "mien.cli", "predict", "-", "--size", "320x160", "--fps", "25", "--json"),
        *("--save", str(tmp_path / "out"), "--table", str(tmp_path / "faces.csv")),
        *("--model", str(tiny_model), "--detector", "haar", "--jobs", "1"),
    ]
    with subprocess.Popen(command, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            for _ in range(8):  # more than wait anywhere, and no end
                pipe.write(frame.tobytes())
            pipe.flush()
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(0.2)
            process.send_signal(number)
            rest, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert "interrupted" in told
    seen = len((first + rest).splitlines())
    assert len(list(open_frames(tmp_path / "out" / "stdin.mp4"))) == seen
    assert len((tmp_path / "faces.csv").read_text().splitlines()) == 1 + 2 * seen
