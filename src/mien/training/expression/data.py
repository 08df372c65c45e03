"""The training and validation rows of a prepared set, and the batches made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.errors import DataError
from mien.labels import LABELS
from mien.training.distributed import World
from mien.training.expression.augment import augment
from mien.training.expression.batches import Batches
from mien.training.expression.photographs import UnlabelledFaces, unlabelled_faces
from mien.training.expression.targets import make_targets, named_shares, taught_targets
from mien.training.expression.teachers import Teachers, labels_of
from mien.training.recipe import AugmentTable, Recipe


@dataclass(frozen=True)
class TrainingData:
    """The rows that train, those that choose the best epoch, the SHA-256 of their manifest, and the photographs' faces
    where the recipe names any."""

    train: PreparedSet
    validation: PreparedSet
    sha256: str
    faces: UnlabelledFaces | None = None

    def facts(self) -> dict[str, object]:
        """For run.json; labels only where they are not the seven expressions."""
        own: dict[str, object] = {} if self.labels == LABELS else {"labels": list(self.labels)}
        if self.faces is not None:
            own["faces"] = {"unlabelled": len(self.faces), "sha256": self.faces.sha256}
        return {"train": len(self.train), "validation": len(self.validation), "sha256": self.sha256, **own}

    @property
    def labels(self) -> tuple[str, ...]:
        """The set's label names."""
        return self.train.label_names


def load(recipe: Recipe, folder: Path) -> TrainingData:
    """Read both splits; raises DataError where they cannot be learned from."""
    data = prepared.load(folder)
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    validation = data.split(recipe.data.validation_split)
    classes = np.unique(train.labels)
    if len(classes) < 2:
        only = data.label_names[classes[0]]
        raise DataError(
            f"split {recipe.data.train_split!r} holds only {only!r}; training needs two expressions or more"
        )
    for teacher in recipe.optim.teachers:
        if labels_of(teacher) != data.label_names:
            raise DataError(f"the teacher {teacher} has other labels than {folder}")
    voted = validation.labels[named_shares(validation.votes).any(1)]
    if recipe.optim.teachers_see_votes and len(np.unique(voted)) < 2:
        raise DataError(
            f"teachers_see_votes needs votes on two expressions or more in split {recipe.data.validation_split!r}; "
            "prepare the data with votes, or leave it out"
        )
    files = tuple(map(Path, recipe.data.photographs))
    return TrainingData(train, validation, prepared.manifest_hash(folder), unlabelled_faces(files) if files else None)


def make_batches(rows: TrainingData, recipe: Recipe, world: World, teachers: Teachers | None) -> Batches:
    """The training rows with their targets, the teachers' share included, ready to be drawn from."""
    train, recropped = rows.train, _recropped(rows.train, recipe)
    if recipe.augment.once:
        train = doubled(train, recipe.augment, recipe.seed)
        recropped = None if recropped is None else np.concatenate([recropped, recropped])
    targets = make_targets(train, recipe.optim)
    images, labels = train.images, train.labels
    if teachers:
        targets = targets.mixed(teachers.probabilities_once(images, targets.votes), recipe.optim.distillation)
    if teachers and rows.faces:
        faces = rows.faces.crops(images.shape[1])
        taught = taught_targets(teachers.probabilities_once(faces), recipe.optim)
        targets = targets.followed_by(taught)
        images, labels = np.concatenate([images, faces]), np.concatenate([labels, taught.labels.argmax(1)])
        recropped = None if recropped is None else np.concatenate([recropped, faces])
    return Batches(images, labels, targets, recipe.optim.batch_size, world, recropped, recipe.data.recropped_share)


def doubled(rows: PreparedSet, table: AugmentTable, seed: int) -> PreparedSet:
    """The rows, and after them each once more with its image changed."""
    images = torch.from_numpy(rows.images).unsqueeze(1).float() / 255
    changed = augment(images, images.shape[-1], table, torch.Generator().manual_seed(seed))
    copies = (changed.squeeze(1) * 255).round().to(torch.uint8).numpy()
    twice = rows.take(np.tile(np.arange(len(rows)), 2))
    return replace(twice, images=np.concatenate([rows.images, copies]))


def _recropped(train: PreparedSet, recipe: Recipe) -> NDArray[np.uint8] | None:
    """The training images again, as `mien data recrop` cropped them; None where the recipe wants none of them.

    Raises DataError where the folder holds other rows.
    """
    table = recipe.data
    if not table.recropped_share:
        return None
    again = prepared.load(Path(table.recropped)).split(table.train_split, without_flags=table.drop_flags)
    if not np.array_equal(again.sources, train.sources) or again.images.shape != train.images.shape:
        raise DataError(f"{table.recropped} holds other rows than the data; make it again with: mien data recrop")
    return again.images
