"""Every command that writes: what it wrote before, what disturbs it, and whether its files are still whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from abuse.children import Child, Ended
from abuse.trial import Bench, photograph
from mien.labels import LABELS

_RECIPE = """
name = "small"
[model]
input_size = 16
stem_width = 8
widths = [8]
depths = [1]
squeeze_excite = [false]
[optim]
epochs = 2
warmup_epochs = 0
batch_size = 16
"""


def gone_on(bench: Bench, writer: Writer) -> Ended:
    """The command that resumes, or the same once more; a run killed before its recipe was written starts from scratch,
    as the error message asks."""
    words = writer.again or writer.words
    ended = bench.mien(*words)
    if ended.code and "--resume" in words and "holds no run" in ended.err:
        ended = bench.mien(*(word for word in words if word != "--resume"))
    return ended


@dataclass(frozen=True)
class Writer:
    """A command; its words are relative to a folder that holds `inputs/` and, from `before`, older outputs in `out/`.

    before      the commands that made the older outputs
    words       the command that is disturbed
    outputs     its files, or folders that are one thing
    again       a command that must succeed after whatever has happened; it shows that nothing was lost on the way
    """

    name: str
    before: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    outputs: tuple[str, ...]
    again: tuple[str, ...] = ()


def _predict(name: str, source: str, *outputs: str) -> Writer:
    """`mien predict` with options that name files in `out/`, after it has read something else into the same files."""
    older = source.replace("new", "old")
    files = [word for word in outputs if word.startswith("out/")]
    files += [f"{file}.json" for file in files if file.endswith((".csv", ".jsonl")) and "episodes" not in file]
    return Writer(name, (("predict", older, *outputs),), ("predict", source, *outputs), tuple(files))


_TRAIN = ("train", "inputs/small.toml", "--data", "inputs/set", "--threads", "1", "--device", "cpu")

WRITERS = (
    _predict("table-csv", "inputs/new", "--table", "out/faces.csv"),
    _predict("table-jsonl", "inputs/new", "--table", "out/faces.jsonl"),
    _predict("table-parquet", "inputs/new", "--table", "out/faces.parquet"),
    _predict("frames-csv", "inputs/new.mp4", "--frames", "out/frames.csv", "--table", "out/faces.csv"),
    _predict("frames-parquet", "inputs/new.mp4", "--frames", "out/frames.parquet"),
    _predict("episodes-vtt", "inputs/new.mp4", "--episodes", "out/episodes.vtt"),
    _predict("episodes-csv", "inputs/new.mp4", "--episodes", "out/episodes.csv"),
    _predict("episodes-json", "inputs/new.mp4", "--episodes", "out/episodes.json"),
    _predict("episodes-tsv", "inputs/new.mp4", "--episodes", "out/episodes.tsv"),
    _predict("timeline-png", "inputs/new.mp4", "--timeline", "out/timeline.png"),
    _predict("timeline-html", "inputs/new.mp4", "--timeline", "out/timeline.html"),
    Writer(
        "save-pictures",
        (("predict", "inputs/new", "--min-score", "1", "--save", "out"),),
        ("predict", "inputs/new", "--save", "out"),
        ("out/0.png", "out/1.jpg", "out/2.jpg"),
    ),
    Writer(
        "save-film",
        (("predict", "inputs/new.mp4", "--every", "2", "--save", "out"),),
        ("predict", "inputs/new.mp4", "--save", "out"),
        ("out/new.mp4",),
    ),
    Writer(
        "everything",
        (),
        (
            "predict",
            "inputs/new.mp4",
            "--save",
            "out",
            "--table",
            "out/faces.csv",
            "--frames",
            "out/frames.jsonl",
            "--episodes",
            "out/episodes.vtt",
            "--timeline",
            "out/timeline.png",
        ),
        (
            "out/new.mp4",
            "out/faces.csv",
            "out/faces.csv.json",
            "out/frames.jsonl",
            "out/episodes.vtt",
            "out/timeline.png",
        ),
    ),
    Writer(
        "explain",
        (("explain", "inputs/new/0.png", "--save", "out"),),
        ("explain", "inputs/new/0.png", "--save", "out", "--detector", "haar"),
        ("out/0-explained.png", "out/0-explained.json"),
    ),
    Writer(
        "prepare",
        (("data", "prepare", "inputs/older.csv", "--out", "out/set"),),
        ("data", "prepare", "inputs/fer.csv", "--out", "out/set"),
        ("out/set",),
    ),
    Writer(
        "prepare-faces",
        (("data", "prepare", "inputs/older.csv", "--out", "out/set"),),
        ("data", "prepare", "inputs/photos", "--faces", "photo", "--out", "out/set"),
        ("out/set",),
    ),
    Writer(
        "audit",
        (("data", "audit", "inputs/older", "--html", "out/audit.html", "--json", "out/audit.json"),),
        ("data", "audit", "inputs/set", "--html", "out/audit.html", "--json", "out/audit.json"),
        ("out/audit.html", "out/audit.json"),
    ),
    Writer(
        "recrop",
        (("data", "prepare", "inputs/older.csv", "--out", "out/again"),),
        ("data", "recrop", "inputs/set", "--out", "out/again"),
        ("out/again",),
    ),
    Writer("train", (), (*_TRAIN, "--out", "out/run"), (), again=(*_TRAIN, "--out", "out/run", "--resume")),
    Writer(
        "resume",
        ((*_TRAIN, "--out", "out/run", "--set", "optim.epochs=2", "--minutes", "0.0001"),),
        (*_TRAIN, "--out", "out/run", "--resume"),
        (),
        again=(*_TRAIN, "--out", "out/run", "--resume"),
    ),
    Writer(
        "export",
        (("export", "inputs/older-run", "--data", "inputs/set", "--out", "out/small.onnx"),),
        ("export", "inputs/run", "--data", "inputs/set", "--out", "out/small.onnx"),
        ("out/small.onnx",),
    ),
    Writer(
        "export-int8",
        (("export", "inputs/older-run", "--data", "inputs/set", "--out", "out/small.onnx", "--int8"),),
        ("export", "inputs/run", "--data", "inputs/set", "--out", "out/small.onnx", "--int8"),
        ("out/small.onnx", "out/small-int8.onnx"),
    ),
    Writer(
        "evaluate",
        (("evaluate", "inputs/small.onnx", "--data", "inputs/older", "--split", "test", "--out", "out"),),
        ("evaluate", "inputs/small.onnx", "--data", "inputs/set", "--split", "test", "--out", "out"),
        ("out/scores.json", "out/confusion.png", "out/reliability.png"),
    ),
    Writer(
        "report",
        (("report", "inputs/scores", "--out", "out/report.html"),),
        ("report", "inputs/scores", "inputs/run", "--data", "inputs/set", "--out", "out/report.html"),
        ("out/report.html",),
    ),
)

BROKEN = "broken: "


#: What is made by commands among the inputs, each when it is first needed.
_MADE: dict[str, tuple[str, ...]] = {
    "set": ("data", "prepare", "inputs/fer.csv", "--out", "inputs/set"),
    "older": ("data", "prepare", "inputs/older.csv", "--out", "inputs/older"),
    "run": (*_TRAIN, "--out", "inputs/run"),
    "older-run": (*_TRAIN, "--out", "inputs/older-run", "--set", "seed=5"),
    "small.onnx": ("export", "inputs/run", "--data", "inputs/set", "--out", "inputs/small.onnx"),
    "scores": ("evaluate", "inputs/small.onnx", "--data", "inputs/set", "--out", "inputs/scores"),
}


class Stage:
    """The inputs of all writers; and for each writer its older outputs, and what it makes undisturbed. `only` is the
    beginning of the names of those trials that are wanted."""

    def __init__(self, folder: Path, child: Child, shim: bool) -> None:
        self.folder, self.child, self.shim = folder, child, shim
        self.only = ""
        self._notes: list[str] = []
        self._scenes: dict[str, Scene] = {}

    def note(self, sentence: str) -> None:
        """Something that whoever reads the table should know."""
        self._notes.append(sentence)

    def take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes

    def writers(self) -> list[Writer]:
        """Those that a wanted trial could be about."""
        names = (f"{writer.name}-" for writer in WRITERS)
        chosen = (name.startswith(self.only) or self.only.startswith(name) for name in names)
        return list(compress(WRITERS, chosen))

    def inputs(self, *words: str) -> Path:
        """The folder of inputs, in which what is named in `words` has been made; everything without any."""
        inputs = self.folder / "inputs"
        if not inputs.exists():
            inputs.mkdir(parents=True)
            make_inputs(inputs)
        named = {word.removeprefix("inputs/") for word in words if word.startswith("inputs/")} if words else set(_MADE)
        for name in _MADE:
            if name in named and not (inputs / name).exists():
                self.inputs(*(word for word in _MADE[name] if word != f"inputs/{name}"))
                self._well(_MADE[name], self.folder)
        return inputs

    def _well(self, words: tuple[str, ...], folder: Path, **how: Any) -> Ended:
        ended = self.child.run(list(words), folder, limit=300, **how)
        if ended.code:
            raise RuntimeError(f"mien {' '.join(words)} fails undisturbed: {ended.err}")
        return ended

    def scene(self, writer: Writer) -> Scene:
        """What there is before a writer begins, and what it should come to."""
        self.inputs(*writer.words, *(word for words in writer.before for word in words))
        if writer.name not in self._scenes:
            folder = self.folder / writer.name
            (folder / "out").mkdir(parents=True)
            (folder / "inputs").symlink_to(self.folder / "inputs")
            for words in writer.before:
                self._well(words, folder)
            older = {name: state(folder / name) for name in writer.outputs}
            work = self.folder / f"{writer.name}-new"
            shutil.copytree(folder, work, symlinks=True)
            if self.shim:  # what is imported or compiled at the first call is not to be counted
                shutil.rmtree(work / "out")
                shutil.copytree(folder / "out", work / "out")
            ended = self._well(
                writer.words, work, **({"at": 2**60, "deed": "count", "under": work / "out"} if self.shim else {})
            )
            newer = {name: state(work / name) for name in writer.outputs}
            broken = {name: what for name, what in {**older, **newer}.items() if what.startswith(BROKEN)}
            if broken:
                raise RuntimeError(f"{writer.name} makes files undisturbed that cannot be read: {broken}")
            self._scenes[writer.name] = Scene(writer, folder, older, newer, ended.hits, ended.took)
            shutil.rmtree(work)
        return self._scenes[writer.name]


@dataclass(frozen=True)
class Scene:
    """A writer, the folder as it is before, the states of its outputs before and after, how often it writes, and how
    long that takes."""

    writer: Writer
    folder: Path
    older: dict[str, str]
    newer: dict[str, str]
    writes: int
    seconds: float

    def set_up(self, folder: Path) -> None:
        """Make a folder like it."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)

    def lost(self, folder: Path, *, done: bool = False) -> list[str]:
        """What is neither as it was nor whole and new; with `done`, which is what the command said, what is not new."""
        sentences = []
        for name, older in self.older.items():
            now, newer = state(folder / name), self.newer[name]
            if now not in ({newer} if done else {older, newer}):
                was = "nothing" if older == MISSING else "an older one"
                sentences.append(f"{name}, where {was} was, is {now if now.startswith(BROKEN) else 'another: ' + now}")
        return sentences


