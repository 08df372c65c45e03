"""Where a network starts from: another run's best weights, or an exported model."""

from __future__ import annotations

from pathlib import Path

import torch

from mien import models
from mien.errors import ModelError, RecipeError
from mien.train.nets import Network
from mien.train.recipe import Recipe
from mien.train.run_folder import RunFolder


def start(net: Network, recipe: Recipe) -> None:
    """Put the weights that `recipe.init` names into `net`; raises ModelError where they are of another network."""
    if not recipe.init:
        return
    if Path(recipe.init).is_dir():
        RunFolder(Path(recipe.init)).load_best(net)
        return
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
    wanted = net.state_dict()
    if any(key not in held or held[key].shape != value.shape for key, value in wanted.items()):
        raise ModelError(f"model {recipe.init!r} is another network than the recipe's [model] table describes")
    net.load_state_dict({key: held[key] for key in wanted})
