"""Pictures with the spectrum of photographs, and the small changes that copies undergo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def natural(seed: int, size: int = 48) -> NDArray[np.uint8]:
    """Noise with the 1/f spectrum of photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    frequency[0, 0] = 1
    image = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) / frequency).real
    return np.asarray(np.clip(128 + 45 * (image - image.mean()) / image.std(), 0, 255), np.uint8)


def compressed(image: NDArray[np.uint8], quality: int = 40) -> NDArray[np.uint8]:
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), np.uint8)


def moved(image: NDArray[np.uint8], right: float, down: float, zoom: float = 1.0) -> NDArray[np.uint8]:
    centre = (len(image) - 1) / 2
    turn = cv2.getRotationMatrix2D((centre, centre), 0, zoom) + np.array([[0, 0, right], [0, 0, down]])
    return np.asarray(cv2.warpAffine(image, turn, image.shape, borderMode=cv2.BORDER_REPLICATE), np.uint8)
