"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import nn

from mien.errors import RecipeError
from mien.train.detector.lesson import DetectorLesson
from mien.train.device import keep_freed_memory
from mien.train.expression import ExpressionLesson
from mien.train.lesson import Lesson
from mien.train.nets import parameter_count
from mien.train.plots import TensorBoard, draw_curves
from mien.train.recipe import LoopTable, Plan, Recipe
from mien.train.run_folder import Epoch, RunFolder, State, best
from mien.train.schedule import learning_rate
from mien.train.world import World, joined

Watch = Callable[[int, int, int, Epoch | None], object]
"""Called every few steps with (epoch from 1, images done in it, images in it, None), and with the epoch's line
in place of None once it is complete and saved."""


def fit(
    recipe: Plan, data: Path | Sequence[Path], run_folder: Path, *, device: str = "cpu", threads: int | None = None,
    resume: bool = False, minutes: float = math.inf, watch: Watch = lambda epoch, done, of, line: None,
) -> list[Epoch]:  # fmt: skip
    """Train `recipe` on a prepared set, or a detector's on one or several files of photographs; what it leaves in the
    run folder is told in `mien.train.run_folder`.

    Every epoch draws its order, its augmentation and its dropout from (seed, epoch) alone, so a run resumed
    from its checkpoint, which is written after each epoch, ends where the uninterrupted run would have, to the
    last bit on the same machine with the same number of `threads` (None: as torch has it). Under `torchrun` every
    process takes its share of each batch, and the first of them writes and calls `watch`. A run that cannot complete
    another epoch within `minutes` stops before it; a later call resumes it.
    Returns the epochs' lines, also when a resumed run was finished already. Raises DataError or RecipeError
    when the folder holds another run, the data cannot be learned from, or the loss stops being finite.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    with joined(device) as world:
        deadline = time.monotonic() + minutes * 60
        return _fit(
            recipe, [data] if isinstance(data, Path) else data, RunFolder(run_folder), world, resume, deadline, watch
        )


def _fit(
    recipe: Plan, data: Sequence[Path], run: RunFolder, world: World, resume: bool, deadline: float, watch: Watch
) -> list[Epoch]:
    optim = recipe.optim
    world.check(optim.batch_size)
    torch.manual_seed(recipe.seed)
    lesson: Lesson
    if isinstance(recipe, Recipe):
        (folder,) = data
        lesson = ExpressionLesson(recipe, folder, world)
    else:
        lesson = DetectorLesson(recipe, data, world)
    net = lesson.net
    state = State(net, copy.deepcopy(net).eval().requires_grad_(False), _optimizer(net, optim), [])

    facts = {"parameters": parameter_count(net), "data": lesson.facts, "processes": world.size}
    run.check(recipe, facts, resume=resume)
    if run.finished:
        return run.history()
    world.wait()
    if world.rank == 0:
        run.begin(recipe, world.device, facts)
    if run.checkpoint.exists():
        run.restore(state)
    lesson.open()
    images = lesson.steps * lesson.batch_size
    running = world.together(net)
    with closing(TensorBoard(run.tensorboard if world.rank == 0 else None)) as board:
        try:
            first = len(state.history)
            for epoch in range(first, optim.epochs):
                if _out_of_patience(state.history, optim):
                    break
                if world.any(time.monotonic() + (state.history[-1].seconds if epoch > first else 0) > deadline):
                    return state.history
                began = time.perf_counter()
                train_loss, train_accuracy = _train_epoch(epoch, state, running, lesson, recipe, world, watch)
                validation_loss, validation_accuracy = lesson.validate(state.average)
                seconds = time.perf_counter() - began
                line = Epoch(
                    epoch=epoch + 1, size=lesson.size(epoch), lr=learning_rate(epoch + 1, optim),
                    train_loss=train_loss, train_accuracy=train_accuracy,
                    validation_loss=validation_loss, validation_accuracy=validation_accuracy,
                    images_per_second=images / seconds, seconds=seconds,
                )  # fmt: skip
                _refuse_not_finite(line.validation_loss, epoch, lesson.steps, optim)
                state.history.append(line)
                if world.rank == 0:
                    run.record(state)
                    board.log(line)
                    watch(epoch + 1, images, images, line)
        finally:
            if world.rank == 0:
                draw_curves(state.history, run.curves, recipe.name, lesson.measures)
    if world.rank == 0:
        run.finish(state)
    world.wait()
    return state.history


def _train_epoch(
    epoch: int, state: State, running: nn.Module, lesson: Lesson, recipe: Plan, world: World, watch: Watch
) -> tuple[float, float]:
    """Every image once, less those that fill no batch; returns training loss and accuracy."""
    optim, device, steps = recipe.optim, world.device, lesson.steps
    seed = recipe.seed * 100_003 + epoch
    torch.manual_seed(seed + world.rank)  # dropout
    order = torch.Generator(device).manual_seed(seed)
    draws = torch.Generator(device).manual_seed(seed + 7919 * (world.rank + 1))
    loss_sum, accuracy_sum = torch.zeros((), device=device), torch.zeros((), device=device)
    running.train()
    for i, batch in enumerate(lesson.shuffled(epoch, order, draws)):
        now = epoch * steps + i
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now / steps, optim)
        step = lesson.step(running, batch, epoch, draws)
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(step.loss)
        state.optimizer.step()
        _update_average(state.average, state.net, min(optim.average_decay, (1 + now) / (10 + now)))
        loss_sum += step.shown_loss
        accuracy_sum += step.shown_accuracy
        if i % 8 == 7 or i + 1 == steps:  # now and then: both lines wait for a GPU to catch up
            _refuse_not_finite(float(loss_sum), epoch, i + 1, optim)
            if world.rank == 0:
                watch(epoch + 1, (i + 1) * lesson.batch_size, steps * lesson.batch_size, None)
    parts = steps * world.size
    return float(world.sum(loss_sum)) / parts, float(world.sum(accuracy_sum)) / parts


def _optimizer(net: nn.Module, optim: LoopTable) -> torch.optim.Optimizer:
    """Weight decay for matrices and kernels only; none for biases and normalisation (He et al. 2019)."""
    groups: list[dict[str, object]] = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr)
    return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.momentum > 0)


def _out_of_patience(history: list[Epoch], optim: LoopTable) -> bool:
    return bool(history and optim.patience) and len(history) - best(history).epoch >= optim.patience


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Weights and normalisation statistics alike; the count of batches seen is no average."""
    pairs = zip(average.state_dict().values(), net.state_dict().values(), strict=True)
    floating = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in floating], [theirs for _, theirs in floating], 1 - decay)


def _refuse_not_finite(loss: float, epoch: int, step: int, optim: LoopTable) -> None:
    if not math.isfinite(loss):
        raise RecipeError(
            f"the loss is no longer finite in epoch {epoch + 1}, by step {step}; lower optim.lr (now {optim.lr:g}) "
            f"and train into a new folder{'; the epochs before are kept' if epoch else ''}"
        )
