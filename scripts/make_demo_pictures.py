"""Make the demo's pictures from one real photograph: as it is, turned, dark, small, and with two faces.

    python scripts/make_demo_pictures.py demo/pictures

The photograph is `astronaut` of scikit-image: Eileen Collins, NASA, in the public domain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from skimage import data


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    photo = Image.fromarray(np.asarray(data.astronaut()))
    pictures = {
        "photo": photo,
        "turned": photo.rotate(-18, Image.Resampling.BICUBIC, center=(224, 120), fillcolor=(120, 120, 120)),
        "dark": ImageEnhance.Brightness(photo).enhance(0.25),
        "small": photo.resize((160, 160), Image.Resampling.LANCZOS),
    }
    pair = Image.new("RGB", (1024, 512))
    pair.paste(photo, (0, 0))
    pair.paste(ImageOps.mirror(photo), (512, 0))
    pictures["two-faces"] = pair
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/pictures"))
