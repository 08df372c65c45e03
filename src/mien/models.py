"""Cards, and from a model's name or path to its verified files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien.errors import ModelError, did_you_mean
from mien.labels import LABELS

DEFAULT = "base"


class CropGeometry(BaseModel):
    """Where a face lies in the network's input; `mien.crop` brings every face there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    landmarks: tuple[tuple[float, float], ...] = Field(
        default=((0.328, 0.39), (0.672, 0.39), (0.5, 0.58), (0.352, 0.742), (0.648, 0.742)),
        min_length=5, max_length=5,
    )  # fmt: skip
    """Right eye, left eye, nose, right and left corner of the mouth, x and y as shares of the crop's side."""


class Card(BaseModel):
    """What travels with weights. Reading a model goes by its card alone: nothing of it is typed twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str = ""
    labels: tuple[str, ...]
    vote_labels: tuple[str, ...] = ()
    """What the second output predicts (FER+ votes), empty when there is none."""
    input_size: int = Field(ge=16, le=512)
    mean: float
    std: float = Field(gt=0)
    """Network input = (grey / 255 - mean) / std."""
    temperature: float = Field(default=1.0, gt=0)
    """Probabilities = softmax(logits / temperature) (Guo et al. 2017)."""
    crop: CropGeometry = CropGeometry()
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = "MIT"
    parameters: int = 0
    data: str = ""
    """What it was trained and chosen on."""
    provenance: dict[str, Any] = {}
    """Commit, recipe, seed, machine and date of the training run."""
    scores: dict[str, dict[str, Any]] = {}
    """Split -> what `mien evaluate` measured there."""

    @field_validator("labels")
    @classmethod
    def _ours(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(labels) != sorted(LABELS):
            raise ValueError(f"labels should be {', '.join(LABELS)} in any order")
        return labels


@dataclass(frozen=True)
class Model:
    """A card and the ONNX bytes that its SHA-256 vouches for."""

    card: Card
    weights: bytes


def shipped() -> list[str]:
    """Names of the models inside the package."""
    names = (entry.name for entry in files("mien.weights").iterdir())
    return sorted(name.removesuffix(".onnx") for name in names if name.endswith(".onnx"))


def load(name_or_path: str | Path | None = None) -> Model:
    """A shipped model by name (None: the default), or any `.onnx` file with its card `.json` beside it.

    Raises ModelError when there is no such model, the card is missing or broken, or card and weights disagree.
    """
    name = str(name_or_path or DEFAULT)
    if name in shipped():
        weights = files("mien.weights") / f"{name}.onnx"
        return _verified(name, weights.read_bytes(), (files("mien.weights") / f"{name}.json").read_text("utf-8"))
    path = Path(name)
    if path.suffix != ".onnx":
        raise ModelError(
            f"no model {name!r}{did_you_mean(name, shipped())}; shipped are {', '.join(shipped()) or 'none'}, "
            "or give the path of an .onnx file with its card beside it"
        )
    card = path.with_suffix(".json")
    try:
        return _verified(name, path.read_bytes(), card.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            f"cannot read {error.filename}: {error.strerror}; a model is NAME.onnx and NAME.json"
        ) from None
    except UnicodeDecodeError:
        raise ModelError(f"{card} is not a card: it should be JSON text") from None


def _verified(name: str, weights: bytes, text: str) -> Model:
    try:
        card = Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"the card of {name} is broken: {where or 'file'}: {first['msg']}") from None
    digest = hashlib.sha256(weights).hexdigest()
    if digest != card.sha256:
        raise ModelError(
            f"the card of {name} belongs to other weights: it says SHA-256 {card.sha256[:12]}, "
            f"the file has {digest[:12]}; export or install the model again"
        )
    return Model(card, weights)


def save_card(path: Path, card: Card) -> None:
    """Write a card aside and rename it into place."""
    working = path.with_suffix(".part")
    working.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    working.replace(path)
