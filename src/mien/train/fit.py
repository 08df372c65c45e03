"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from mien.errors import RecipeError
from mien.train import material
from mien.train.augment import augment
from mien.train.batches import Batches
from mien.train.device import mixed_precision, predict_logits
from mien.train.mix import mix
from mien.train.nets import build, normalise, parameter_count, resize
from mien.train.plots import TensorBoard, draw_curves
from mien.train.recipe import OptimTable, Recipe
from mien.train.run_folder import Epoch, RunFolder, State, best
from mien.train.schedule import learning_rate, size_at, strength_at
from mien.train.start import start
from mien.train.world import World, joined

Watch = Callable[[int, int, int, Epoch | None], object]
"""Called every few steps with (epoch from 1, images done in it, images in it, None), and with the epoch's line
in place of None once it is complete and saved."""


def fit(
    recipe: Recipe, data_folder: Path, run_folder: Path, *, device: str = "cpu", threads: int | None = None,
    resume: bool = False, minutes: float = math.inf, watch: Watch = lambda epoch, done, of, line: None,
) -> list[Epoch]:  # fmt: skip
    """Train `recipe` on a prepared set; what it leaves in the run folder is told in `mien.train.run_folder`.

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
    with joined(device) as world:
        deadline = time.monotonic() + minutes * 60
        return _fit(recipe, data_folder, RunFolder(run_folder), world, resume, deadline, watch)


def _fit(
    recipe: Recipe, data_folder: Path, run: RunFolder, world: World, resume: bool, deadline: float, watch: Watch
) -> list[Epoch]:
    optim, device = recipe.optim, world.device
    world.check(optim.batch_size)
    rows = material.load(recipe, data_folder)
    torch.manual_seed(recipe.seed)
    net = build(recipe.model)
    start(net, recipe)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = State(net, copy.deepcopy(net).eval().requires_grad_(False), _optimizer(net, optim), [])

    facts = {"parameters": parameter_count(net), "data": rows.facts(), "processes": world.size}
    run.check(recipe, facts, resume=resume)
    if run.finished:
        return run.history()
    world.wait()
    if world.rank == 0:
        run.begin(recipe, device, facts)
    if run.checkpoint.exists():
        run.restore(state)
    batches = material.serve(rows, recipe, world)
    running = world.together(net)
    online = optim.distillation > 0 and optim.teach_views == "augmented"
    taught = material.teachers(optim.teachers, device) if online else []
    truth = torch.from_numpy(rows.validation.labels)
    with closing(TensorBoard(run.tensorboard if world.rank == 0 else None)) as board:
        try:
            first = len(state.history)
            for epoch in range(first, optim.epochs):
                if _out_of_patience(state.history, optim):
                    break
                if world.any(time.monotonic() + (state.history[-1].seconds if epoch > first else 0) > deadline):
                    return state.history
                began = time.perf_counter()
                train_loss, train_accuracy = _train_epoch(epoch, state, running, batches, recipe, world, watch, taught)
                logits = predict_logits(state.average, rows.validation.images, recipe.model.input_size, device)
                seconds = time.perf_counter() - began
                line = Epoch(
                    epoch=epoch + 1, size=size_at(recipe, epoch), lr=learning_rate(epoch + 1, optim),
                    train_loss=train_loss, train_accuracy=train_accuracy,
                    validation_loss=float(F.cross_entropy(logits, truth)),
                    validation_accuracy=float((logits.argmax(1) == truth).float().mean()),
                    images_per_second=batches.images_per_epoch / seconds, seconds=seconds,
                )  # fmt: skip
                _refuse_not_finite(line.validation_loss, epoch, len(batches), optim)
                state.history.append(line)
                if world.rank == 0:
                    run.record(state)
                    board.log(line)
                    watch(epoch + 1, batches.images_per_epoch, batches.images_per_epoch, line)
        finally:
            if world.rank == 0:
                draw_curves(state.history, run.curves, recipe.name)
    if world.rank == 0:
        run.finish(state)
    world.wait()
    return state.history


def _train_epoch(
    epoch: int, state: State, running: nn.Module, batches: Batches, recipe: Recipe, world: World, watch: Watch,
    teachers: list[material.Teacher],
) -> tuple[float, float]:  # fmt: skip
    """Every image once, less those that fill no batch; returns training loss and accuracy."""
    optim, device = recipe.optim, world.device
    seed = recipe.seed * 100_003 + epoch
    torch.manual_seed(seed + world.rank)  # dropout
    order = torch.Generator(device).manual_seed(seed)
    draws = torch.Generator(device).manual_seed(seed + 7919 * (world.rank + 1))
    size, table = size_at(recipe, epoch), recipe.augment.scaled(strength_at(epoch, optim))
    mixing = epoch < recipe.mix.until * optim.epochs
    loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    running.train()
    for step, batch in enumerate(batches.shuffled(order, draws)):
        now = epoch * len(batches) + step
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now / len(batches), optim)
        targets = batch.targets
        images = resize(batch.images, size) if recipe.augment.once else augment(batch.images, size, table, draws)
        if mixing:
            images, targets = mix(images, targets, recipe.mix, draws)
        if teachers:
            said = targets[0].sum(1, keepdim=True) * material.teach(images, teachers, device)
            targets = (torch.lerp(targets[0], said, optim.distillation), *targets[1:])
        with mixed_precision(device):
            outputs = running(normalise(images).contiguous(memory_format=torch.channels_last))
        losses = [F.cross_entropy(output.float(), target) for output, target in zip(outputs, targets, strict=False)]
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses[0] + optim.vote_weight * losses[1] if len(losses) > 1 else losses[0])
        state.optimizer.step()
        _update_average(state.average, state.net, min(optim.average_decay, (1 + now) / (10 + now)))
        loss_sum += losses[0].detach() * len(images)
        correct += (outputs[0].argmax(1) == batch.labels).sum()
        if step % 8 == 7 or step + 1 == len(batches):  # now and then: both lines wait for a GPU to catch up
            _refuse_not_finite(float(loss_sum), epoch, step + 1, optim)
            if world.rank == 0:
                watch(epoch + 1, (step + 1) * batches.batch_size, batches.images_per_epoch, None)
    return float(world.sum(loss_sum)) / batches.images_per_epoch, float(world.sum(correct)) / batches.images_per_epoch


def _optimizer(net: nn.Module, optim: OptimTable) -> torch.optim.Optimizer:
    """Weight decay for matrices and kernels only; none for biases and normalisation (He et al. 2019)."""
    groups: list[dict[str, object]] = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr)
    return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.momentum > 0)


def _out_of_patience(history: list[Epoch], optim: OptimTable) -> bool:
    return bool(history and optim.patience) and len(history) - best(history).epoch >= optim.patience


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Weights and normalisation statistics alike; the count of batches seen is no average."""
    pairs = zip(average.state_dict().values(), net.state_dict().values(), strict=True)
    floating = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in floating], [theirs for _, theirs in floating], 1 - decay)


def _refuse_not_finite(loss: float, epoch: int, step: int, optim: OptimTable) -> None:
    if not math.isfinite(loss):
        raise RecipeError(
            f"the loss is no longer finite in epoch {epoch + 1}, by step {step}; lower optim.lr (now {optim.lr:g}) "
            "and train into a new folder; the epochs before are kept"
        )