MISSING = "missing"


def state(path: Path) -> str:
    """What a file or folder holds, in words that are equal when it holds the same; begins with BROKEN when it is not
    whole."""
    aside = path.parent / f".{path.name}.replaced"  # of a prepared set, while another takes its place: `load` finds it
    if not path.exists() and aside.exists():
        path = aside
    if not path.exists():
        return MISSING
    kind = "set" if path.is_dir() else path.suffix
    try:
        return _STATES[kind](path)
    except Exception as error:  # noqa: BLE001 - whatever is raised by a reader, the file is not whole
        return f"{BROKEN}{type(error).__name__}: {error}"


def _text(path: Path) -> str:
    content = path.read_text("utf-8")
    assert content.endswith("\n"), "it ends within a line"
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _json(path: Path) -> str:
    """The keys alone: values have dates and times."""

    def keys(value: Any) -> Any:
        return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else type(value).__name__

    content = json.loads(path.read_text("utf-8"))
    return json.dumps(keys(content)) if isinstance(content, dict) else f"{len(content)} items"


def _picture(path: Path) -> str:
    with Image.open(path) as image:
        return hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).hexdigest()[:12]


def _film(path: Path) -> str:
    import av

    with av.open(str(path)) as film:
        return f"{sum(1 for _ in film.decode(video=0))} frames"


