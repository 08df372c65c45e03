"""A network whose every answer is known, since it reads the answer from marked pixels, and images marked for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.prepared import PreparedSet, image_hash
from mien.labels import FERPLUS_COLUMNS, LABELS, VOTE_LABELS
from mien.models import Card

SIZE, GAIN, TEMPERATURE = 48, 10.0, 2.0


def build_model(path: Path, vote_labels: tuple[str, ...] = VOTE_LABELS, vote_outputs: int = 8) -> Path:
    """Label logits are GAIN times the pixels 0..6 of row 0, vote logits the same of row 1, 0..7."""
    from onnx import TensorProto, helper, numpy_helper

    heads = {
        "logits": np.zeros((SIZE * SIZE, 7), np.float32),
        "votes": np.zeros((SIZE * SIZE, vote_outputs), np.float32),
    }
    for row, weights in enumerate(heads.values()):
        for k in range(weights.shape[1]):
            weights[row * SIZE + k, k] = GAIN
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            *(helper.make_node("MatMul", ["flat", f"{name}_weights"], [name]) for name in heads),
        ],
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", w.shape[1]]) for n, w in heads.items()],
        [numpy_helper.from_array(weights, f"{name}_weights") for name, weights in heads.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    path.write_bytes(content)
    card = Card(
        name="pixels", labels=LABELS, vote_labels=vote_labels, input_size=SIZE, mean=0, std=1,
        temperature=TEMPERATURE, sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    path.with_suffix(".json").write_text(card.model_dump_json())
    return path


def marked(says: str, votes_for: str = "neutral", when_mirrored: str | None = None, seed: int = 0) -> NDArray[np.uint8]:
    """An image that the network takes for `says`, its mirror image, with more confidence, for another."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[2:] = np.random.default_rng(seed).integers(0, 256, (SIZE - 2, SIZE), np.uint8)
    image[0, LABELS.index(says)] = 51  # logit 2
    image[1, VOTE_LABELS.index(votes_for)] = 255
    if when_mirrored:
        image[0, SIZE - 1 - LABELS.index(when_mirrored)] = 255
    return image


def ballot(**counts: int) -> list[int]:
    return [counts.get(name.replace(" ", "_"), 0) for name in FERPLUS_COLUMNS]


def four_tests() -> PreparedSet:
    """Four test images, of which the pixel model reads three right and one has a copy in training, in row 0."""
    rows = [
        ("train", "happy", marked("happy", seed=1), ballot()),
        ("test", "happy", marked("happy", seed=1), ballot(neutral=10)),
        ("test", "happy", marked("happy", "happy", seed=2), ballot(happy=10)),
        ("test", "sad", marked("sad", "contempt", "fear", seed=3), ballot(contempt=6, sad=4)),
        ("test", "fear", marked("surprise", seed=4), ballot(fear=5, surprise=5)),
    ]
    images = np.stack([row[2] for row in rows])
    return PreparedSet(
        images,
        np.array([LABELS.index(row[1]) for row in rows]),
        np.array([row[3] for row in rows], np.uint8),
        np.array([row[0] for row in rows]),
        np.array([f"{i}.png" for i in range(len(rows))]),
        np.array([image_hash(image) for image in images]),
        np.array([""] * len(rows)),
    )
