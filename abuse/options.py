"""Every option and argument of every command with nonsense: wrong numbers, and paths that are anything but files."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from abuse.trial import Bench, Expected, Fault, Trial, judged
from abuse.writers import Stage

_WHOLE = (
    "-1",
    "0",
    "1.5",
    "nan",
    "x",
    "",
    "1e3",
    "99999999999999999999999999",
    "-99999999999999999999",
    "\uff12",
    " 1",
    "0x10",
)
_REAL = ("nan", "inf", "-inf", "1e999", "-1", "0", "1e-320", "x", "", "1,5", "1e308", "-0.0", "1_0")
_WORDS = (
    "",
    " ",
    "x",
    "../../..",
    "😀",
    "\udcff",
    "a" * 100_000,
    "\n",
    "--",
    "-",
    "{}",
    "%s",
    "[red]",
    "*",
    "nothing.onnx",
    "inputs",
)
_PATHS = (
    "",
    ".",
    "/",
    "inputs",
    "nothing/nothing",
    "loop",
    "broken",
    "/dev/null",
    "/dev/full",
    "a" * 300,
    "/proc/nothing",
    "/proc/version",
    "pipe",
    "inputs/new/0.png",
    "\udcff.csv",
    "two\nlines.csv",
    "file/below",
    "/sys/nothing.csv",
    "out.csv",
    "~",
    "-",
    "readonly/a.csv",
)
_ENDINGS = ("", ".csv", ".parquet", ".jsonl", ".png", ".html", ".onnx", ".vtt", ".mp4", ".toml", ".json")

#: Each command as it goes well; its paths are those of `abuse.writers`.
_COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": ("inputs/new/0.png",),
    "live": ("inputs/new.mp4",),
    "serve": ("--port", "0", "--no-browser"),
    "train": ("inputs/small.toml", "--data", "inputs/set", "--out", "run", "--threads", "1", "--set", "optim.epochs=1"),
    "export": ("inputs/run", "--data", "inputs/set", "--out", "a.onnx"),
    "evaluate": ("inputs/small.onnx", "--data", "inputs/set"),
    "report": ("inputs/scores", "--out", "a.html"),
    "explain": ("inputs/new/0.png",),
    "data prepare": ("inputs/fer.csv", "--out", "set"),
    "data audit": ("inputs/set",),
    "data recrop": ("inputs/set", "--out", "again"),
    "doctor": (),
}
_FILM = {
    "--every",
    "--max-fps",
    "--start",
    "--end",
    "--episodes",
    "--timeline",
    "--frames",
    "--save",
    "--size",
    "--fps",
}
"""Options of `mien predict` that are for films."""
_LASTING = {"serve", "live"}
"""Commands that go on until Ctrl-C is pressed."""


_LINES: dict[Expected, str] = {
    "well": """
