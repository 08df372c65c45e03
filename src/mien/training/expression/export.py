"""A run folder's best weights as an ONNX file and its card, proven to compute what torch computes."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien import models
from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.errors import DataError, ModelError, did_you_mean
from mien.labels import VOTE_LABELS
from mien.models import Card, Model
from mien.training.device import predict_logits
from mien.training.expression.average import average
from mien.training.expression.calibration import temperature
from mien.training.expression.logit_adjustment import adjust_logits, balance_adjustment
from mien.training.expression.net import MEAN, STD, Network, parameter_count, to_input
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder, best
from mien.vision.classify import Classifier
from mien.vision.runtime import Session

if TYPE_CHECKING:
    from mien.training.expression.quantize import Quantized

Module = TypeVar("Module", bound=nn.Module)
TOLERANCE = 1e-4
"""Largest difference of a probability to torch's, float32."""
PARITY_IMAGES = 512
BATCH_SIZES = (1, 7, 64)
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """`difference` is the largest found between torch's and ONNX Runtime's probabilities on `images` images."""

    weights: Path
    card_path: Path
    card: Card
    difference: float
    images: int
    int8: Quantized | None = None
    """The int8 network beside it, where it was made."""


def export(
    run_folders: Sequence[Path],
    data_folder: Path,
    out: Path,
    name: str,
    progress: Callable[[str], object] = lambda stage: None,
    balance: float = 0.0,
    adjust: Mapping[str, float] = MappingProxyType({}),
) -> Exported:
    """Write `out` (.onnx) and its card (.json beside it) from a run's best weights, or the mean of several runs'.

    Input `crops` (batch, 1, S, S) float32, normalised; outputs `logits` (batch, k) and, with a vote head,
    `votes` (batch, 8). The temperature is fitted on the validation split of `data_folder`, the prepared set
    that the run was trained on. Writes nothing and raises ModelError where torch and ONNX Runtime disagree.
    `progress` is called with each stage, in words. `balance` (0..1) and `adjust` (label -> nats) shift the logits; see
    `mien.training.expression.logit_adjustment`.
    """
    if out.suffix != ".onnx":
        raise ModelError(f"{out} should end in .onnx; the card is written beside it as .json")
    runs = [RunFolder(folder) for folder in run_folders]
    recipe = runs[0].recipe()
    nets = [run.best_net()[0] for run in runs]
    progress("loading the data")
    data = prepared.load(data_folder)
    data_hash = prepared.manifest_hash(data_folder)
    for run in runs:
        if run.about().get("data", {}).get("sha256", data_hash) != data_hash or run.labels() != data.label_names:
            raise DataError(f"{run.path} was trained on another set than {data_folder}; give the one it was trained on")
    if unknown := sorted(set(adjust) - set(data.label_names)):
        raise ModelError(
            f"there is no label {unknown[0]!r} to adjust{did_you_mean(unknown[0], data.label_names)}; "
            f"labels are {', '.join(data.label_names)}"
        )
    validation = data.split(recipe.data.validation_split)
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    net = nets[0]
    if len(nets) > 1:
        progress("averaging the runs")
        net = average(nets, train.images, recipe.model.input_size)
    nats = balance_adjustment(train.labels, len(data.label_names), balance)
    nats += [adjust.get(label, 0) for label in data.label_names]
    if nats.any():
        progress("adjusting the logits")
        logits = predict_logits(net, validation.images, recipe.model.input_size, "cpu").numpy()
        adjust_logits(net, nats, temperature(logits, validation.labels))

    progress("writing the network")
    weights = to_onnx(net, recipe.model.input_size)
    card = Card(
        name=name,
        about=recipe.about,
        labels=data.label_names,
        vote_labels=VOTE_LABELS if net.vote_head is not None else (),
        input_size=recipe.model.input_size,
        mean=MEAN,
        std=STD,
        sha256=hashlib.sha256(weights).hexdigest(),
        parameters=parameter_count(net),
        balance=balance,
        logit_adjustment=dict(adjust),
        data=_describe(data, recipe, runs[0].about()),
        provenance={"runs": [provenance_of(run) for run in runs], "data_sha256": data_hash},
    )
    progress("fitting the temperature")
    logits = Classifier(Model(card, weights)).logits(validation.images)[0]
    card = card.model_copy(update={"temperature": temperature(logits, validation.labels)})
    progress("comparing it with torch")
    crops = validation.images[:PARITY_IMAGES]
    difference = prove_parity(net, weights, crops, recipe.model.input_size, card.temperature)
    return Exported(out, models.save(out, card, weights), card, difference, len(crops))


