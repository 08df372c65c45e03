"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.errors import DataError, MienError, RecipeError
from mien.labels import LABELS
from mien.train.augment import augment
from mien.train.nets import ResidualNet, normalise, parameter_count, to_input
from mien.train.plots import TensorBoard, draw_curves
from mien.train.recipe import OptimTable, Recipe
from mien.train.run_folder import Epoch, RunFolder, State
from mien.train.targets import Targets, make_targets

Watch = Callable[[int, int, int, Epoch | None], object]
"""Called every few steps with (epoch from 1, images done in it, images in it, None), and with the epoch's line
in place of None once it is complete and saved."""


def fit(
    recipe: Recipe, data_folder: Path, run_folder: Path, *, device: str = "cpu", threads: int | None = None,
    resume: bool = False, watch: Watch = lambda epoch, done, of, line: None,
) -> list[Epoch]:  # fmt: skip
    """Train `recipe` on a prepared set; what it leaves in the run folder is told in `mien.train.run_folder`.

    Every epoch draws its order, its augmentation and its dropout from (seed, epoch) alone, so a run resumed
    from its checkpoint, which is written after each epoch, ends where the uninterrupted run would have, to the
    last bit on the same machine with the same number of `threads` (None: as torch has it).
    Returns the epochs' lines, also when a resumed run was finished already. Raises DataError or RecipeError
    when the folder holds another run, the data cannot be learned from, or the loss stops being finite.
    """
    if threads:
        torch.set_num_threads(threads)
    optim = recipe.optim
    data = prepared.load(data_folder)
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    validation = data.split(recipe.data.validation_split)
    _refuse_single_class(train, recipe.data.train_split)

    torch.manual_seed(recipe.seed)
    net = ResidualNet(recipe.model)
    if recipe.init:
        RunFolder(Path(recipe.init)).load_best(net)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        _decay_groups(net, optim.weight_decay), lr=optim.lr, momentum=optim.momentum, nesterov=optim.momentum > 0
    )
    state = State(net, copy.deepcopy(net).eval().requires_grad_(False), optimizer, [])

    run = RunFolder(run_folder)
    facts = {
        "parameters": parameter_count(net),
        "data": {
            "train": len(train),
            "validation": len(validation),
            "sha256": prepared.manifest_hash(data_folder),
        },
    }
    run.check(recipe, facts, resume=resume)
    if run.finished:
        return run.history()
    run.begin(recipe, device, facts)
    targets = make_targets(train, optim)
    if optim.distillation > 0:
        targets = targets.mixed(_teach(optim.teachers, train, device), optim.distillation)
    if run.checkpoint.exists():
        run.restore(state)

    batches = _Batches(train, targets, optim.batch_size, device, _retaken(train, recipe), recipe.data.retaken_share)
    truth = torch.from_numpy(validation.labels)
    with closing(TensorBoard(run.tensorboard)) as board:
        try:
            for epoch in range(len(state.history), optim.epochs):
                began = time.perf_counter()
                train_loss, train_accuracy = _train_epoch(epoch, state, batches, recipe, watch)
                logits = predict_logits(state.average, validation.images, recipe.model.input_size, device)
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
                run.record(state)
                board.log(line)
                watch(epoch + 1, batches.images_per_epoch, batches.images_per_epoch, line)
        finally:
            draw_curves(state.history, run.curves, recipe.name)
    run.finish(state)
    return state.history


def _teach(teachers: Sequence[str], train: PreparedSet, device: str) -> NDArray[np.float32]:
    """The mean of what the networks in the run folders say of every training image and its mirror image, (n, 7)."""
    said = []
    for folder in teachers:
        run = RunFolder(Path(folder))
        net, _ = run.best_net()
        net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        views = train.images, np.ascontiguousarray(train.images[..., ::-1])
        said += [F.softmax(predict_logits(net, view, run.recipe().model.input_size, device), 1) for view in views]
    taught: NDArray[np.float32] = torch.stack(said).mean(0).numpy()
    return taught


def _retaken(train: PreparedSet, recipe: Recipe) -> NDArray[np.uint8] | None:
    """The training images again, as `mien data retake` took them; None where the recipe wants none of them.

    Raises DataError where the folder holds other rows.
    """
    table = recipe.data
    if not table.retaken_share:
        return None
    again = prepared.load(Path(table.retaken)).split(table.train_split, without_flags=table.drop_flags)
    if not np.array_equal(again.sources, train.sources) or again.images.shape != train.images.shape:
        raise DataError(f"{table.retaken} holds other rows than the data; make it anew with: mien data retake")
    return again.images


