"""Put an exported network into the package with its measured scores, and write MODEL_CARD.md from them.

    python scripts/publish_model.py runs/base/base.onnx --run runs/base --data sets/fer2013 --origin sets/ck48

Every number of the model card comes from this command: it evaluates the network on PublicTest and PrivateTest, and on
sets of other origin, through the code that users run, adds the scores to the card and draws the pictures in
docs/images. An int8 network beside it (`mien export --int8`) goes into the package, too.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from cards import write_card
from rich.progress import track

from mien import models
from mien.data import prepared
from mien.evaluation.expression.compare import Comparison
from mien.evaluation.expression.origins import Origins, measure_origins
from mien.evaluation.expression.plots import save_confusion, save_reliability
from mien.evaluation.expression.run import evaluate
from mien.evaluation.expression.scores import Scores

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, IMAGES = ROOT / "src" / "mien" / "weights", ROOT / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the exported .onnx, its card beside it")
    parser.add_argument("--run", type=Path, required=True, help="the run folder, for its curves")
    parser.add_argument("--data", type=Path, required=True, help="a prepared set of FER2013 with FER+ votes")
    parser.add_argument("--origin", type=Path, action="append", default=[], help="a prepared set of another origin")
    args = parser.parse_args()

    model = models.load(args.model)
    card, test = put(model, args.data, args.origin, robustness=True)
    file, small = args.model.with_stem(f"{args.model.stem}-int8"), None
    if file.exists():
        small, _ = put(models.load(file), args.data, args.origin)
    IMAGES.mkdir(parents=True, exist_ok=True)
    save_confusion(test, IMAGES / "confusion.png")
    save_reliability(test, IMAGES / "reliability.png")
    shutil.copy(args.run / "curves.png", IMAGES / "curves.png")
    size = len(model.weights)
    write_card("model_card.md.jinja", ROOT / "MODEL_CARD.md", card=card, size=size, small=small, **card.scores)


def put(
    model: models.Model, folder: Path, origins: list[Path], *, robustness: bool = False
) -> tuple[models.Card, Scores]:
    """Evaluate the network on both splits and on the sets of other `origins`, and write it into the package; returns
    its card with the scores, and what it scores on PrivateTest.

    The card's `origins` are the means over PrivateTest and these sets, and the scores on each of these.
    """
    data, manifest = prepared.load(folder), prepared.manifest_hash(folder)
    scores = {
        split: evaluate(model, data, split, manifest_sha256=manifest, robustness=robustness and split == "validation")
        for split in track(("validation", "test"), f"evaluating {model.card.name}")
    }
    others = measure_origins(
        {"model": model}, {other.resolve().name: other for other in origins}, "test", "none", False,
        lambda stage, done, of: None, print,
    )  # fmt: skip
    everywhere = Origins({"PrivateTest": Comparison((scores["test"],), ()), **others.sets})
    measured: dict[str, Any] = {split: compact(s) for split, s in scores.items()}
    if origins:
        measured["origins"] = {
            "mean": everywhere.mean(scores["test"].model).model_dump(mode="json"),
            "sets": {name: compact(found.scores[0]) for name, found in others.sets.items()},
        }
    if "float32" in (exported := model.card.scores.get("validation", {})):  # as `mien export --int8` measured both
        measured["beside_float32"] = exported
    card = model.card.model_copy(update={"scores": measured})
    models.save(WEIGHTS / f"{card.name}.onnx", card, model.weights)
    return card, scores["test"]


def compact(scores: Scores) -> dict[str, Any]:
    """What of the scores travels on the card: all but the bins of the reliability diagram and rows
    of the data."""
    whole = scores.model_dump(mode="json", exclude={"mistakes", "examples"})
    for calibration in (whole["calibrated"], whole["uncalibrated"]):
        del calibration["bins"]
    return whole


if __name__ == "__main__":
    main()