def to_onnx(net: Network, size: int) -> bytes:
    """The network as one checked ONNX file with a free batch axis, for crops of `size` pixels."""
    example = torch.zeros(2, 1, size, size)
    folded = fold_batch_norm(net)
    outputs = ["logits", "votes"][: len(folded(example))]
    return program_bytes(folded, example, "crops", outputs, {0: torch.export.Dim("batch")})


def program_bytes(
    net: nn.Module, example: torch.Tensor, input_name: str, output_names: list[str], free: dict[int, Any]
) -> bytes:
    """A network of one input as a checked ONNX file; `free` are the input's axes of any length."""
    with _quiet():
        program = torch.onnx.export(
            net, (example,), dynamo=True, verbose=False, opset_version=OPSET, input_names=[input_name],
            output_names=output_names, dynamic_shapes=(free,),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def fold_batch_norm(net: Module) -> Module:
    """A copy in evaluation mode with each normalisation folded into the convolution right before it."""
    folded = copy.deepcopy(net).eval()
    for module in list(folded.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded


@torch.no_grad()
def prove_parity(net: Network, weights: bytes, images: NDArray[np.uint8], size: int, temperature: float = 1.0) -> float:
    """Largest difference of any probability between torch (float32, unfolded) and ONNX Runtime on grey uint8 crops:
    of the labels, with the card's temperature, and of the votes.

    All images in batches of 64, and the first 64 also one by one and in sevens. Raises ModelError where a
    difference reaches TOLERANCE.
    """
    session, every = Session(weights, "the exported network"), torch.from_numpy(images)
    net = net.eval()
    worst = 0.0
    for batch_size in BATCH_SIZES:
        for crops in torch.split(every if batch_size == max(BATCH_SIZES) else every[:64], batch_size):
            x = to_input(crops, size)
            pairs = zip(net(x), map(torch.from_numpy, session.run(x.numpy())), strict=True)
            for (ours, theirs), divisor in zip(pairs, (temperature, 1.0), strict=False):
                difference = float(((ours / divisor).softmax(1) - (theirs / divisor).softmax(1)).abs().max())
                worst = max(worst, difference)
                if not difference < TOLERANCE:
                    raise ModelError(
                        f"the exported network's probabilities differ from torch's by {difference:.2g} (at most "
                        f"{TOLERANCE:g}) in a batch of {len(x)}; export with the torch and onnxruntime versions that "
                        "mien names"
                    )
    return worst


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes, which hold its stack traces and with them paths of this machine."""
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for node in graph.node:
        node.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about its own insides on every call."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _describe(data: PreparedSet, recipe: Recipe, about: Mapping[str, Any]) -> str:
    train = data.split(recipe.data.train_split, without_flags=recipe.data.drop_flags)
    validation = data.split(recipe.data.validation_split)
    voted = int(train.votes.any(1).sum())
    faces = about.get("data", {}).get("faces", {}).get("unlabelled")
    others = f" and {faces:,} faces of photographs, which its teachers labelled" if faces else ""
    return (
        f"Trained on {len(train):,} images ({voted:,} with annotators' votes) of split {recipe.data.train_split}"
        f"{others}; "
        f"weights and temperature chosen on {len(validation):,} images of split {recipe.data.validation_split}."
    )


def provenance_of(run: RunFolder) -> dict[str, Any]:
    """What of recipe and run belongs on the card; run.json's command and paths stay at home. A `note` there is by
    hand, for what a reader of the weights must know."""
    about, recipe, history = run.about(), run.plan(), run.history()
    facts = ("commit", "mien", "python", "torch", "machine", "device", "threads", "started", "finished", "note")
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": len(history),
        "best_epoch": best(history).epoch,
        "begun_from": recipe.init,
        **({"teachers": list(recipe.optim.teachers)} if isinstance(recipe, Recipe) else {}),
        **{key: about[key] for key in facts if key in about},
    }
