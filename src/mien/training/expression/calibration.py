"""The temperature that an exported model's card gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.metrics import fit_temperature

CALIBRATION_IMAGES = 50


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The fitted temperature for a card; 1 where there are too few images for one: a handful of them are soon all
    right, and would make every answer certain."""
    return round(fit_temperature(logits, labels), 4) if len(labels) >= CALIBRATION_IMAGES else 1.0
