"""How fast training goes: images a second of `mien train` against a straightforward torch loop.

    python benchmarks/training.py --data sets/fer2013 --json training.json

Both train the networks of the recipes `base` and `seed` on the same images, with the augmentation of `base`, taking
turns, each turn a process of its own (`fit` changes how its process keeps memory): at full size, and `base` also as its
recipe goes, from small images to large ones, over ten epochs. The straightforward loop is what tutorials show: a
Dataset that changes one image after the other (flip, turn, shift, scale, light, erasing, by PIL and numpy), a
DataLoader, float32, SGD; once with the loader as it is by itself, and once with a worker per core.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.provenance import provenance
from mien.training.expression.net import build, normalise
from mien.training.fit import fit
from mien.training.reading import read
from mien.training.recipe import Recipe


class Faces(Dataset[tuple[Tensor, int]]):
    """One image at a time, changed at random."""

    def __init__(self, data: PreparedSet) -> None:
        self.images, self.labels = data.images, data.labels
        self.random = np.random.default_rng()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, random = Image.fromarray(self.images[index]), self.random
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turn, scale = np.radians(random.uniform(-15, 15)), random.uniform(0.85, 1.15)
        cos, sin, middle = np.cos(turn) / scale, np.sin(turn) / scale, image.width / 2
        dx, dy = random.uniform(-0.08, 0.08, 2) * image.width
        matrix = (cos, sin, middle - (cos + sin) * middle + dx, -sin, cos, middle - (cos - sin) * middle + dy)
        image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        pixels: NDArray[np.floating[Any]] = np.asarray(image) / 255
        pixels = np.clip(pixels * random.uniform(0.75, 1.25) + random.uniform(-0.15, 0.15), 0, 1)
        if random.random() < 0.3:
            y, x = random.integers(0, 32, 2)
            pixels[y : y + 16, x : x + 16] = random.random()
        return torch.from_numpy(pixels.astype(np.float32))[None], int(self.labels[index])


def straightforward(data: PreparedSet, recipe: Recipe, workers: int) -> float:
    """Images a second over one epoch, at full size."""
    net: nn.Module = build(recipe.model)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(Faces(data), recipe.optim.batch_size, shuffle=True, drop_last=True, num_workers=workers)
    net.train()
    began = time.perf_counter()
    for images, labels in loader:
        loss = F.cross_entropy(net(normalise(images))[0], labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return len(loader) * recipe.optim.batch_size / (time.perf_counter() - began)


def ours(folder: Path, recipe: Recipe) -> float:
    """Images a second over all epochs of `fit`, its validation counted in."""
    with tempfile.TemporaryDirectory() as run:
        lines = fit(recipe, folder, Path(run) / "run")
    return sum(line.images_per_second * line.seconds for line in lines) / sum(line.seconds for line in lines)


def alone(measure: Callable[..., float], *arguments: object) -> float:
    """`measure(*arguments)` in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set")
    parser.add_argument("--images", type=int, default=6400, help="training images in an epoch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    whole, workers = prepared.load(args.data), os.cpu_count() or 1
    train = whole.split("train").take(np.arange(args.images))
    some = np.concatenate([np.flatnonzero(whole.splits == "train")[: args.images],
                           np.flatnonzero(whole.splits == "validation")[:500]])  # fmt: skip
    base, seed = (read(name) for name in ("base", "seed"))
    assert isinstance(base, Recipe) and isinstance(seed, Recipe)
    brief = base.optim.model_copy(update={"epochs": 1, "warmup_epochs": 0, "lr": 0.01, "sizes": ()})
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "set"
        prepared.save(small, whole.take(some))
        for name, model, epochs, sizes in (
            ("base", base.model, 1, ()),
            ("base as its recipe goes", base.model, 10, base.optim.sizes),
            ("seed", seed.model, 1, ()),
        ):
            optim = brief.model_copy(update={"epochs": epochs, "sizes": sizes})
            recipe = base.model_copy(update={"model": model, "optim": optim})
            rounds = [
                (
                    alone(straightforward, train, recipe, 0),
                    alone(straightforward, train, recipe, workers),
                    alone(ours, small, recipe),
                )
                for _ in range(args.rounds)
            ]
            theirs, helped, mine = (max(column) for column in zip(*rounds, strict=True))
            found[name] = {
                "mien": mine, "straightforward": theirs, "with_workers": helped,
                "ratio": mine / theirs, "ratio_with_workers": mine / helped,
            }  # fmt: skip
    table = Table(title=f"training, images a second, {workers} cores, best of {args.rounds} rounds")
    for column in ("network of", "mien", "straightforward", f"with {workers} workers"):
        table.add_column(column, justify="left" if column == "network of" else "right")
    for name, row in found.items():
        table.add_row(
            name, f"{row['mien']:.0f}", f"{row['straightforward']:.0f} ({row['ratio']:.1f}x)",
            f"{row['with_workers']:.0f} ({row['ratio_with_workers']:.1f}x)",
        )  # fmt: skip
    Console().print(table)
    if args.json:
        content = {**provenance(), "images": args.images, "rounds": args.rounds, "recipes": found}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
