"""Training an expression network: crops and their labels, augmented and, where a recipe says so, distilled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.training.device import mixed_precision, predict_logits
from mien.training.distributed import World
from mien.training.expression import data
from mien.training.expression.augment import augment
from mien.training.expression.batches import Batch
from mien.training.expression.net import build, normalise, resize
from mien.training.expression.teachers import Teachers
from mien.training.recipe import Recipe
from mien.training.schedule import size_at, strength_at
from mien.training.start import start
from mien.training.task import Step


class ExpressionTask:
    """See `mien.training.task.Task`. Raises DataError where the prepared set cannot be learned from."""

    measures = ("Accuracy", "Loss in nats")

    def __init__(self, recipe: Recipe, data_folder: Path, world: World) -> None:
        self._recipe, self._world = recipe, world
        self._rows = data.load(recipe, data_folder)
        self.net: nn.Module = build(recipe.model, self._rows.labels)
        start(self.net, recipe, self._rows.labels)
        self.net.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def facts(self) -> dict[str, object]:
        return self._rows.facts()

    def open(self) -> None:
        optim, device = self._recipe.optim, self._world.device
        teachers = Teachers(self._recipe, self._rows.validation, device) if optim.distillation else None
        once = optim.teach_views == "plain"
        self._batches = data.make_batches(self._rows, self._recipe, self._world, teachers if once else None)
        self._teachers = None if once else teachers

    @property
    def batch_size(self) -> int:
        return self._batches.batch_size

    @property
    def steps(self) -> int:
        return len(self._batches)

    def size(self, epoch: int) -> int:
        return size_at(self._recipe, epoch)

    def shuffled(self, epoch: int, order: torch.Generator, draws: torch.Generator) -> Iterator[Batch]:
        return self._batches.shuffled(order, draws)

    def step(self, running: nn.Module, batch: Batch, epoch: int, draws: torch.Generator) -> Step:
        recipe, size = self._recipe, self.size(epoch)
        optim = recipe.optim
        table = recipe.augment.scaled(strength_at(epoch, optim))
        targets = batch.targets
        images = resize(batch.images, size) if recipe.augment.once else augment(batch.images, size, table, draws)
        if self._teachers:
            taught = targets[0].sum(1, keepdim=True) * self._teachers.probabilities(images, targets[1], draws)
            targets = (torch.lerp(targets[0], taught, optim.distillation), *targets[1:])
        loss, label_loss, logits = self._loss(running, images, targets)
        return Step(loss, label_loss.detach(), (logits.argmax(1) == batch.labels).float().mean())

    def _loss(self, net: nn.Module, images: Tensor, targets: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of both heads, that of the label head, and its logits."""
        with mixed_precision(self._world.device):
            outputs = net(normalise(images).contiguous(memory_format=torch.channels_last))
        losses = [F.cross_entropy(output.float(), target) for output, target in zip(outputs, targets, strict=False)]
        loss = losses[0] + self._recipe.optim.vote_weight * losses[1] if len(losses) > 1 else losses[0]
        return loss, losses[0], outputs[0]

    def validate(self, average: nn.Module) -> tuple[float, float]:
        rows = self._rows.validation
        logits = predict_logits(average, rows.images, self._recipe.model.input_size, self._world.device)
        truth = torch.from_numpy(rows.labels)
        return float(F.cross_entropy(logits, truth)), float((logits.argmax(1) == truth).float().mean())
