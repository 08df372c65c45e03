"""A detector's run as one ONNX file that takes pictures as they are and answers in their pixels, with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien import models
from mien.data import photographs
from mien.data.photographs import Photograph
from mien.errors import DataError, ModelError
from mien.models import DetectorCard, DetectorModel
from mien.training.detector.assignment import Cells
from mien.training.detector.net import STD, DetectorNet, normalised
from mien.training.detector.precision import Result, score_at_false_alarms
from mien.training.expression.export import fold_batch_norm, program_bytes, provenance_of
from mien.training.expression.net import parameter_count
from mien.training.recipe import DetectorRecipe
from mien.training.run_folder import RunFolder
from mien.vision.detect import MienDetector, pad
from mien.vision.runtime import Session

TOLERANCE = 2e-2
"""Largest difference to torch, float32, in pixels; scores, in 0..1, differ by a hundredth of it at most."""
FALSE_ALARMS = 1 / 15
"""Per held-out photograph, at the score that the card gives as the least."""
_SEARCHED = 0.05
_PARITY_PICTURES = 64


@dataclass(frozen=True)
class ExportedDetector:
    """`difference` is the largest found between torch's and ONNX Runtime's boxes, in pixels, on `images` pictures."""

    weights: Path
    card_path: Path
    card: DetectorCard
    difference: float
    images: int


class Deployed(nn.Module):
    """Pictures `(n, H, W, 3)` uint8 RGB, both sides multiples of 32, to scores `(n, c)` in 0..1, boxes `(n, c, 4)` and
    landmarks `(n, c, 5, 2)` in pixels."""

    def __init__(self, net: DetectorNet, std: float = STD) -> None:
        super().__init__()
        self.net, self._std = net, std

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = self.net(normalised(pictures, self._std))
        logits, boxes, landmarks = Cells.of(pictures.shape[1], pictures.shape[2], pictures.device).decode(outputs)
        return logits.sigmoid(), boxes, landmarks


def export_detector(
    run_folder: Path, files: Sequence[Path], out: Path, name: str, tell: Callable[[str], object] = lambda stage: None
) -> ExportedDetector:
    """Write `out` (.onnx) and its card (.json beside it) from a detector's run.

    The card's least score is the one that gives one false alarm in 15 held-out photographs of `files`, which the run
    was trained on. Writes nothing and raises ModelError where torch and ONNX Runtime disagree.
    """
    if out.suffix != ".onnx":
        raise ModelError(f"{out} should end in .onnx; the card is written beside it as .json")
    run = RunFolder(run_folder)
    plan = run.plan()
    assert isinstance(plan, DetectorRecipe)
    net = DetectorNet(plan.model).eval()
    run.load_best(net)
    tell("loading the photographs")
    everything = photographs.read(*files)
    if run.about().get("data", {}).get("sha256") != photographs.file_hash(*files):
        named = " and ".join(map(str, files))
        raise DataError(f"{run.path} was trained on other photographs than {named}; give those it was trained on")
    held_out = photographs.held_out(everything)
    tell("writing the network")
    weights = to_onnx(net)
    tell("comparing it with torch")
    difference = prove_parity(net, weights, held_out[:_PARITY_PICTURES])
    card = DetectorCard(
        name=name,
        about=plan.about,
        min_score=_SEARCHED,
        sha256=hashlib.sha256(weights).hexdigest(),
        parameters=parameter_count(net),
        data=f"Trained on {len(everything) - len(held_out):,} photographs; weights and least score chosen on "
        f"{len(held_out):,} others.",
        provenance=provenance_of(run),
    )
    tell("choosing the least score")
    card = card.model_copy(update={"min_score": round(_least_score(DetectorModel(card, weights), held_out), 3)})
    card_path = models.save(out, card, weights)
    return ExportedDetector(out, card_path, card, difference, min(len(held_out), _PARITY_PICTURES))


def to_onnx(net: DetectorNet) -> bytes:
    """The network as one checked ONNX file with free batch, height and width, its weights stored as float16."""
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    free = {0: torch.export.Dim("batch"), 1: 32 * rows, 2: 32 * columns}
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    stored = as_stored(net)
    return _halved(program_bytes(Deployed(stored, std=1), example, "pictures", ["scores", "boxes", "landmarks"], free))


def as_stored(net: DetectorNet) -> DetectorNet:
    """A copy in evaluation mode with the weights that the file holds: normalisations and `STD` folded in, rounded to
    float16. It takes pictures less their mean, undivided."""
    folded = fold_batch_norm(net)
    assert isinstance(folded, DetectorNet)
    first = folded.stem[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.data /= STD  # saves a pass over the picture; the mean cannot follow, for borders are zeros
    for parameter in folded.parameters():
        # Too large for float16 are only weights of channels that are always zero, as some become in training.
        parameter.data = parameter.data.half().float().nan_to_num(posinf=0, neginf=0)
    return folded


def _halved(weights: bytes) -> bytes:
    """The same file with its float32 weights stored as float16, which whoever loads it casts back once."""
    model = onnx.load_model_from_string(weights)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size == 1:
            continue
        name, full = weight.name, f"{weight.name}.float32"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
        for node in model.graph.node:
            node.input[:] = [full if taken == name else taken for taken in node.input]
        casts.append(helper.make_node("Cast", [name], [full], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


@torch.no_grad()
def prove_parity(net: DetectorNet, weights: bytes, held_out: list[Photograph]) -> float:
    """Largest difference in pixels between torch (float32, with the weights as they are stored) and ONNX Runtime, among
    the cells that both give a score of a tenth or more."""
    session, deployed, worst = Session(weights, "the exported detector"), Deployed(as_stored(net), std=1), 0.0
    for photograph in held_out:
        pictures = pad(photograph.pixels())[None]
        ours = [output.numpy() for output in deployed(torch.from_numpy(pictures))]
        theirs = session.run(pictures)
        seen = ours[0] > 0.1
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            worst = max(worst, float(np.abs(one[seen] - other[seen]).max(initial=0)))
        if not (worst < TOLERANCE and np.abs(ours[0] - theirs[0]).max() < TOLERANCE / 100):
            raise ModelError(
                f"the exported detector differs from torch by {worst:.2g} pixels (at most {TOLERANCE:g}); export with "
                "the torch and onnxruntime versions that mien names"
            )
    return worst


def _least_score(model: DetectorModel, held_out: list[Photograph]) -> float:
    detector = MienDetector(model, min_score=_SEARCHED)
    results: list[Result] = []
    for photograph in held_out:
        faces = detector.detect(photograph.pixels())
        results.append((faces.scores, faces.boxes, photograph.boxes, photograph.ignore))
    return score_at_false_alarms(results, FALSE_ALARMS)
