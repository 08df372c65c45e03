"""A run folder's epochs (metrics.csv) and its run.json, read without torch."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import DataError, reason

_COLUMNS = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Epoch:
    """Losses in nats, accuracies in 0..1; of training on augmented images, of validation on plain ones."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class TrainingLog:
    """A run by its folder's name, its epochs in order, at least one, and what run.json holds."""

    name: str
    epochs: tuple[Epoch, ...]
    about: dict[str, Any]

    @property
    def best(self) -> Epoch:
        """Of the highest validation accuracy, of those that share it the likeliest, then the earliest."""
        return max(self.epochs, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss))


def read_training_log(folder: Path) -> TrainingLog:
    """Raises DataError where the folder holds no run, no complete epoch, or damaged files."""
    path = folder / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        epochs = tuple(Epoch(int(row["epoch"]), *(float(row[column]) for column in _COLUMNS[1:])) for row in rows)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise DataError(f"{path} is damaged: it should have the columns {', '.join(_COLUMNS)}") from None
    if not epochs:
        raise DataError(f"{path} has no epoch yet; train one with: mien train")
    about: dict[str, Any] = {}
    if (folder / "run.json").exists():
        try:
            about = dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise DataError(f"{folder / 'run.json'} is damaged ({error}); delete it to go on without") from None
    return TrainingLog(folder.resolve().name, epochs, about)
