"""`mien train` and `mien export`: a recipe and a prepared set to a run folder, a run folder to a model."""

from __future__ import annotations

import os
import shlex
import sys
from math import inf, isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mien.cli.console import err, note, out
from mien.models import DetectorCard

if TYPE_CHECKING:
    from mien.training.detector.export import ExportedDetector
    from mien.training.expression.export import Exported
    from mien.training.expression.quantize import Quantized
    from mien.training.recipe import Plan
    from mien.training.run_folder import Epoch, RunFolder

_HEADER = "epoch  size      lr  train loss     acc  valid loss     acc     best  img/s"


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (base, finetune...) or the path of a .toml.")],
    data: Annotated[
        list[Path],
        typer.Option(help="The prepared set, made by mien data prepare; for a detector a Parquet file, or several."),
    ],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder.", show_default="runs/NAME")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change a value of the recipe; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that the folder holds.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop before the epoch that would take longer; --resume goes on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps (Apple) or cpu.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="torch's own choice")] = None,
) -> None:
    """Train a network as a recipe says; Ctrl-C stops, --resume goes on. Runs on several devices under torchrun."""
    from mien import workshop

    workshop.need_training("training")
    from mien.training.reading import read
    from mien.training.run_folder import RunFolder

    plan = read(recipe, settings or ())
    run = RunFolder(folder or Path("runs") / plan.name)
    past = run.history() if resume and run.checkpoint.exists() else []
    try:
        with _Display(plan, past, workshop.majority_rate(plan, data)) as display:
            result = workshop.train(
                plan, data, out=run.path, resume=resume, minutes=minutes, device=device, threads=threads,
                progress=display.follow, note=note if _leads() else _unheard,
            )  # fmt: skip
    except KeyboardInterrupt:
        _say_how_to_go_on("stopped", run, plan)
        raise typer.Exit(130) from None
    if not _leads():
        return
    if not result.finished:
        last = len(result.epochs)
        why = f"stopped before epoch {last + 1}, which would not end within {minutes:g} minutes"
        _say_how_to_go_on(why, run, plan)
        return
    if not result.trained:
        note(f"{run.path} was finished already; nothing was left to train")
    if len(result.epochs) < plan.optim.epochs:
        note(f"stopped early: no better epoch in the last {plan.optim.patience}")
    if top := result.best:
        _say("best", f"{top.validation_accuracy:.2%} validation accuracy in epoch {top.epoch} of {len(result.epochs)}")
    _say("weights", result.weights)
    _say("curves", result.curves)
    _say("next", shlex.join(["mien", "export", str(run.path), *_as_typed(data)]))


def export(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="A run folder of mien train; of several the weights are averaged."),
    ],
    data: Annotated[
        list[Path], typer.Option(help="What the run was trained on: a prepared set, or a detector's Parquet files.")
    ],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.onnx", help="The model.", show_default="RUN/NAME.onnx")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name.", show_default="of --out, else of the recipe")
    ] = None,
    balance: Annotated[
        float,
        typer.Option(min=0, max=1, help="Raise rare labels: divide by their share in training, to this power."),
    ] = 0.0,
    adjust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=NATS",
            help="Add to a label's log-odds, so that it is predicted more readily (logit adjustment); may be repeated.",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write NAME-int8.onnx, calibrated on training images, and measure it.")
    ] = False,
) -> None:
    """Write a run's best network, or the mean of several runs', as ONNX with its card, compared with torch and
    calibrated."""
    from mien import workshop

    nats = dict(_adjustment(text) for text in adjust or ())
    with err.status("exporting") as status:
        made = workshop.export(
            folders, data, out=target, name=name, balance=balance, adjust=nats, int8=int8,
            progress=lambda stage, done, of: status.update(stage),
        )  # fmt: skip
    _print_exported(made)
    measure = ["--task", "detect"] if isinstance(made.card, DetectorCard) else ["--split", "test"]
    _say("next", shlex.join(["mien", "evaluate", str(made.weights), *_as_typed(data), *measure]))


def _adjustment(text: str) -> tuple[str, float]:
    """Label and number of LABEL=NATS."""
    label, equals, nats = text.partition("=")
    try:
        value = float(nats)
    except ValueError:
        value = inf
    if not equals or not isfinite(value):
        raise typer.BadParameter(f"{text!r} should be a label and a number, such as fear=0.3", param_hint="--adjust")
    return label, value


def _as_typed(data: list[Path]) -> list[str]:
    """The options that name these data sets."""
    return [word for path in data for word in ("--data", str(path))]


