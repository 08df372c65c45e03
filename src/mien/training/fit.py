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
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mien.errors import DataError, RecipeError
from mien.files import printable
from mien.training.detector.task import DetectorTask
from mien.training.device import keep_freed_memory
from mien.training.distributed import World, process_group
from mien.training.expression.net import parameter_count
from mien.training.expression.task import ExpressionTask
from mien.training.plots import TensorBoard, draw_curves
from mien.training.recipe import LoopTable, Plan, Recipe
from mien.training.run_folder import Epoch, RunFolder, State, best
from mien.training.schedule import learning_rate
from mien.training.task import Task

Progress = Callable[[int, int, int, Epoch | None], object]
"""Called every few steps with (epoch from 1, images done in it, images in it, None), and with the epoch's line
in place of None once it is complete and saved."""


_MOST_THREADS = 256
"""More than any machine's network of this size can use, and fewer than systems refuse to start."""


def fit(
    recipe: Plan, data: Path | Sequence[Path], run_folder: Path, *, device: str = "cpu", threads: int | None = None,
    resume: bool = False, minutes: float = math.inf, progress: Progress = lambda epoch, done, of, line: None,
) -> list[Epoch]:  # fmt: skip
    """Train `recipe` on a prepared set, or a detector's on one or several files of photographs;
    `mien.training.run_folder` lists what it leaves in the run folder.

    Every epoch draws its order, its augmentation and its dropout from (seed, epoch) alone, so a run resumed
    from its checkpoint, which is written after each epoch, ends where the uninterrupted run would have, to the
    last bit on the same machine with the same number of `threads` (None: as torch has it). Under `torchrun` every
    process takes its share of each batch, and the first of them writes and calls `progress`. A run stops before an
    epoch that would probably end after `minutes` (0: before any), as the last one on this machine did; a later call
    resumes it.
    Returns the epochs' lines, also when a resumed run was finished already. Raises DataError or RecipeError
    when the folder holds another run, the data cannot be learned from, or the loss stops being finite.
    """
    if printable(run_folder) != str(run_folder):
        raise DataError(f"{printable(run_folder)} is no text, which TensorBoard asks of a folder; choose another")
    if threads:
        torch.set_num_threads(min(threads, _MOST_THREADS))
    keep_freed_memory()
    with process_group(device) as world:
        deadline = time.monotonic() + minutes * 60
        files = [data] if isinstance(data, Path) else data
        return _fit(recipe, files, RunFolder(run_folder), world, resume, deadline, progress)


def _fit(
    recipe: Plan, data: Sequence[Path], run: RunFolder, world: World, resume: bool, deadline: float, progress: Progress
) -> list[Epoch]:
    optim = recipe.optim
    world.check(optim.batch_size)
    torch.manual_seed(recipe.seed)
    task: Task
    if isinstance(recipe, Recipe):
        (folder,) = data
        task = ExpressionTask(recipe, folder, world)
    else:
        task = DetectorTask(recipe, data, world)
    net = task.net
    state = State(net, copy.deepcopy(net).eval().requires_grad_(False), _optimizer(net, optim), [])

    facts = {"parameters": parameter_count(net), "data": task.facts, "processes": world.size}
    run.check(recipe, facts, resume=resume)
    if run.finished:
        return run.history()
    world.wait()
    if world.rank == 0:
        run.begin(recipe, world.device, facts)
    known = False  # how long an epoch takes here
    if run.checkpoint.exists():
        run.restore(state)
        known = run.same_machine()
    task.open()
    images = task.steps * task.batch_size
    running = world.parallel(net)
    with closing(TensorBoard(run.tensorboard if world.rank == 0 else None)) as board:
        try:
            first = len(state.history)
            for epoch in range(first, optim.epochs):
                if _out_of_patience(state.history, optim):
                    break
                needed = _expected_seconds(state.history, task.size(epoch)) if epoch > first or known else 0.0
                if world.any(time.monotonic() + needed >= deadline):
                    return state.history
                began = time.perf_counter()
                train_loss, train_accuracy = _train_epoch(epoch, state, running, task, recipe, world, progress)
                validation_loss, validation_accuracy = task.validate(state.average)
                seconds = time.perf_counter() - began
                line = Epoch(
                    epoch=epoch + 1, size=task.size(epoch), lr=learning_rate(epoch + 1, optim),
                    train_loss=train_loss, train_accuracy=train_accuracy,
                    validation_loss=validation_loss, validation_accuracy=validation_accuracy,
                    images_per_second=images / seconds, seconds=seconds,
                )  # fmt: skip
                _refuse_not_finite(line.validation_loss, epoch, task.steps, optim)
                state.history.append(line)
                if world.rank == 0:
                    run.record(state)
                    board.log(line)
                    progress(epoch + 1, images, images, line)
        finally:
            if world.rank == 0:
                draw_curves(state.history, run.curves, recipe.name, task.measures)
    if world.rank == 0:
        run.finish(state)
    world.wait()
    return state.history


def _train_epoch(
    epoch: int, state: State, running: nn.Module, task: Task, recipe: Plan, world: World, progress: Progress
) -> tuple[float, float]:
    """Every image once, less those that fill no batch; returns training loss and accuracy."""
    optim, device, steps = recipe.optim, world.device, task.steps
    seed = recipe.seed * 100_003 + epoch
    torch.manual_seed(seed + world.rank)  # dropout
    order = torch.Generator(device).manual_seed(seed)
    draws = torch.Generator(device).manual_seed(seed + 7919 * (world.rank + 1))
    loss_sum, accuracy_sum = torch.zeros((), device=device), torch.zeros((), device=device)
    running.train()
    for i, batch in enumerate(task.shuffled(epoch, order, draws)):
        now = epoch * steps + i
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now / steps, optim)
        step = task.step(running, batch, epoch, draws)
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(step.loss)
        state.optimizer.step()
        _update_average(state.average, state.net, min(optim.average_decay, (1 + now) / (10 + now)))
        loss_sum += step.logged_loss
        accuracy_sum += step.accuracy
        if i % 8 == 7 or i + 1 == steps:  # now and then: both lines wait for a GPU to catch up
            _refuse_not_finite(float(loss_sum), epoch, i + 1, optim)
            if world.rank == 0:
                progress(epoch + 1, (i + 1) * task.batch_size, steps * task.batch_size, None)
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


def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and normalisation statistics; counts of batches are left out.

    Not by AveragedModel, whose counter makes the CPU wait for a GPU in every step, and whose decay is constant.
    """
    pairs = zip(average.state_dict().values(), net.state_dict().values(), strict=True)
    floating = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    update([mine for mine, _ in floating], [theirs for _, theirs in floating], 0)


def _expected_seconds(history: list[Epoch], size: int) -> float:
    """Of an epoch with training images of `size` pixels a side, by the last one, which may have had smaller ones."""
    last = history[-1]
    return last.seconds * max(1.0, (size / last.size) ** 2)


def _refuse_not_finite(loss: float, epoch: int, step: int, optim: LoopTable) -> None:
    if not math.isfinite(loss):
        raise RecipeError(
            f"the loss is no longer finite in epoch {epoch + 1}, by step {step}; lower optim.lr (now {optim.lr:g}) "
            f"and train into a new folder{'; the epochs before are kept' if epoch else ''}"
        )