--version
predict --help
predict inputs/new.mp4 --every 1000000
predict inputs/new.mp4 inputs/new/0.png --table a.csv
predict inputs/new/0.png --json --quiet
predict inputs/new.mp4 --json --json
predict inputs
predict inputs/*/0.png
data prepare inputs/photos --out set
""",
    "refused": """
predikt
predict
predict inputs/new/0.png --table inputs/new/0.png
predict inputs/new.mp4 --save inputs
predict inputs/new/0.png --save inputs/new
predict inputs/new.mp4 --table a.csv --frames a.csv
predict inputs/new.mp4 --table a.csv --frames a.csv.json
predict inputs/new.mp4 --table a.csv --episodes ./a.csv
predict inputs/new.mp4 --episodes e.png
predict inputs/new.mp4 --timeline t.csv
predict inputs/new.mp4 --start 5 --end 1
predict inputs/new.mp4 --start 1 --end 1
predict inputs/new/0.png --episodes e.vtt
predict inputs/new/0.png --timeline t.png
predict inputs/new/0.png --min-confidence 2
predict inputs/new/0.png --min-confidence -1
predict inputs/new/0.png --detector x
predict inputs/new/0.png --detector yunet --detector-weights inputs/new/0.png
predict inputs/new/0.png --model inputs/new/0.png
predict inputs/new/0.png --model inputs/small.toml
predict inputs/new/0.png --detector-weights inputs/small.onnx
predict inputs/new/0.png --table folder.csv
predict inputs/new/0.png --table file/below.csv
predict inputs/new/0.png --save file
train inputs/small.toml --data inputs/new/0.png --out run
train nothing --data inputs/set
train inputs/new/0.png --data inputs/set
train inputs/small.toml --data inputs/set --out inputs/set
train inputs/small.toml --data inputs/set --out file
train inputs/small.toml --data inputs/set --out run --device tpu
train inputs/small.toml --data inputs/set --out run --set optim.epochs=-1
train inputs/small.toml --data inputs/set --out run --set optim.epochs=x
train inputs/small.toml --data inputs/set --out run --set optim.lr=nan
train inputs/small.toml --data inputs/set --out run --set optim.lr=-1
train inputs/small.toml --data inputs/set --out run --set optim.batch_size=0
train inputs/small.toml --data inputs/set --out run --set optim.batch_size=1e-9
train inputs/small.toml --data inputs/set --out run --set model.input_size=0
train inputs/small.toml --data inputs/set --out run --set model.input_size=100000
train inputs/small.toml --data inputs/set --out run --set model.widths=[]
train inputs/small.toml --data inputs/set --out run --set model.widths=[0]
train inputs/small.toml --data inputs/set --out run --set nothing=1
train inputs/small.toml --data inputs/set --out run --set =
train inputs/small.toml --data inputs/set --out run --set seed=1.5
train inputs/small.toml --data inputs/set --out run --set optim.lr
train inputs/small.toml --data inputs/set --out run --set model=1
train inputs/small.toml --data inputs/set --out run --set optim.epochs=[
train inputs/small.toml --data inputs/set --out run --set augment.scale=[2,1]
train inputs/small.toml --data inputs/set --out run --set augment.flip=2
train inputs/small.toml --data inputs/set --out run --set name=
train inputs/small.toml --data inputs/set --out run --set name=../x
train inputs/small.toml --data inputs/set --out run --set optim.sizes=[[0,1]]
export inputs/set --data inputs/set
export inputs/run --data inputs/run
export inputs/run --data inputs/set --out folder.onnx
export inputs/run --data inputs/set --out a.onnx --adjust fear
export inputs/run --data inputs/set --out a.onnx --adjust fear=nan
export inputs/run --data inputs/set --out a.onnx --adjust fear=inf
export inputs/run --data inputs/set --out a.onnx --adjust nobody=1
export inputs/run --data inputs/set --out a.onnx --adjust =
export inputs/run --data inputs/set --out a.onnx --adjust fear=1=2
evaluate inputs/run --data inputs/set
evaluate base --data inputs/fer.csv
evaluate base --data inputs/set --split all
evaluate base --data inputs/set --task x
evaluate base --data inputs/set --tta x
evaluate --task detect --data inputs/set
evaluate --task detect --data inputs/new
evaluate base --data inputs/set --out file
report inputs/set
report inputs/scores --out folder.html
report inputs/scores --data inputs/set --face -1
report inputs/scores --data inputs/set --face 99999999
report inputs/small.toml
explain inputs/new.mp4
explain inputs
explain inputs/new/0.png --save file
data prepare inputs/new --out set
data prepare inputs/fer.csv --out inputs/new
data prepare inputs/fer.csv --out file
data prepare inputs/fer.csv --out inputs
data prepare inputs/fer.csv --votes inputs/fer.csv --out set
data prepare inputs/photos --out set --split 1
data prepare inputs/photos --out set --split 1,1,1
data prepare inputs/photos --out set --split 0.5,0.5
data prepare inputs/photos --out set --split nan,0.5,0.5
data prepare inputs/photos --out set --split -1,1,1
data prepare inputs/photos --out set --split inf,0,0
data prepare inputs/photos --out set --split a,b,c
data prepare inputs/photos --out set --split 0.8,0.1,0.1,0
data prepare inputs/photos --out set --group (
data prepare inputs/photos --out set --group nothing
data prepare inputs/photos --out set --group [
data prepare inputs/photos --out set --group (?P<
data prepare inputs/photos --out set --group *
data prepare inputs/photos --out set --faces x
data prepare inputs/photos --out inputs/photos
data audit inputs
data audit inputs/set --html folder.html
data audit inputs/set --json file/a.json
data recrop inputs/set --out inputs/new
data recrop inputs/new --out again
data fetch nothing
serve --port 0 --no-browser --host 0.0.0.0
serve --port 0 --no-browser --host 256.1.1.1
serve --port 0 --no-browser --host x.invalid
serve --port 0 --no-browser --host=
serve --port 0 --no-browser --port -1
serve --port 0 --no-browser --port 70000
serve --port 0 --no-browser --token short
serve --port 0 --no-browser --token 0123456789abcdé!
serve --port 0 --no-browser --max-viewers 0
serve --port 0 --no-browser --allow-origin *
serve --port 0 --no-browser --allow-origin null
serve --port 0 --no-browser --allow-origin https://a/b
serve --port 0 --no-browser --allow-origin HTTPS://A
serve --port 0 --no-browser --allow-origin http://[
serve --port 0 --no-browser --model nothing
serve --port 0 --no-browser --host 127.0.0.1:80
live nothing.mp4
live inputs
""",
    "either": """
predict inputs/new.mp4 inputs/new.mp4 --episodes e.vtt
data
predict inputs/new.mp4 --start 1e9
predict inputs/new.mp4 --max-fps 1e-9
predict inputs/new.mp4 --every 2 --max-fps 3
predict inputs/new/0.png inputs/new/0.png --table a.csv
predict inputs/new/0.png --jobs 100000
predict inputs/new/0.png --min-score 2
predict **
train inputs/small.toml --data inputs/set --out run --resume
train inputs/small.toml --data inputs/set --out run --minutes 0
train inputs/small.toml --data inputs/set --out run --threads 1000000
export inputs/run inputs/run --data inputs/set --out a.onnx
export inputs/run --data inputs/set --out a.txt
evaluate base base --data inputs/set --out out
report inputs/scores inputs/scores --out a.html
data prepare inputs/photos --out set --labels ,
data prepare inputs/photos --out set --labels happy
data prepare inputs/photos --out set --labels happy,happy
data prepare inputs/photos --out set --labels a,b
data prepare inputs/photos --out set --labels folders,folders
data audit inputs/set --html a.x --json a.x
live --out file inputs/new.mp4
""",
}
"""Values that make no sense together, or need no sense; a command a line, by how it should end."""


def trials(stage: Stage) -> Iterator[Trial]:
    """Some 1,000 command lines, most of them made from the commands' own lists of options."""
    stage.inputs()  # here, not in one of several threads
    for command, words in _COMMANDS.items():
        for parameter in _parameters(command):
            values: Sequence[str | None] = [None] if parameter.type is bool else _values(parameter)
            for value in values:
                kind = "missing" if value is None else _name(value)
                expected: Expected = "refused" if value == "nan" and parameter.type in {int, float} else "either"
                name = f"{command.replace(' ', '-')}-{parameter.flag.strip('-') or parameter.name}-{kind}"
                yield _trial(stage, name, _line(command, words, parameter, value), expected)
    yield from _by_hand(stage)


@dataclass(frozen=True)
class _Parameter:
    """What a command takes: an option with its `flag`, or an argument, whose flag is empty."""

    name: str
    flag: str
    type: type


def _parameters(command: str) -> list[_Parameter]:
    from mien.cli import app

    found, words = app, command.split()
    for word in words[:-1]:
        groups = {group.name: group.typer_instance for group in found.registered_groups}
        inner = groups[word]
        assert inner is not None
        found = inner
    callbacks = {
        info.name or str(info.callback.__name__): info.callback for info in found.registered_commands if info.callback
    }
    parameters = []
    for name, hint in get_type_hints(callbacks[words[-1]], include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kinds = [kind for kind in (bool, int, float, Path, str) if kind in _within(get_args(hint)[0])]
        (about,) = (extra for extra in get_args(hint) if isinstance(extra, OptionInfo | ArgumentInfo))
        # Within Annotated, typer takes the first name for the default.
        names = [text for text in (about.default, *(about.param_decls or ())) if isinstance(text, str)]
        flags = [text.partition("/")[0] for text in names if text.startswith("--")]
        flag = "" if isinstance(about, ArgumentInfo) else (flags or [f"--{name.replace('_', '-')}"])[0]
        parameters.append(_Parameter(name, flag, kinds[0]))
    return parameters


def _within(hint: Any) -> set[Any]:
    """A type, and those within it, as within `list[Path] | None`."""
    return {hint}.union(*map(_within, get_args(hint)))


def _values(parameter: _Parameter) -> Sequence[str]:
    if parameter.type is int:
        return _WHOLE
    if parameter.type is float:
        return _REAL
    if parameter.type is Path:
        # Endings decide what is written: each path has another one, and over all options each has every one.
        turn = zlib.crc32(parameter.name.encode())
        return [
            path if path in {"", ".", "/", "-", "~"} or "." in path[1:] else path + _ENDINGS[(turn + k) % len(_ENDINGS)]
            for k, path in enumerate(_PATHS)
        ]
    return _WORDS


def _line(command: str, words: tuple[str, ...], parameter: _Parameter, value: str | None) -> list[str]:
    """The command with one value changed; None where a flag takes none."""
    rest, flag = list(words), parameter.flag
    if command == "predict" and flag in _FILM:
        rest = ["inputs/new.mp4"]
    if flag and flag in rest:
        del rest[rest.index(flag) : rest.index(flag) + (1 if value is None else 2)]
    elif not flag and rest and not rest[0].startswith("-"):
        rest = rest[1:]
    given = [flag] if flag and value is None else [f"{flag}={value}"] if flag else ["--", str(value)]
    return [*command.split(), *rest, *given]


def _name(value: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9.+-]", "_", value)[:24]
    return f"{plain or 'empty'}-{zlib.crc32(value.encode('utf-8', 'surrogateescape')) % 1000}"


def _trial(stage: Stage, name: str, words: Sequence[str], expected: Expected = "either") -> Trial:
    def attempt(bench: Bench) -> list[Fault]:
        set_up(stage, bench.folder)
        how: dict[str, Any] = {"interrupt_after": 6.0} if words and words[0] in _LASTING else {}
        return judged(bench.mien(*words, **how), expected)

    return Trial(name, attempt)


def set_up(stage: Stage, folder: Path) -> None:
    """The inputs of all writers, and paths that are odd."""
    import os

    shutil.copytree(stage.inputs(), folder / "inputs")  # a copy: some trials name them as outputs
    (folder / "file").write_text("a file\n")
    for ending in _ENDINGS:
        (folder / f"loop{ending}").symlink_to(f"loop{ending}")
        (folder / f"broken{ending}").symlink_to("nothing/nothing")
        if ending:
            (folder / f"folder{ending}").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "readonly").mkdir(mode=0o500)


def _by_hand(stage: Stage) -> Iterator[Trial]:
    for expected, lines in _LINES.items():
        for words in lines.strip().splitlines():
            name = f"line-{words.replace(' ', '_').replace('/', '.')[:60]}-{zlib.crc32(words.encode()) % 1000}"
            yield _trial(stage, name, words.split(), expected)