def _train_epoch(epoch: int, state: State, batches: _Batches, recipe: Recipe, watch: Watch) -> tuple[float, float]:
    """Every image once, less those that fill no batch; returns training loss and accuracy."""
    optim, device = recipe.optim, batches.device
    torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout
    generator = torch.Generator(device).manual_seed(recipe.seed * 100_003 + epoch)
    size, table = size_at(recipe, epoch), recipe.augment.scaled(strength_at(epoch, recipe.optim))
    loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    state.net.train()
    for step, (images, labels, label_target, vote_target, vote_weight) in enumerate(batches.shuffled(generator)):
        now = epoch * len(batches) + step
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now / len(batches), optim)
        x = normalise(augment(images, size, table, generator))
        with _mixed_precision(device):
            outputs = state.net(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(outputs[0].float(), label_target)
        objective = loss
        if len(outputs) > 1 and optim.vote_weight > 0:
            vote_loss = F.cross_entropy(outputs[1].float(), vote_target, reduction="none")
            objective = loss + optim.vote_weight * (vote_loss * vote_weight).mean()
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(objective)
        state.optimizer.step()
        _update_average(state.average, state.net, min(optim.average_decay, (1 + now) / (10 + now)))
        loss_sum += loss.detach() * len(images)
        correct += (outputs[0].argmax(1) == labels).sum()
        if step % 8 == 7 or step + 1 == len(batches):  # now and then: both lines wait for a GPU to catch up
            _refuse_not_finite(float(loss_sum), epoch, step + 1, optim)
            watch(epoch + 1, (step + 1) * batches.batch_size, batches.images_per_epoch, None)
    return float(loss_sum) / batches.images_per_epoch, float(correct) / batches.images_per_epoch


@torch.no_grad()
def predict_logits(net: nn.Module, images: NDArray[np.uint8], size: int, device: str) -> Tensor:
    """Label logits `(n, 7)` float32 on the CPU for grey uint8 crops `(n, S, S)`, in mixed precision."""
    out = []
    for first in range(0, len(images), 512):
        x = to_input(torch.from_numpy(images[first : first + 512]).to(device), size)
        with _mixed_precision(device):
            out.append(net(x.contiguous(memory_format=torch.channels_last))[0].float().cpu())
    return torch.cat(out)


def learning_rate(epoch: float, optim: OptimTable) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017); `epoch` from 0, with fractions."""
    if epoch < optim.warmup_epochs:
        return optim.lr * (epoch + 1e-3) / optim.warmup_epochs
    done = (epoch - optim.warmup_epochs) / (optim.epochs - optim.warmup_epochs)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def size_at(recipe: Recipe, epoch: int) -> int:
    """Side in pixels of the training images in an epoch, counted from 0."""
    size = recipe.model.input_size
    for share, pixels in recipe.optim.sizes:
        if epoch >= share * recipe.optim.epochs:
            size = pixels
    return size


def strength_at(epoch: int, optim: OptimTable) -> float:
    """Strength of the augmentation in an epoch, counted from 0: one, and at the end fading to `calm_strength`."""
    calm = optim.calm_share * optim.epochs
    faded = (epoch + 1 - (optim.epochs - calm)) / calm if calm else 0.0
    return 1 - (1 - optim.calm_strength) * min(max(faded, 0.0), 1.0)


def find_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one. Raises MienError on a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise MienError(f"no device {name!r}; use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise MienError("this torch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return name


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Images `(b, 1, S, S)` float32 in 0..1, labels `(b,)`, and the three columns of `Targets`."""


class _Batches:
    """The whole training set on the device as uint8, served in shuffled full batches."""

    def __init__(
        self, train: PreparedSet, targets: Targets, batch_size: int, device: str,
        retaken: NDArray[np.uint8] | None = None, retaken_share: float = 0.0,
    ) -> None:  # fmt: skip
        self.device = device
        self.retaken = None if retaken is None else torch.from_numpy(retaken).to(device)
        self.retaken_share = retaken_share
        self.images, self.labels, self.label_targets, self.vote_targets, self.vote_weights = (
            torch.from_numpy(column).to(device)
            for column in (train.images, train.labels, targets.labels, targets.votes, targets.vote_weights)
        )
        self.batch_size = min(batch_size, len(train))
        self.images_per_epoch = len(self) * self.batch_size

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.images), generator=generator, device=self.device)
        for index in torch.split(order[: self.images_per_epoch], self.batch_size):
            images = self.images[index]
            if self.retaken is not None:
                chosen = torch.rand(len(index), generator=generator, device=self.device) < self.retaken_share
                images = torch.where(chosen.view(-1, 1, 1), self.retaken[index], images)
            yield (
                images.unsqueeze(1).float() / 255, self.labels[index],
                self.label_targets[index], self.vote_targets[index], self.vote_weights[index],
            )  # fmt: skip


def _mixed_precision(device: str) -> torch.autocast:
    """bfloat16 where the hardware has it: elsewhere a CPU would fall back to code that is many times slower."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or _cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    return torch._C._has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only; none for biases and normalisation (He et al. 2019)."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Weights and normalisation statistics alike; the count of batches seen is no average."""
    pairs = zip(average.state_dict().values(), net.state_dict().values(), strict=True)
    floating = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in floating], [theirs for _, theirs in floating], 1 - decay)


def _refuse_single_class(train: PreparedSet, split: str) -> None:
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise DataError(f"split {split!r} holds only {LABELS[classes[0]]!r}; training needs two expressions or more")


def _refuse_not_finite(loss: float, epoch: int, step: int, optim: OptimTable) -> None:
    if not math.isfinite(loss):
        raise RecipeError(
            f"the loss is no longer finite in epoch {epoch + 1}, by step {step}; lower optim.lr (now {optim.lr:g}) "
            "and train into a new folder; the epochs before are kept"
        )