def _parquet(path: Path) -> str:
    import polars as pl

    return hashlib.sha256(pl.read_parquet(path).write_csv().encode()).hexdigest()[:12]


def _html(path: Path) -> str:
    text = path.read_text("utf-8")
    assert text.rstrip().endswith("</html>"), "it ends early"
    return f"{text.count('<')} tags"


def _model(path: Path) -> str:
    from mien import models

    return models.load(path).card.sha256[:12]


def _set(path: Path) -> str:
    from mien.data import prepared

    found = prepared.load(path)
    return hashlib.sha256("".join(sorted(map(str, found.hashes))).encode()).hexdigest()[:12]


_STATES: dict[str, Callable[[Path], str]] = {
    ".csv": _text,
    ".jsonl": _text,
    ".tsv": _text,
    ".vtt": _text,
    ".json": _json,
    ".png": _picture,
    ".jpg": _picture,
    ".mp4": _film,
    ".parquet": _parquet,
    ".html": _html,
    ".onnx": _model,
    "set": _set,
}


@cache
def _drift(count: int, side: int) -> list[Any]:
    photo = photograph(side)
    return [np.ascontiguousarray(np.roll(photo, 2 * i, 1)) for i in range(count)]


def make_inputs(folder: Path) -> None:
    """Pictures, films, a data set and a recipe."""
    from mien.output.video import open_video

    for name, turn in (("new", 0), ("old", 30)):
        (folder / name).mkdir()
        for k in range(3):
            picture = Image.fromarray(np.roll(photograph(), turn + 8 * k, 1))
            picture.save(folder / name / f"{k}.{'jpg' if k else 'png'}")
    for name, count in (("new", 24), ("old", 12)):
        with open_video(folder / f"{name}.mp4") as film:
            for k, image in enumerate(_drift(count, 256)):
                film.write(image, k / 12)
    rng = np.random.default_rng(0)
    for name, each in (("fer", 6), ("older", 4)):
        rows = ["emotion,pixels,Usage"]
        for usage in ("Training", "PublicTest", "PrivateTest"):
            for label in range(7):
                for _ in range(each):
                    pixels = rng.integers(0, 256, 48 * 48)
                    rows.append(f"{label},{' '.join(map(str, pixels))},{usage}")
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for k, word in enumerate(LABELS):
        (folder / "photos" / word).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.roll(photograph(), 5 * k + 20 * i, 1)).save(folder / "photos" / word / f"{i}.png")
    (folder / "small.toml").write_text(_RECIPE, encoding="utf-8")


def digest(folder: Path) -> str:
    """Of all files in a folder: names, sizes and times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(
        "".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n" for path in files).encode()
    ).hexdigest()
