"""A small prepared set that a small network learns in seconds, and the recipe for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.data import prepared
from mien.data.prepared import PreparedSet, image_hash
from mien.labels import FERPLUS_COLUMNS, LABELS
from mien.training.reading import read
from mien.training.recipe import Recipe

SIZE = 28
PLAIN_SCENES = {
    "natural": 0, "tiles": [1, 1, 1], "paste": 0, "frames": 0, "mistakes": 0, "drawn": 0, "soft": 0, "occlude": 0,
    "grey": 0, "dark": 0, "blur": 0, "noise": 0, "jpeg": 0,
}  # fmt: skip
"""A detector's training pictures with nothing drawn that a table can leave out, mosaics aside."""


def striped(per_split: int = 140, *, votes: bool = True, seed: int = 0) -> PreparedSet:
    """Stripes in grey noise, whose direction is the label."""
    rng = np.random.default_rng(seed)
    n = 2 * per_split
    labels = np.arange(n, dtype=np.int64) % len(LABELS)
    y, x = np.mgrid[:SIZE, :SIZE]
    angles = (labels * np.pi / len(LABELS))[:, None, None]
    phases = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    images = 128 + 60 * np.sin((x * np.cos(angles) + y * np.sin(angles)) + phases) + rng.normal(0, 15, (n, SIZE, SIZE))
    pixels = images.clip(0, 255).astype(np.uint8)
    counts = np.zeros((n, len(FERPLUS_COLUMNS)), np.uint8)
    if votes:
        counts[np.arange(n), [FERPLUS_COLUMNS.index(LABELS[k]) for k in labels]] = 7
        counts[:, FERPLUS_COLUMNS.index("contempt")] = 2
        counts[:, FERPLUS_COLUMNS.index("unknown")] = 1
    return PreparedSet(
        images=pixels,
        labels=labels,
        votes=counts,
        splits=np.array(["train"] * per_split + ["validation"] * per_split),
        sources=np.array([f"made:{i}" for i in range(n)]),
        hashes=np.array([image_hash(image) for image in pixels]),
        flags=np.array([""] * n),
    )


def saved(folder: Path, data: PreparedSet | None = None) -> Path:
    """The set on disk."""
    prepared.save(folder, striped() if data is None else data)
    return folder


def small_recipe(**optim: object) -> Recipe:
    """All parts of the real network and its training, in miniature."""
    return Recipe.model_validate(
        {
            "name": "small",
            "seed": 3,
            "model": {
                "input_size": SIZE, "stem_width": 8, "widths": [8, 16], "depths": [1, 1],
                "squeeze_excite": [False, True], "dropout": 0.1,
            },
            "augment": {"flip": 0, "shift": 0.02, "rotate": 3, "scale": [0.97, 1.03], "erase": 0.1},
            "optim": {
                "epochs": 4, "calm_share": 0.5, "batch_size": 20, "lr": 0.1, "warmup_epochs": 0.5, "average_decay": 0.9,
                "sizes": [[0, 20], [0.5, SIZE]], **optim,
            },
        }
    )  # fmt: skip


def expression_recipe(name: str, *settings: str) -> Recipe:
    """A shipped recipe that trains a reader of expressions."""
    recipe = read(name, settings)
    assert isinstance(recipe, Recipe)
    return recipe
