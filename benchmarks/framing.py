"""Where do faces lie in FER2013? The measurement behind the template of `mien.vision.crop`.

    python benchmarks/framing.py --data sets/fer2013

Runs the detector over training images, enlarged four times and continued at their borders, and prints the median place
and the spread of every landmark as shares of the image's side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from mien.data import prepared
from mien.vision.detect import DETECTORS, load_detector

ENLARGE, MARGIN, MIN_SCORE = 4, 16, 0.75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set of FER2013")
    parser.add_argument("--detector", choices=DETECTORS, default="mien")
    parser.add_argument("--detector-weights", type=Path, default=None)
    parser.add_argument("--images", type=int, default=5000)
    args = parser.parse_args()

    train = prepared.load(args.data).split("train")
    chosen = np.random.default_rng(0).permutation(len(train))[: args.images]
    detector = load_detector(args.detector, args.detector_weights)
    side = train.images.shape[1]
    found = []
    for image in track(train.images[chosen], "detecting"):
        wide = cv2.copyMakeBorder(image, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
        large = cv2.resize(wide, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
        faces = detector.detect(np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB), np.uint8))
        if len(faces) and faces.scores[0] > MIN_SCORE:
            found.append((faces.landmarks[0] / ENLARGE - MARGIN) / side)
    landmarks = np.array(found)
    median = np.median(landmarks, 0)
    spread = 1.4826 * np.median(np.abs(landmarks - median), 0)
    eyes = landmarks[:, 1] - landmarks[:, 0]
    roll = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    print(f"{len(found)} of {len(chosen)} images with a face above {MIN_SCORE}")
    for name, place, width in zip(
        ("right eye", "left eye", "nose", "right mouth corner", "left mouth corner"), median, spread, strict=True
    ):
        print(f"{name:20} x {place[0]:.3f} ± {width[0]:.3f}   y {place[1]:.3f} ± {width[1]:.3f}")
    print(f"roll: median {np.median(roll):.1f}°, 90 % within {np.percentile(np.abs(roll), 90):.1f}°")


if __name__ == "__main__":
    main()
