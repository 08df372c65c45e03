"""Faces as notebooks show them: a small annotated picture, and a bar for every probability."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.drawing.annotate import annotate, colours

if TYPE_CHECKING:
    from mien.faces import Faces

_WIDTH = 640
"""Of the picture, in pixels at most."""
_MOST = 12
"""So many faces have bars."""


def faces_html(faces: Faces) -> str:
    """An HTML fragment that needs nothing from elsewhere and suits light and dark pages."""
    shown = "".join(_bars(faces, i) for i in range(min(len(faces), _MOST)))
    more = f"<p>and {len(faces) - _MOST} more</p>" if len(faces) > _MOST else ""
    picture = ""
    if faces.image is not None:
        source = _encoded(faces.image, faces)
        picture = f'<img src="data:image/jpeg;base64,{source}" alt="{len(faces)} faces" style="max-width:100%">'
    return (
        f'<div style="font:13px system-ui,sans-serif"><p>{escape(repr(faces))}</p>{picture}'
        f'<div style="display:flex;flex-wrap:wrap;gap:1.2em;margin-top:.6em">{shown}</div>{more}</div>'
    )


def _encoded(image: NDArray[np.uint8], faces: Faces) -> str:
    """Reduced first and annotated then, so that words can be read."""
    scale = min(1.0, _WIDTH / image.shape[1])
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    content = BytesIO()
    Image.fromarray(annotate(image, faces.replace(boxes=faces.boxes * scale))).save(content, "JPEG", quality=88)
    return b64encode(content.getvalue()).decode("ascii")


def _bars(faces: Faces, i: int) -> str:
    name = f"person {faces.ids[i]}" if faces.ids is not None else f"face {i + 1}"
    if faces.probs is None:
        return f"<div><b>{name}</b> score {faces.scores[i]:.2f}</div>"
    tones = colours(faces.label_names)
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td style='width:8em'><div style='height:.8em;width:{100 * p:.1f}%;"
        f"background:rgb{tones[label]};outline:1px solid rgba(128,128,128,.5)'></div></td>"
        f"<td style='text-align:right'>{p:.0%}</td></tr>"
        for label, p in zip(faces.label_names, faces.probs[i].tolist(), strict=True)
    )
    return f"<div><b>{name}</b><table style='border-spacing:.4em 0'>{rows}</table></div>"
