"""The expression network of the npm package @vladmandic/face-api (MIT) as a model that can teach: ONNX and its card.

    npm pack @vladmandic/face-api && tar xzf vladmandic-face-api-*.tgz
    python scripts/face_api_teacher.py package/model/face_expression_model-weights_manifest.json \
        --data sets/fer2013 --out teachers/face-api.onnx

It learned from other pictures than FER2013, so it is right where ours is wrong: on posed faces above all. It takes our
crops as they are, enlarged to its 112 pixels; its temperature is fitted on the set's validation split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien import models
from mien.data import prepared
from mien.models import Card, Model
from mien.training.expression.calibration import temperature
from mien.training.expression.export import program_bytes
from mien.vision.classify import Classifier

LABELS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
"""In the network's order."""
MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue, subtracted before the division by 255."""
SIZE, OWN_SIZE = 48, 112


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="face_expression_model-weights_manifest.json, its .bin beside it")
    parser.add_argument("--data", type=Path, required=True, help="a prepared set, to calibrate it on")
    parser.add_argument("--out", type=Path, required=True, help="the .onnx file; the card is written beside it")
    args = parser.parse_args()

    net = FaceApi(read(args.manifest)).eval()
    weights = program_bytes(net, torch.zeros(2, 1, SIZE, SIZE), "crops", ["logits"], {0: torch.export.Dim("batch")})
    card = Card(
        name=args.out.stem, about="The expression network of @vladmandic/face-api (MIT), for teaching.", labels=LABELS,
        input_size=SIZE, mean=0.0, std=1.0, sha256=hashlib.sha256(weights).hexdigest(),
        parameters=sum(value.numel() for value in net.buffers()),
    )  # fmt: skip
    validation = prepared.load(args.data).split("validation")
    logits = Classifier(Model(card, weights)).logits(validation.images)[0]
    card = card.model_copy(update={"temperature": temperature(logits, validation.labels)})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print(models.save(args.out, card, weights))


def read(manifest: Path) -> dict[str, Tensor]:
    """The weights by name: bytes with a scale and a least value, or float32, one after the other."""
    (group,) = json.loads(manifest.read_text())
    content, at, found = manifest.with_name("face_expression_model.bin").read_bytes(), 0, {}
    for entry in group["weights"]:
        count, how = int(np.prod(entry["shape"])), entry.get("quantization")
        values = np.frombuffer(content, np.uint8 if how else np.float32, count, at)
        at += values.nbytes
        values = values * how["scale"] + how["min"] if how else values
        found[entry["name"]] = torch.tensor(values.reshape(entry["shape"]), dtype=torch.float32)
    return found


class FaceApi(nn.Module):
    """Four blocks of separable convolutions, each of whose layers sees the sum of those before it (face-api.js)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            # TensorFlow's kernels are (height, width, in, out), of depthwise convolutions (height, width, each, 1)
            order = (2, 3, 0, 1) if name.endswith("depthwise_filter") else (3, 2, 0, 1)
            self.register_buffer(
                name.replace("/", "_"), value.permute(order).contiguous() if value.ndim == 4 else value
            )
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        x = F.interpolate(crops, size=OWN_SIZE, mode="bilinear") * 255
        x = (x - self.mean) / 255
        for block in range(4):
            x = self._block(x, f"dense{block}")
        return F.avg_pool2d(x, 7).flatten(1) @ self.fc_weights + self.fc_bias

    def _block(self, x: Tensor, name: str) -> Tensor:
        total = F.relu(self._layer(x, f"{name}_conv0", stride=2))
        for layer in (1, 2, 3):
            total = total + self._layer(F.relu(total), f"{name}_conv{layer}", stride=1)
        return F.relu(total)

    def _layer(self, x: Tensor, name: str, stride: int) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))  # as TensorFlow pads even sides
        kept, bias = dict(self.named_buffers()), f"{name}_bias"
        if f"{name}_filters" in kept:
            return F.conv2d(x, kept[f"{name}_filters"], kept[bias], stride)
        x = F.conv2d(x, kept[f"{name}_depthwise_filter"], None, stride, groups=x.shape[1])
        return F.conv2d(x, kept[f"{name}_pointwise_filter"], kept[bias])


if __name__ == "__main__":
    main()
