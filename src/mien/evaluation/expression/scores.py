"""The content of scores.json: what was measured of one model on one split of a prepared set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.errors import DataError, reason
from mien.labels import LABELS

VERSION = 3

Tta = Literal["none", "mirror", "crops"]
"""Test-time augmentation: what of an image is read and averaged. `none` the image alone, `mirror` image and mirror
image, `crops` these two and five crops of each."""
TTA_WORDS: dict[Tta, str] = {
    "none": "one forward pass",
    "mirror": "image and mirror image averaged",
    "crops": "image, five crops and their mirror images averaged",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassScores(_Part):
    """One label against all others; `support` is how many images carry it."""

    support: int
    precision: float
    recall: float
    f1: float


class Bin(_Part):
    """Predictions whose confidence lies above `low` and up to `high`; None where there are no images."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


class Calibration(_Part):
    """How far probabilities softmax(logits / temperature) can be trusted; `nll` in nats, `ece` over `bins`."""

    temperature: float
    nll: float
    brier: float
    ece: float
    bins: tuple[Bin, ...]


class Subset(_Part):
    """Accuracy on some of the images."""

    images: int
    accuracy: float


class Coverage(_Part):
    """The largest `share` of the images, the most confident first, of which `accuracy` are right at least.

    `threshold` is the least confidence among them, found on the same images; None where the share is 0.
    """

    accuracy: float
    share: float
    threshold: float | None


class FerPlus(_Part):
    """Accuracy against the annotators' choice among eight expressions, on the `images` where they made one.

    `vote_head` is what the network's second output says, None where it has none; `label_head` the seven labels,
    which never say contempt.
    """

    images: int
    vote_head: float | None
    label_head: float


class Divergence(_Part):
    """KL(votes || probabilities) in nats, on the `images` whose most voted expression is one of the labels.

    `vote_head` over the eight expressions of FER+, None where the network has no such output; `label_head` over the
    labels, votes for contempt left out, with the card's temperature.
    """

    images: int
    vote_head: float | None
    label_head: float


class Example(_Part):
    """One image of the set: `row` in its manifest, the true and the predicted label, and the confidence."""

    row: int
    label: str
    predicted: str
    confidence: float


class Corrupted(_Part):
    """Accuracy under one corruption at each of its strengths, which are in `unit`."""

    unit: str
    strengths: tuple[float, ...]
    accuracy: tuple[float, ...]


class Robustness(_Part):
    """Accuracy of one forward pass on spoilt images; `clean` on the images as they are, `mean` over all spoilt."""

    seed: int
    clean: float
    mean: float
    corruptions: dict[str, Corrupted]


class Scores(_Part):
    """The content of scores.json. All ratios in 0..1; all but `accuracy_with_flip`, `robustness` and the vote heads
    are with the averaging that `tta` names."""

    version: int = VERSION
    model: str
    split: str
    images: int
    tta: Tta
    labels: tuple[str, ...] = LABELS
    """The order of `confusion`."""
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % Wilson interval (see `mien.metrics.wilson_interval`)."""
    accuracy_with_flip: float
    """With the probabilities of image and mirror image averaged."""
    accuracy_unseen: Subset | None
    """On images whose picture is not in the training split, also not nearly or mirrored; None where there are none, as
    on that split itself."""
    balanced_accuracy: float
    """Mean recall over the labels."""
    top2_accuracy: float
    macro_f1: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    """Counts; row = true label, column = predicted."""
    confusion_ratios: tuple[tuple[float, ...], ...]
    """Each row's counts as shares of it."""
    calibrated: Calibration
    """With the card's temperature, as in production."""
    uncalibrated: Calibration
    """With temperature 1."""
    coverage: tuple[Coverage, ...]
    ferplus: dict[str, FerPlus]
    """By protocol, `plain` and `microsoft` (see `mien.metrics.ferplus_targets`); empty without votes."""
    vote_divergence: Divergence | None
    """None without votes."""
    mistakes: tuple[Example, ...]
    """The wrong predictions with the highest confidence, the highest first, of images with a face."""
    examples: tuple[Example, ...]
    """Of each label the right prediction with the highest confidence, of images with a face."""
    faceless: int = 0
    """Images that hold no face by their votes or are blank; they count in all scores."""
    robustness: Robustness | None
    """None where it was not measured."""
    provenance: dict[str, Any]
    """See `mien.provenance`; also `weights_sha256` and `manifest_sha256`, the SHA-256 of the model's weights
    and of the data's manifest.csv."""


def read_scores(path: Path) -> Scores:
    """A scores.json; raises DataError where it cannot be read, is none, or is of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("task") == "detect":
            raise DataError(f"{path} holds scores of detectors; their page is detection.html beside it")
        version = content["version"]
        if version != VERSION:
            raise DataError(f"{path} is of version {version}, this mien reads {VERSION}; run mien evaluate again")
        return Scores.model_validate(content)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError(f"{path} is no scores.json of mien evaluate: {where}: {error.errors()[0]['msg']}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is no scores.json of mien evaluate") from None
