"""Put an exported face detector into the package with its measured scores, and write DETECTOR_CARD.md from them.

    mien export RUN --data photos.parquet --data photos2.parquet --out runs/mien.onnx --int8
    mien evaluate --task detect runs/mien-int8.onnx yunet --data photos2.parquet --data photos.parquet --out scores
    mien evaluate --task detect runs/mien-int8.onnx yunet haar --data photos2.parquet --every 4 --out slow
    python scripts/publish_detector.py runs/mien-int8.onnx --scores scores/scores.json --slow slow/scores.json --run RUN

The second and third command measure detectors on the same held-out photographs; the last only tells what they found.
The cascade takes an hour or two for all photographs, so it is measured on every fourth.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import Any

from cards import write_card

from mien import models
from mien.evaluation.detection.scores import DetectionReport, DetectorScores
from mien.training.detector.export import FALSE_ALARMS

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src" / "mien" / "weights" / "detector"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the exported .onnx, its card beside it")
    parser.add_argument("--scores", type=Path, required=True, help="scores.json of mien evaluate --task detect")
    parser.add_argument("--slow", type=Path, required=True, help="the same on a part, with a detector too slow for all")
    parser.add_argument("--run", type=Path, required=True, help="the run folder, for its curves")
    args = parser.parse_args()

    model = models.load_detector(args.model)
    scores, slow = (DetectionReport.model_validate_json(path.read_text("utf-8")) for path in (args.scores, args.slow))
    digest = hashlib.sha256(model.weights).hexdigest()
    (ours,) = [one for one in scores.origins[0].detectors if one.sha256 == digest]
    card = model.card.model_copy(update={"name": "mien", "scores": compact(ours)})
    models.save(WEIGHTS / "mien.onnx", card, model.weights)
    shutil.copy(args.run / "curves.png", ROOT / "docs" / "images" / "detector-curves.png")
    for name, found in (("detection", scores), ("detection-slow", slow)):
        each = {"detectors": {"__all__": {"misses", "false_alarms", "curve"}}}
        content = found.model_dump_json(indent=2, exclude={"origins": {"__all__": each}})
        (ROOT / "docs" / "numbers" / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    write_card(
        "detector_card.md.jinja", ROOT / "DETECTOR_CARD.md", card=card, size=len(model.weights), scores=scores,
        ours=ours, slow=slow,
        least=f"one false alarm in {round(1 / FALSE_ALARMS)} held-out photographs",
    )  # fmt: skip


def compact(ours: DetectorScores) -> dict[str, Any]:
    """What of the scores travels on the card: recalls and landmark errors by variant, and times."""
    return {
        "threshold": ours.threshold,
        "recall": {name: round(found.recall, 4) for name, found in ours.variants.items()},
        "landmark_error": {
            name: round(found.landmark_error.median, 4) for name, found in ours.variants.items() if found.landmark_error
        },
        "milliseconds": {f"{speed.width}x{speed.height}": round(speed.milliseconds, 2) for speed in ours.speed},
    }


if __name__ == "__main__":
    main()
