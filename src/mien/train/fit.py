"""The training loop."""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mien.data.prepared import PreparedSet
from mien.errors import DataError
from mien.train.augment import augment
from mien.train.nets import ResidualNet
from mien.train.recipe import Recipe
from mien.train.targets import Targets, make_targets

MEAN, STD = 0.508, 0.255
"""Of FER2013's training pixels in 0..1; written to the card, read from there ever after."""


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.csv. Losses in nats, learning rate at the epoch's end, seconds for the epoch."""

    epoch: int
    size: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds: float


Watch = Callable[[int, int, Epoch | None], object]
"""Called with (images done in this epoch, images in an epoch, the epoch's line once it is complete)."""


def fit(
    recipe: Recipe, data: PreparedSet, folder: Path, *, device: str = "cpu", resume: bool = False,
    watch: Watch = lambda done, of, line: None,
) -> list[Epoch]:  # fmt: skip
    """Train `recipe` on `data`; weights, checkpoint and metrics go to the run folder.

    Every epoch draws its order, its augmentation and its dropout from (seed, epoch) alone, so a run resumed
    from its checkpoint, which is written after each epoch, ends where the uninterrupted run would have.
    Writes `checkpoint.safetensors` (to resume), `best.safetensors` (averaged weights of the best validation
    accuracy so far) and `metrics.csv`. Raises DataError when `folder` holds a run and `resume` is not set.
    """
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists() and not resume:
        raise DataError(f"{folder} holds a run already; add --resume to go on with it, or name a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")

    optim = recipe.optim
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    validation = data.split(recipe.data.validation_split)
    batches = _Batches(train, make_targets(train, optim), optim.batch_size, device)
    steps = len(batches) * optim.epochs

    torch.manual_seed(recipe.seed)
    net = ResidualNet(recipe.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.SGD(_decay_groups(net, optim.weight_decay), lr=optim.lr, momentum=optim.momentum,
                                nesterov=optim.momentum > 0)  # fmt: skip
    history: list[Epoch] = []
    if checkpoint.exists():
        history = _load_checkpoint(checkpoint, net, average, optimizer)

    for epoch in range(len(history), optim.epochs):
        began = time.perf_counter()
        torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout
        generator = torch.Generator(device).manual_seed(recipe.seed * 100_003 + epoch)
        size = _size_at(recipe, epoch)
        net.train()
        loss_sum = torch.zeros((), device=device)
        correct = torch.zeros((), device=device)
        seen = 0
        for step, (images, labels, label_target, vote_target, vote_weight) in enumerate(batches.shuffled(generator)):
            now = epoch * len(batches) + step
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(now / len(batches), recipe)
            x = normalise(augment(images, size, recipe.augment, generator))
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                outputs = net(x.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(outputs[0].float(), label_target)
            objective = loss
            if len(outputs) > 1 and optim.vote_weight > 0:
                vote_loss = F.cross_entropy(outputs[1].float(), vote_target, reduction="none")
                objective = loss + optim.vote_weight * (vote_loss * vote_weight).mean()
            optimizer.zero_grad(set_to_none=True)
            objective.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            _update_average(average, net, min(optim.average_decay, (1 + now) / (10 + now)))
            loss_sum += loss.detach() * len(images)
            correct += (outputs[0].argmax(1) == labels).sum()
            seen += len(images)
            if step % 8 == 7:
                watch(seen, len(train), None)
        logits = predict_logits(average, validation.images, recipe.model.input_size, device)
        truth = torch.from_numpy(validation.labels)
        seconds = time.perf_counter() - began
        line = Epoch(
            epoch=epoch + 1, size=size, lr=learning_rate((epoch + 1) * len(batches) / len(batches), recipe),
            train_loss=float(loss_sum) / seen, train_accuracy=float(correct) / seen,
            validation_loss=float(F.cross_entropy(logits, truth)),
            validation_accuracy=float((logits.argmax(1) == truth).float().mean()),
            images_per_second=seen / seconds, seconds=seconds,
        )  # fmt: skip
        if not math.isfinite(line.train_loss):
            raise DataError(f"the loss is no longer finite in epoch {epoch + 1}; lower optim.lr (now {optim.lr})")
        best = max((e.validation_accuracy for e in history), default=0.0)
        history.append(line)
        if line.validation_accuracy > best:
            _write(folder / "best.safetensors", dict(average.state_dict()), {"epoch": str(epoch + 1)})
        _save_checkpoint(checkpoint, net, average, optimizer, history)
        _write_metrics(folder / "metrics.csv", history)
        watch(len(train), len(train), line)
    _write(folder / "last.safetensors", dict(average.state_dict()), {"epoch": str(optim.epochs)})
    return history


def normalise(images: Tensor) -> Tensor:
    """Pixels in 0..1 to the network's input."""
    return (images - MEAN) / STD


@torch.no_grad()
def predict_logits(net: nn.Module, images: np.ndarray, size: int, device: str) -> Tensor:
    """Label logits `(n, 7)` float32 on the CPU for grey uint8 crops `(n, S, S)`."""
    out = []
    for first in range(0, len(images), 512):
        x = torch.from_numpy(images[first : first + 512]).to(device).unsqueeze(1).float() / 255
        if x.shape[-1] != size:
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            out.append(net(normalise(x).contiguous(memory_format=torch.channels_last))[0].float().cpu())
    return torch.cat(out)


def learning_rate(epoch: float, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017)."""
    optim = recipe.optim
    if epoch < optim.warmup_epochs:
        return optim.lr * (epoch + 1e-3) / optim.warmup_epochs
    done = (epoch - optim.warmup_epochs) / max(optim.epochs - optim.warmup_epochs, 1e-9)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _size_at(recipe: Recipe, epoch: int) -> int:
    size = recipe.model.input_size
    for share, pixels in recipe.optim.sizes:
        if epoch >= share * recipe.optim.epochs:
            size = pixels
    return size


class _Batches:
    """The whole training set on the device as uint8, served in shuffled full batches."""

    def __init__(self, train: PreparedSet, targets: Targets, batch_size: int, device: str) -> None:
        self.images = torch.from_numpy(train.images).to(device)
        self.columns = [
            torch.from_numpy(column).to(device)
            for column in (train.labels, targets.labels, targets.votes, targets.vote_weights)
        ]
        self.batch_size = min(batch_size, len(train))
        self.device = device

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def shuffled(self, generator: torch.Generator):  # type: ignore[no-untyped-def]
        order = torch.randperm(len(self.images), generator=generator, device=self.device)
        for i in range(len(self)):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield (self.images[index].unsqueeze(1).float() / 255, *(column[index] for column in self.columns))


def _decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only; none for biases and normalisation (He et al. 2019)."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    mine, theirs = list(average.state_dict().values()), list(net.state_dict().values())
    floating = [(a, b) for a, b in zip(mine, theirs, strict=True) if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floating], [b for _, b in floating], 1 - decay)


def _save_checkpoint(
    path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, history: list[Epoch]
) -> None:
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for i, state in enumerate(optimizer.state[p] for g in optimizer.param_groups for p in g["params"]):
        tensors[f"momentum.{i}"] = state["momentum_buffer"]
    _write(path, tensors, {"history": json.dumps([asdict(line) for line in history])})


def _load_checkpoint(
    path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> list[Epoch]:
    from safetensors import safe_open

    tensors = load_file(path)
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    average.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("average.")})
    for i, parameter in enumerate(p for g in optimizer.param_groups for p in g["params"]):
        momentum = tensors[f"momentum.{i}"].to(parameter.device)
        optimizer.state[parameter]["momentum_buffer"] = momentum.clone(memory_format=torch.preserve_format)
    with safe_open(path, "pt") as file:
        return [Epoch(**line) for line in json.loads(file.metadata()["history"])]


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Aside, then renamed: a killed run leaves the last complete file."""
    working = path.with_suffix(".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, working, metadata)
    working.replace(path)


def _write_metrics(path: Path, history: list[Epoch]) -> None:
    working = path.with_suffix(".part")
    with working.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(history[0])))
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in asdict(line).items()} for line in history)
    working.replace(path)
