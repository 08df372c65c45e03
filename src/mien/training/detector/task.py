"""Training a detector: new scenes in every epoch, and average precision on held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, multiprocessing, nn
from torch.utils.data import DataLoader, Dataset

from mien import models
from mien.data import photographs, prepared
from mien.data.photographs import Photograph
from mien.errors import DataError
from mien.threads import cores, in_order
from mien.training.detector.assignment import Cells, Truth, costs
from mien.training.detector.mistakes import find_mistakes
from mien.training.detector.net import DetectorNet, normalised
from mien.training.detector.precision import average_precision
from mien.training.detector.scenes import Scene, Studio
from mien.training.detector.start import start
from mien.training.device import mixed_precision
from mien.training.distributed import World
from mien.training.recipe import DetectorRecipe
from mien.training.task import Step
from mien.vision.detect import MienDetector, suppress

MAX_VALIDATION_SIZE = 320
_VALIDATION_SEED = 20131
_EXAMINED = 400
"""Held-out photographs at most that scenes for validation are composed around."""
_MIN_SCORE, _MAX_FACES = 0.02, 100
_MINED, _MISTAKEN = 6000, 0.45
"""Photographs at most that are searched for mistakes to learn from, and the least score of such a mistake."""
Batch = tuple[Tensor, Truth]
"""Pictures `(n, S, S, 3)` uint8 RGB, and what is in them."""


class DetectorTask:
    """See `mien.training.task.Task`; its accuracy is, in training, the share of the cells in charge of a face that
    say so, and in validation the average precision at an overlap of one half, on scenes that are always the same.

    Raises DataError where the photographs cannot be learned from.
    """

    measures = ("Average precision", "Loss")

    def __init__(self, recipe: DetectorRecipe, files: Sequence[Path], world: World) -> None:
        self._recipe, self._world = recipe, world
        everything = photographs.read(*files)
        self._train = [photograph for photograph in everything if photograph.part == "train"]
        self._held_out = photographs.held_out(everything)
        for part, rows in (("training", self._train), ("validation", self._held_out)):
            if not any(len(row.boxes) for row in rows):
                named = " and ".join(map(str, files))
                raise DataError(f"{named} leaves no face for {part}; it should hold some dozens of photographs or more")
        self._sha256 = photographs.file_hash(*files)
        net = DetectorNet(recipe.model)
        start(net, recipe, self._train)
        self.net: nn.Module = net
        self.net.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._cells: dict[int, Cells] = {}

    @property
    def facts(self) -> dict[str, object]:
        return {"train": len(self._train), "validation": len(self._held_out), "sha256": self._sha256}

    def open(self) -> None:
        table, paste = self._recipe.augment, self._recipe.data.paste
        crops = prepared.load(Path(paste)).split("train").images if paste else np.empty((0, 48, 48), np.uint8)
        mistakes = _mistakes(self._train) if table.mistakes else []
        self._studio = Studio(self._train, crops, table, mistakes)
        self._scenes = _examination(self._held_out, self._recipe)

    @property
    def batch_size(self) -> int:
        return min(self._recipe.optim.batch_size, len(self._train) // self._world.size * self._world.size)

    @property
    def steps(self) -> int:
        return len(self._train) // self.batch_size

    def size(self, epoch: int) -> int:
        return max(self._recipe.augment.sizes)

    def shuffled(self, epoch: int, order: torch.Generator, draws: torch.Generator) -> Iterator[Batch]:
        indices = torch.randperm(len(self._train), generator=order, device=self._world.device)
        sizes = self._recipe.augment.sizes
        picked = torch.randint(len(sizes), (self.steps,), generator=order, device=self._world.device).tolist()
        plan = [
            (self._world.share(whole).tolist(), sizes[choice])
            for whole, choice in zip(torch.split(indices[: self.steps * self.batch_size], self.batch_size), picked,
                                     strict=True)
        ]  # fmt: skip

        def compose(rows: list[int], size: int) -> Batch:
            seeds = ([self._recipe.seed, epoch, row] for row in rows)
            scenes = [
                self._studio.compose(row, size, np.random.default_rng(seed))
                for row, seed in zip(rows, seeds, strict=True)
            ]
            return torch.from_numpy(np.stack([scene.image for scene in scenes])), _truth(scenes)

        return composed(compose, plan, max(1, cores() // self._world.size), self._world.device)

    def step(self, running: nn.Module, batch: Batch, epoch: int, draws: torch.Generator) -> Step:
        pictures, truth = batch
        outputs = self._outputs(running, pictures)
        device = self._world.device
        on_device = Truth(*(getattr(truth, name).to(device) for name in Truth.__dataclass_fields__))
        found = costs(outputs, self._cells_of(pictures.shape[1]), on_device)
        return Step(found.total, found.total.detach(), found.found)

    @torch.no_grad()
    def validate(self, average: nn.Module) -> tuple[float, float]:
        losses, results = [], []
        cells = self._cells_of(self._scenes[0].image.shape[0])
        for first in range(0, len(self._scenes), 32):
            scenes = self._scenes[first : first + 32]
            outputs = self._outputs(average, torch.from_numpy(np.stack([scene.image for scene in scenes]))).float()
            losses.append(float(costs(outputs, cells, _truth(scenes)).total) * len(scenes))
            logits, boxes, _ = cells.decode(outputs)
            for i, scene in enumerate(scenes):
                results.append((*_best(logits[i].sigmoid(), boxes[i]), scene.boxes, scene.ignore))
        return sum(losses) / len(self._scenes), average_precision(results)

    def _outputs(self, net: nn.Module, pictures: Tensor) -> Tensor:
        device = self._world.device
        x = normalised(pictures.to(device))
        with mixed_precision(device):
            outputs: Tensor = net(x)
        return outputs

    def _cells_of(self, size: int) -> Cells:
        if size not in self._cells:
            self._cells[size] = Cells.of(size, size, self._world.device)
        return self._cells[size]


def composed(
    compose: Callable[[list[int], int], Batch], plan: Sequence[tuple[list[int], int]], workers: int, device: str
) -> Iterator[Batch]:
    """What `compose` makes of each entry of the plan, in order: in threads, or beside a GPU, which needs scenes faster
    than threads that share one interpreter compose them, in processes."""
    if torch.device(device).type != "cuda" or "fork" not in multiprocessing.get_all_start_methods():
        return in_order(lambda entry: compose(*entry), plan, workers)
    cv2.setNumThreads(1)  # before the fork: its threads do not survive that
    multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]  # no descriptor per tensor
    return iter(
        DataLoader(
            _Plan(compose, plan), batch_size=None, collate_fn=_as_it_is, num_workers=workers, prefetch_factor=4,
            multiprocessing_context="fork",
        )
    )  # fmt: skip


@dataclass(frozen=True)
class _Plan(Dataset[Batch]):
    compose: Callable[[list[int], int], Batch]
    entries: Sequence[tuple[list[int], int]]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Batch:
        return self.compose(*self.entries[index])


def _as_it_is(batch: Any) -> Any:
    return batch


def _mistakes(photographs: list[Photograph]) -> list[tuple[int, NDArray[np.float32]]]:
    """Those of the detector in the package, in some thousand of the photographs."""
    chosen = range(0, len(photographs), -(-len(photographs) // _MINED))
    detector = MienDetector(models.load_detector(), threads=1, min_score=_MISTAKEN)
    return [(chosen[i], box) for i, box in find_mistakes([photographs[i] for i in chosen], detector)]


def _examination(held_out: list[Photograph], recipe: DetectorRecipe) -> list[Scene]:
    """Scenes around the held-out photographs, around every Nth of many; the same in every run of a recipe."""
    studio = Studio(held_out, np.empty((0, 48, 48), np.uint8), recipe.augment)
    size = min(MAX_VALIDATION_SIZE, max(recipe.augment.sizes))
    chosen = range(0, len(held_out), -(-len(held_out) // _EXAMINED))
    return [studio.compose(i, size, np.random.default_rng([_VALIDATION_SEED, i])) for i in chosen]


def _truth(scenes: list[Scene]) -> Truth:
    def rows(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(scene, name) for scene in scenes]))

    def owners(name: str) -> Tensor:
        return torch.tensor([i for i, scene in enumerate(scenes) for _ in getattr(scene, name)], dtype=torch.int64)

    return Truth(owners("boxes"), rows("boxes"), rows("landmarks"), owners("ignore"), rows("ignore"))


def _best(scores: Tensor, boxes: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores and boxes of one picture after non-maximum suppression, best first."""
    top = scores.topk(min(_MAX_FACES * 4, len(scores)))
    top_boxes, top_scores = boxes[top.indices].cpu().numpy(), top.values.cpu().numpy()
    likely = top_scores >= _MIN_SCORE
    kept = suppress(top_boxes[likely], top_scores[likely], 0.4)[:_MAX_FACES]
    return top_scores[likely][kept], top_boxes[likely][kept]
