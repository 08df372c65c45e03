"""A run made visible: curves.png, and the same figures for TensorBoard."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mien.files import replacing
from mien.training.run_folder import Epoch, best

TRAINING, VALIDATION, INK, FAINT = "#e07b39", "#2563a8", "#22262b", "#9aa3ad"


class TensorBoard:
    """The lines of metrics.csv as TensorBoard scalars; does nothing without a folder, or where tensorboard
    is not installed. Where it cannot be written, training goes on without it."""

    def __init__(self, folder: Path | None) -> None:
        self._file: BinaryIO | None = None
        if folder and find_spec("tensorboard"):
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                self._file = (folder / f"events.out.tfevents.{time.time():.0f}.mien.{os.getpid()}").open("wb")
            self._write(file_version="brain.Event:2")

    def log(self, line: Epoch) -> None:
        scalars = {
            "accuracy/training": line.train_accuracy,
            "accuracy/validation": line.validation_accuracy,
            "loss/training": line.train_loss,
            "loss/validation": line.validation_loss,
            "learning rate": line.lr,
            "images per second": line.images_per_second,
        }
        values = [{"tag": tag, "simple_value": value} for tag, value in scalars.items()]
        self._write(step=line.epoch, summary={"value": values})

    def _write(self, **content: Any) -> None:
        """One event, at once: tensorboard's own writer has a thread, whose faults nobody could catch."""
        if self._file is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        try:
            RecordWriter(self._file).write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()
        except OSError:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def draw_curves(history: list[Epoch], path: Path, title: str, measures: tuple[str, str]) -> None:
    """Accuracy and loss, named by `measures`, in training and validation over the epochs as a PNG; draws nothing of no
    epoch.

    The best epoch is marked; the faint area at the bottom is the learning rate, from zero to its peak; a faint
    line stands where the training images change their size.
    """
    if not history:
        return
    chosen = best(history)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04)
    figure = Figure(figsize=(11, 4.4), dpi=150, layout=layout)
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "accuracy"), (right, "loss")):
        _frame(axes, history)
        for part, colour, width in (("train", TRAINING, 1.5), ("validation", VALIDATION, 2.0)):
            label = "training, augmented" if part == "train" else "validation, averaged weights"
            values = [getattr(line, f"{part}_{name}") for line in history]
            marker = "o" if len(history) < 3 else None
            axes.plot([e.epoch for e in history], values, color=colour, lw=width, marker=marker, ms=4, label=label)
        value = getattr(chosen, f"validation_{name}")
        axes.plot(chosen.epoch, value, "o", ms=7, mfc="white", mec=VALIDATION, mew=2, zorder=5)
    left.set_title(measures[0], loc="left", color=INK, fontsize=12, fontweight="bold")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_title(measures[1], loc="left", color=INK, fontsize=12, fontweight="bold")
    right.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.95))
    right.text(0.012, 0.02, "learning rate", color=FAINT, fontsize=8, transform=right.transAxes)
    left.set_title(
        f"{title}: best {chosen.validation_accuracy:.2%} in epoch {chosen.epoch}",
        loc="right", color=VALIDATION, fontsize=10,
    )  # fmt: skip
    with replacing(path, str(path)) as aside:
        figure.savefig(aside, format="png")


def _frame(axes: Axes, history: list[Epoch]) -> None:
    """All but the curves: grid, epochs, learning rate and image sizes."""
    epochs = [line.epoch for line in history]
    rates = [line.lr for line in history]
    behind = axes.twinx()
    behind.fill_between(epochs, rates, color="#edf0f3", lw=0)
    behind.set_ylim(0, 5 * max(rates) or 1)
    behind.set_axis_off()
    for before, after in pairwise(history):
        if before.size != after.size:
            behind.axvline(after.epoch, color="#dde2e7", lw=1)
            behind.text(after.epoch, 0.99, f" {after.size} px", color=FAINT, fontsize=8, va="top",
                        transform=behind.get_xaxis_transform())  # fmt: skip
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_xlim(min(epochs[0], epochs[-1] - 1), epochs[-1] + 0.02 * len(epochs))
    axes.set_xlabel("epoch", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e3e7eb", lw=0.8)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
