"""What the detector's training begins with: weights from an exported file, and the mistakes of the one before."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from marked import BOX, LANDMARKS, marked
from numpy.typing import NDArray

from mien.detect import load_detector as load_named
from mien.errors import ModelError
from mien.models import load_detector
from mien.train.detector.export import Deployed, prove_parity
from mien.train.detector.mistakes import find_mistakes
from mien.train.detector.net import DetectorNet
from mien.train.detector.start import start, unfold
from mien.train.recipe import DetectorRecipe


def test_hard_negatives_are_detections_where_no_face_is(astronaut: NDArray[np.uint8]) -> None:
    detector = load_named("mien", threads=1)
    unmarked, known = marked(astronaut), marked(astronaut, [BOX], [LANDMARKS])
    doubtful = marked(astronaut, ignore=[BOX])
    found = find_mistakes([known, unmarked, doubtful], detector)
    assert {index for index, _ in found} == {1}
    for _, box in found:
        assert np.abs(box - BOX).max() < 25


def test_an_exported_detector_can_be_trained_on(astronaut: NDArray[np.uint8]) -> None:
    """With the normalisations put back it answers as the file does, also with the statistics of the batch itself."""
    model = load_detector()
    picture = np.asarray(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    pictures = np.stack([picture, picture[:, ::-1], picture[::-1]])
    net = DetectorNet(DetectorRecipe(task="detect", name="x").model)
    unfold(net, model.weights, pictures)
    assert prove_parity(net, model.weights, [marked(picture), marked(picture[:, ::-1])]) < 0.01
    deployed = Deployed(net.train())
    with torch.no_grad():
        scores, boxes, _ = deployed(torch.from_numpy(pictures))
    best = int(scores[0].argmax())
    assert scores[0, best] > 0.7
    assert np.abs(boxes[0, best].numpy() - np.array(BOX) / 2).max() < 8
    recipe = DetectorRecipe.model_validate({"task": "detect", "name": "x", "init": "mien", "model": {"neck": 12}})
    with pytest.raises(ModelError, match="another network"):
        start(DetectorNet(recipe.model), recipe, [marked(picture)])