def _print_exported(made: Exported | ExportedDetector) -> None:
    _say("weights", f"{made.weights} ({made.weights.stat().st_size / 1e6:.2f} MB)")
    _say("card", made.card_path)
    if isinstance(made.card, DetectorCard):
        _say("parity", f"boxes within {made.difference:.1g} pixels of torch on {made.images} held-out photographs")
        _say("least score", f"{made.card.min_score:.3f}")
        if small := getattr(made, "int8", None):
            _say("int8", f"{small.weights} ({small.weights.stat().st_size / 1e6:.2f} MB)")
            _say("least score", f"{small.card.min_score:.3f} with int8")
        return
    _say("parity", f"probabilities within {made.difference:.1g} of torch's on {made.images} validation images")
    _say("temperature", f"{made.card.temperature:.3f}")
    if int8 := getattr(made, "int8", None):
        _print_int8(int8)


def _print_int8(made: Quantized) -> None:
    full, small = made.scores["float32"], made.scores["int8"]
    _say("int8", f"{made.weights} ({small['bytes'] / 1e6:.1f} MB)")
    for name, key, form in (
        ("accuracy", "accuracy", "{:.2%}"), ("macro-F1", "macro_f1", "{:.2%}"), ("ECE", "ece", "{:.3f}"),
        ("time", "milliseconds_per_face", "{:.2f} ms a face"),
    ):  # fmt: skip
        _say(name, f"{form.format(small[key])} int8, {form.format(full[key])} float32")
    _say("agreement", f"the same label for {made.scores['same_prediction']:.1%} of {made.scores['images']:,} images")
    if small["milliseconds_per_face"] >= full["milliseconds_per_face"]:
        note("int8 is not faster on this machine; it only saves space here")


def _say_how_to_go_on(why: str, run: RunFolder, plan: Plan) -> None:
    kept = len(run.history()) if run.checkpoint.exists() else 0
    command = shlex.join(["mien", *(arg for arg in sys.argv[1:] if arg != "--resume"), "--resume"])
    note(f"{why}; {kept} of {plan.optim.epochs} epochs are kept in {run.path}; go on with: {command}")


def _leads() -> bool:
    """Whether this is the only process, or the one of torchrun's that writes and talks."""
    return os.environ.get("RANK", "0") == "0"


def _say(what: str, value: object) -> None:
    out.print(f"{what:11} {value}", markup=False, highlight=False, soft_wrap=True)


def _unheard(sentence: str) -> None:
    """For the processes of torchrun that do not talk."""


class _Display:
    """One line per epoch on standard error, and on a terminal a bar for the whole run below them.

    The bar counts pixels, not images, so that the ETA knows how much longer epochs of larger images take.
    """

    def __init__(self, recipe: Plan, past: list[Epoch], majority: tuple[str, float] | None) -> None:
        from mien.training.recipe import Recipe
        from mien.training.schedule import size_at

        # The detector's sizes are mixed alike in every epoch.
        self._costs = [
            size_at(recipe, epoch) ** 2 if isinstance(recipe, Recipe) else 1 for epoch in range(recipe.optim.epochs)
        ]
        self._lines, self._majority = list(past), majority
        self._printed = False
        self._epoch, self._began, self._first = 0, 0.0, 0
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
            disable=not (err.is_terminal and _leads()), speed_estimate_period=120,
        )  # fmt: skip
        self._task = self._progress.add_task("loading", total=sum(self._costs), start=False, rate="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def follow(self, epoch: int, done: int, of: int, line: Epoch | None) -> None:
        """See `mien.training.fit.Progress`."""
        if line:
            self._print(line)
            return
        before = sum(self._costs[: epoch - 1])
        if not self._epoch:
            self._progress.reset(self._task, completed=before)
        if self._epoch != epoch:
            self._epoch, self._began, self._first = epoch, perf_counter(), done
        rate = (done - self._first) / max(perf_counter() - self._began, 1e-9)
        self._progress.update(
            self._task,
            completed=before + self._costs[epoch - 1] * done / of,
            description=f"epoch {epoch}/{len(self._costs)}",
            rate=f"{rate:.0f} images/s" if rate else "",
        )

    def _print(self, line: Epoch) -> None:
        from mien.training.run_folder import best
        from mien.workshop import at_majority

        if not self._printed:
            err.print(_HEADER, style="bold", highlight=False, soft_wrap=True)
        self._printed = True
        self._lines.append(line)
        top = best(self._lines)
        rate = ""
        if self._majority and at_majority(line, self._majority):
            rate = f"  [yellow]no better than always {self._majority[0]}[/]"
        mark = "[bold green]*[/]" if top is line else " "
        err.print(
            f"{line.epoch:5} {line.size:5} {line.lr:7.4f} {line.train_loss:11.3f} {line.train_accuracy:7.2%} "
            f"{line.validation_loss:11.3f} {line.validation_accuracy:7.2%}{mark}{top.validation_accuracy:8.2%} "
            f"{line.images_per_second:6.0f}{rate}",
            highlight=False,
            soft_wrap=True,
        )
