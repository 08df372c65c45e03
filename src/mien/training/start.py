"""Where a network starts from: another run's best weights, or an exported model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien import models
from mien.errors import ModelError, RecipeError
from mien.labels import LABELS
from mien.training.expression.efficientnet import IMAGENET, EfficientNet
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder

_HEAD = ("label_head.weight", "label_head.bias")


def start(net: nn.Module, recipe: Recipe, labels: tuple[str, ...] = LABELS) -> None:
    """Put the weights that `recipe.init` names into `net`, whose labels are `labels`.

    Where theirs differ, the label head keeps the rows of common labels and starts at random for the rest, as
    `head_note` says. Raises ModelError where they are of another network.
    """
    if not recipe.init:
        return
    if recipe.init == IMAGENET:
        if not isinstance(net, EfficientNet):
            raise RecipeError(f'init = "{IMAGENET}" is for model.kind = "efficientnet" only')
        net.begin_from_imagenet()
        return
    run = RunFolder(Path(recipe.init))
    if run.path.is_dir() and run.labels() == labels and not isinstance(net, EfficientNet):
        run.load_best(net)
        return
    held, known = _held(recipe)
    if isinstance(net, EfficientNet) and known == labels:
        net.begin_from(held)
        return
    wanted = net.state_dict()
    if known != labels:
        held |= {key: _rows(held[key], known, wanted[key], labels) for key in _HEAD if key in held}
    if any(key not in held or held[key].shape != value.shape for key, value in wanted.items()):
        raise ModelError(f"model {recipe.init!r} is another network than the recipe's [model] table describes")
    net.load_state_dict({key: held[key] for key in wanted})


def head_note(recipe: Recipe, labels: tuple[str, ...]) -> str:
    """What becomes of the label head of the weights that `recipe.init` names, as a sentence; empty where all of it
    stays. Raises as `start` does where there are no such weights."""
    known = labels if recipe.init in ("", IMAGENET) else _held(recipe)[1]
    if set(known) == set(labels):
        return ""
    kept, new = ([label for label in labels if (label in known) == shared] for shared in (True, False))
    parts = [f"keeps {', '.join(kept)}"] if kept else []
    parts += [f"starts at random for {', '.join(new)}"] if new else []
    return f"the network starts from {recipe.init}, and its label head {' and '.join(parts)}"


def _rows(held: Tensor, known: tuple[str, ...], fresh: Tensor, labels: tuple[str, ...]) -> Tensor:
    """A row for each of `labels`: those of `held` for what is `known`, else those of `fresh`."""
    if held.shape[1:] != fresh.shape[1:]:
        return held  # of another network, which `start` refuses
    return torch.stack([held[known.index(label)] if label in known else fresh[k] for k, label in enumerate(labels)])


def _held(recipe: Recipe) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights that `recipe.init` names, and their labels, in the order of the label head."""
    run = RunFolder(Path(recipe.init))
    if run.path.is_dir():
        return dict(run.best_net()[0].state_dict()), run.labels()
    if recipe.model.batch_norm:
        raise RecipeError(
            f"init = {recipe.init!r} is no run folder; an exported model starts only a network with "
            "model.batch_norm = false, since its normalisations are folded away"
        )
    import onnx  # here, so that a machine that only trains can do without it
    from onnx import numpy_helper

    model = models.load(recipe.init)
    graph = onnx.load_model_from_string(model.weights).graph
    held = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    return held, model.card.labels
