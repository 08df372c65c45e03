"""The network this project began with, trained again: accuracy of `seed` and `seed-augmented` on two splits.

    python benchmarks/seed.py --json seed.json runs/seed=sets/fer2013 runs/seed-augmented=sets/fer2013 \\
        runs/seed-random=sets/fer2013-random runs/seed-augmented-random=sets/fer2013-random

Each run is named with the prepared set that it was trained on, and judged by its best epoch. The first project judged
`seed-augmented` on a validation set that was itself doubled with changed copies, so that number is here too. Its data
were the 28,821 and 7,066 images of the Kaggle folders; `mien data prepare ... --split 0.8031,0.1969,0` divides
FER2013 into as many at random. Published were 0.6303 and, augmented, 0.6352.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.errors import DataError, MienError
from mien.provenance import provenance
from mien.training.device import predict_logits
from mien.training.expression.data import doubled
from mien.training.expression.net import Network
from mien.training.reading import read
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder


@dataclass(frozen=True)
class Row:
    """One run: accuracies in 0..1; `doubled` on the validation images and changed copies of them, `test` on what is
    neither trained on nor chosen by, None where the split has none of it. `minutes` are those of training."""

    run: str
    recipe: str
    commit: str
    data_sha256: str
    train: int
    validation: int
    epochs: int
    best_epoch: int
    minutes: float
    images_per_second: float
    accuracy: float
    doubled: float
    test: float | None


def judge(run_folder: Path, data_folder: Path) -> Row:
    """Raises DataError where the run was trained on other data."""
    run = RunFolder(run_folder)
    recipe, about, lines = run.recipe(), run.about(), run.history()
    if about["data"]["sha256"] != prepared.manifest_hash(data_folder):
        raise DataError(f"{run_folder} was trained on other data than {data_folder}; name the set it was trained on")
    net, epoch = run.best_net()
    data, size = prepared.load(data_folder), recipe.model.input_size
    validation, test = data.split(recipe.data.validation_split), data.splits == "test"
    augmented = read("seed-augmented")
    assert isinstance(augmented, Recipe)
    both = doubled(validation, augmented.augment, augmented.seed)
    return Row(
        run=run_folder.name,
        recipe=recipe.name,
        commit=about["commit"],
        data_sha256=about["data"]["sha256"],
        train=about["data"]["train"],
        validation=len(validation),
        epochs=len(lines),
        best_epoch=epoch,
        minutes=round(sum(line.seconds for line in lines) / 60, 1),
        images_per_second=round(sum(line.images_per_second for line in lines) / len(lines)),
        accuracy=_accuracy(net, validation, size),
        doubled=_accuracy(net, both, size),
        test=_accuracy(net, data.split("test"), size) if test.any() else None,
    )


def _accuracy(net: Network, rows: PreparedSet, size: int) -> float:
    found = predict_logits(net, rows.images, size, "cpu").argmax(1) == torch.from_numpy(rows.labels)
    return round(float(found.float().mean()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN=SET", help="a run folder and the prepared set it learned from")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()
    try:
        rows = [judge(*map(Path, pair.split("=", 1))) for pair in track(args.runs, "judging")]
    except MienError as error:
        parser.error(str(error))
    table = Table("run", "train", "judged", "epochs", "min", "accuracy", "doubled", "test")
    for row in rows:
        shares = ("" if share is None else f"{share:.4f}" for share in (row.accuracy, row.doubled, row.test))
        table.add_row(row.run, f"{row.train:,}", f"{row.validation:,}", str(row.epochs), f"{row.minutes:.0f}", *shares)
    Console().print(table)
    if args.json:
        content = {**provenance(), "runs": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
