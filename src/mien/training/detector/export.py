"""A detector's run as one ONNX file that takes pictures as they are and answers in their pixels, with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien import models
from mien.data import photographs
from mien.data.photographs import Photograph
from mien.errors import DataError, ModelError
from mien.models import DetectorCard, DetectorModel
from mien.training.detector.assignment import Cells
from mien.training.detector.net import MEAN, STD, DetectorNet
from mien.training.detector.precision import Result, score_at_false_alarms
from mien.training.expression.export import fold_batch_norm, program_bytes, provenance_of
from mien.training.expression.net import parameter_count
from mien.training.int8 import to_int8
from mien.training.recipe import DetectorRecipe
from mien.training.run_folder import RunFolder
from mien.vision.detect import MienDetector, pad
from mien.vision.runtime import Session

TOLERANCE = 2e-2
"""Largest difference to torch, float32, in pixels; scores, in 0..1, differ by a hundredth of it at most."""
FALSE_ALARMS = 1 / 25
"""Per held-out photograph, at the score that the card gives as the least."""
_SEARCHED = 0.05
_PARITY_PICTURES = 64
_CALIBRATION_PICTURES, _CALIBRATION_SIDE = 128, 320
_UNCHANGED = ("stem.0.", "stem.3.")


@dataclass(frozen=True)
class ExportedDetector:
    """`difference` is the largest found between torch's and ONNX Runtime's boxes, in pixels, on `images` pictures."""

    weights: Path
    card_path: Path
    card: DetectorCard
    difference: float
    images: int
    int8: ExportedDetector | None = None
    """The same as int8, where it was asked for; parity was proved before."""


class Deployed(nn.Module):
    """Pictures `(n, H, W, 3)` uint8 RGB, both sides multiples of 32, to scores `(n, c)` in 0..1, boxes `(n, c, 4)` and
    landmarks `(n, c, 5, 2)` in pixels."""

    def __init__(self, stored: DetectorNet) -> None:
        """Of what `as_stored` gives."""
        super().__init__()
        self.net = stored

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        framed = F.pad(pictures, (0, 0, 1, 1, 1, 1), value=round(MEAN))
        outputs = self.net(framed.permute(0, 3, 1, 2).float())
        logits, boxes, landmarks = Cells.of(pictures.shape[1], pictures.shape[2], pictures.device).decode(outputs)
        return logits.sigmoid(), boxes, landmarks


def export_detector(
    run_folder: Path, files: Sequence[Path], out: Path, name: str, tell: Callable[[str], object] = lambda stage: None,
    *, int8: bool = False,
) -> ExportedDetector:  # fmt: skip
    """Write `out` (.onnx) and its card (.json beside it) from a detector's run, with `int8` also NAME-int8.onnx.

    The card's least score is the one that gives one false alarm in 25 held-out photographs of `files`, which the run
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
    program = in_float32(net)
    weights = halved(program)
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
    card = _with_least_score(card, weights, held_out)
    card_path = models.save(out, card, weights)
    made = ExportedDetector(out, card_path, card, difference, min(len(held_out), _PARITY_PICTURES))
    if not int8:
        return made
    tell("calibrating int8")
    some = [one for one in everything if one.part == "train"]
    some = some[:: max(1, len(some) // _CALIBRATION_PICTURES)][:_CALIBRATION_PICTURES]
    small = quantized(program, some)
    provenance = card.provenance | {
        "quantization": f"static int8, calibrated on {len(some)} training photographs", "of_sha256": card.sha256,
    }  # fmt: skip
    digest = hashlib.sha256(small).hexdigest()
    card = card.model_copy(update={"name": f"{name}-int8", "sha256": digest, "provenance": provenance})
    tell("choosing the least score of int8")
    card = _with_least_score(card, small, held_out)
    target = out.with_stem(f"{out.stem}-int8")
    return replace(made, int8=replace(made, weights=target, card_path=models.save(target, card, small), card=card))


def to_onnx(net: DetectorNet) -> bytes:
    """The network as one checked ONNX file with free batch, height and width, its weights stored as float16."""
    return halved(in_float32(net))


def quantized(program: bytes, photographs: Sequence[Photograph]) -> bytes:
    """What `in_float32` gives as int8, its ranges those on the photographs. What comes before the second block at a
    quarter of the picture's size stays as it is: it takes longer to bring into int8 than to compute."""
    squares = (cv2.resize(one.pixels(), (_CALIBRATION_SIDE, _CALIBRATION_SIDE)) for one in photographs)
    return to_int8(program, (np.asarray(square)[None] for square in squares), nodes=_body, reduce_range=True)


def _body(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions behind the stem's first block, and of the steps between two of them."""
    names, maps = [], set[str]()
    for node in graph.node:
        if node.op_type == "Conv":
            inside = not node.input[1].removeprefix("net.").startswith(_UNCHANGED)
        else:
            inside = node.op_type in {"Relu", "Add", "Resize"} and node.input[0] in maps
        if inside:
            names.append(node.name)
            maps |= set(node.output)
    return names


def in_float32(net: DetectorNet) -> bytes:
    """As `to_onnx`, with weights of full size, though rounded to float16."""
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    free = {0: torch.export.Dim("batch"), 1: 32 * rows, 2: 32 * columns}
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    stored = as_stored(net)
    return program_bytes(Deployed(stored), example, "pictures", ["scores", "boxes", "landmarks"], free)


def as_stored(net: DetectorNet) -> DetectorNet:
    """A copy in evaluation mode with the weights that the file holds: normalisations, `MEAN` and `STD` folded in, and
    rounded to float16. It takes pictures in 0..255, with a border of one pixel of the mean around them."""
    folded = fold_batch_norm(net)
    assert isinstance(folded, DetectorNet)
    first = folded.stem[0]
    assert isinstance(first, nn.Conv2d) and first.bias is not None
    first.weight.data /= STD  # saves two passes over the picture
    first.bias.data -= MEAN * first.weight.data.half().float().sum((1, 2, 3))
    first.padding = (0, 0)  # its borders would be black
    for parameter in folded.parameters():
        # Too large for float16 are only weights of channels that are always zero, as some become in training.
        parameter.data = parameter.data.half().float().nan_to_num(posinf=0, neginf=0)
    return folded


def halved(weights: bytes) -> bytes:
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
    session, deployed, worst = Session(weights, "the exported detector"), Deployed(as_stored(net)), 0.0
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


def _with_least_score(card: DetectorCard, weights: bytes, held_out: list[Photograph]) -> DetectorCard:
    detector = MienDetector(DetectorModel(card, weights), min_score=_SEARCHED)
    results: list[Result] = []
    for photograph in held_out:
        faces = detector.detect(photograph.pixels())
        results.append((faces.scores, faces.boxes, photograph.boxes, photograph.ignore))
    return card.model_copy(update={"min_score": round(score_at_false_alarms(results, FALSE_ALARMS), 3)})
