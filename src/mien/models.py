"""Cards, and from a model's name or path to its verified files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien.errors import DataError, ModelError, OutputError, did_you_mean, reason
from mien.files import check_named, replacing
from mien.labels import check_labels

DEFAULT = "base"


class CropGeometry(BaseModel):
    """Where a face lies in the network's input; `mien.vision.crop` brings every face there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    landmarks: tuple[tuple[float, float], ...] = Field(
        default=((0.328, 0.39), (0.672, 0.39), (0.5, 0.58), (0.352, 0.742), (0.648, 0.742)),
        min_length=5, max_length=5,
    )  # fmt: skip
    """Right eye, left eye, nose, right and left corner of the mouth, x and y as shares of the crop's side."""


class DetectorCard(BaseModel):
    """What travels with a face detector's weights: input `pictures` (n, H, W, 3) uint8 RGB, both sides multiples of 32;
    outputs `scores` (n, c) in 0..1, `boxes` (n, c, 4) x1 y1 x2 y2 and `landmarks` (n, c, 5, 2), in pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str = ""
    min_score: float = Field(ge=0, le=1)
    """What scores less is no face."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = "MIT"
    parameters: int = 0
    data: str = ""
    """What it was trained and chosen on."""
    provenance: dict[str, Any] = {}
    """Commit, recipe, seed, machine and date of the training run."""
    scores: dict[str, Any] = {}
    """What `mien evaluate --task detect` measured."""


class Card(BaseModel):
    """What travels with weights. Reading a model goes by its card alone: nothing of it is typed twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str = ""
    labels: tuple[str, ...]
    """The outputs' labels in their order: the seven expressions or others."""
    vote_labels: tuple[str, ...] = ()
    """What the second output predicts (FER+ votes), empty when there is none."""
    input_size: int = Field(ge=16, le=512)
    mean: float
    std: float = Field(gt=0)
    """Network input = (grey / 255 - mean) / std."""
    temperature: float = Field(default=1.0, gt=0)
    """Probabilities = softmax(logits / temperature) (Guo et al. 2017)."""
    balance: float = 0.0
    """Strength, 0..1, of the logit adjustment by label frequency after training; see
    `mien.training.expression.logit_adjustment`."""
    logit_adjustment: dict[str, float] = Field(
        default={}, validation_alias=AliasChoices("logit_adjustment", "favoured")
    )
    """Label -> nats that were added to its log-odds after training, on top of that. Called `favoured` on cards that
    were written before the first release."""
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
    def _sound(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        try:
            check_labels(labels)
        except DataError as error:
            raise ValueError(str(error)) from None
        return labels


AnyCard = TypeVar("AnyCard", Card, DetectorCard)


@dataclass(frozen=True)
class Model:
    """A card and the ONNX bytes that its SHA-256 vouches for."""

    card: Card
    weights: bytes


@dataclass(frozen=True)
class DetectorModel:
    """The same of a face detector."""

    card: DetectorCard
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
        content = (files("mien.weights") / f"{name}.onnx").read_bytes()
        text = (files("mien.weights") / f"{name}.json").read_text("utf-8")
        return Model(_verified(name, content, text, Card), content)
    path = Path(name)
    if path.suffix != ".onnx":
        raise ModelError(
            f"no model {name!r}{did_you_mean(name, shipped())}; shipped are {', '.join(shipped()) or 'none'}, "
            "or give the path of an .onnx file with its card beside it"
        )
    content, text = _read(path)
    return Model(_verified(name, content, text, Card), content)


def load_detector(path: Path | None = None) -> DetectorModel:
    """The detector in the package (None), or one that `mien export` wrote: an `.onnx` file with its card beside it.

    Raises ModelError as `load` does.
    """
    if path is None:
        folder = files("mien.weights") / "detector"
        content, text = (folder / "mien.onnx").read_bytes(), (folder / "mien.json").read_text("utf-8")
    else:
        content, text = _read(path)
    return DetectorModel(_verified(str(path or "mien"), content, text, DetectorCard), content)


def _read(path: Path) -> tuple[bytes, str]:
    """Weights, and the text of the card beside them; of the card that was about to replace it where `save` was
    interrupted and only that one fits."""
    card, pending = path.with_suffix(".json"), _pending_card(path)
    try:
        weights = path.read_bytes()
        if pending.exists():
            text = pending.read_text("utf-8")
            if hashlib.sha256(weights).hexdigest() in text:
                return weights, text
        return weights, card.read_text("utf-8")
    except OSError as error:
        raise ModelError(f"cannot read {error.filename}: {reason(error)}; a model is NAME.onnx and NAME.json") from None
    except UnicodeDecodeError:
        raise ModelError(f"{card} is not a card: it should be JSON text") from None


def _verified(name: str, weights: bytes, text: str, schema: type[AnyCard]) -> AnyCard:
    try:
        card = schema.model_validate_json(text)
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
    return card


def save(path: Path, card: Card | DetectorCard, weights: bytes) -> Path:
    """Write weights and, beside them, their card; returns the card's path. Folders are made as needed.

    Two files cannot be replaced in one step, so the new card first waits under a name of its own; `load` takes it when
    it, and not the old card, fits the weights. Whenever this is interrupted, `load` finds the old pair or the new one.
    Raises OutputError where the place cannot be written.
    """
    check_named(path, "the model")
    card_path, pending = path.with_suffix(".json"), _pending_card(path)
    text = card.model_dump_json(indent=2) + "\n"
    with replacing(pending, str(card_path)) as part:
        part.write_text(text, encoding="utf-8")
    try:
        with replacing(path, str(path)) as part:
            part.write_bytes(weights)
    except OutputError:
        pending.unlink(missing_ok=True)
        raise
    with replacing(card_path, str(card_path)) as part:
        part.write_text(text, encoding="utf-8")
    pending.unlink(missing_ok=True)
    return card_path


def _pending_card(path: Path) -> Path:
    """Where a card waits while its weights are being replaced."""
    return path.with_name(f".{path.stem}.pending.json")
