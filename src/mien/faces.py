"""`Faces`: what is known of the faces in one frame, as columns; the one result type of the whole package."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.columns import LANDMARK_COLUMNS, table_columns, to_pandas, to_polars
from mien.errors import InputError
from mien.files import printable
from mien.labels import LABELS, UNCERTAIN

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

SCHEMA = 1
"""Version of the JSON in which faces are described, everywhere; it grows when a key changes its meaning or goes."""

_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "boxes": (np.float32, (4,)),
    "scores": (np.float32, ()),
    "landmarks": (np.float32, (5, 2)),
    "probs": (np.float32, ()),
    "ids": (np.int64, ()),
    "raw_probs": (np.float32, ()),
    "quality": (np.float32, ()),
}
"""Per-face columns: dtype and the shape behind n; probabilities have one entry for each label besides."""
_PROBABILITIES = frozenset({"probs", "raw_probs"})
_TOLERANCE = 1e-3
"""By which the sum of a row of probabilities may differ from one."""


@dataclass(frozen=True, eq=False, repr=False)
class Faces:
    """The n faces of one frame; n may be zero. Arrays are read-only, stages return a new object.

        faces[0]            the first face, as a Faces of length one
        faces[1:], faces[mask]
        for face in faces:  each by itself; then `face.label`, `face.box`, `face.id`... are single values

    boxes       (n, 4) float32, x1 y1 x2 y2 in pixels of the frame, where pixel i reaches from i to i + 1; may
                go past the border
    scores      (n,) float32, the detector's confidence in 0..1
    landmarks   (n, 5, 2) float32, x y in pixels: right eye, left eye, nose, right and left corner of the
                mouth, right and left as the person has them; NaN where the detector gives none
    probs       (n, k) float32 in the order of `label_names`, rows sum to one; None before classification
    ids         (n,) int64 track ids, 0 for a face that is not followed (yet); None where nobody is followed
    raw_probs   (n, k) float32, the probabilities of this frame alone where `probs` are smoothed over time; else None
    quality     (n,) float32 in 0..1, how well the face can be read (size, sharpness, pose, score); None if not judged
    frame       index of the frame in its source, from 0
    time        seconds from the start of the source, by the container's own timestamps; 0 for a picture
    source      path or URL, empty for an array
    width, height   of the frame in pixels
    detector, model names of what found and what read the faces; model is empty before classification
    label_names what the network tells apart, k names: `mien.LABELS`, the seven expressions, unless it learnt others
    image       (height, width, 3) uint8 RGB where it is kept, for `draw`; it is neither compared, copied nor pickled

    Raises InputError, naming the column, when columns do not fit together, or probabilities do not sum to one.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    probs: NDArray[np.float32] | None = None
    ids: NDArray[np.int64] | None = None
    raw_probs: NDArray[np.float32] | None = None
    quality: NDArray[np.float32] | None = None
    frame: int = 0
    time: float = 0.0
    source: str = ""
    width: int = 0
    height: int = 0
    detector: str = ""
    model: str = ""
    label_names: tuple[str, ...] = LABELS
    image: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_names", tuple(self.label_names))
        try:
            n = len(self.boxes)
        except TypeError:
            raise InputError(f"boxes should have shape (n, 4), not be {type(self.boxes).__name__}") from None
        for name, (dtype, shape) in _COLUMNS.items():
            if getattr(self, name) is not None:
                self._freeze(name, dtype, (n, len(self.label_names)) if name in _PROBABILITIES else (n, *shape))

    def _freeze(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        try:
            given = np.array(getattr(self, name))
            column: NDArray[Any] = given.astype(dtype)
        except (TypeError, ValueError):
            raise InputError(f"{name} should be numbers of shape {shape}") from None
        if dtype is np.int64 and given.dtype.kind == "f" and (given != column).any():
            raise InputError(f"{name} should be whole numbers")
        if column.size == 0 and shape[0] == 0:
            column = column.reshape(shape)
        if column.shape != shape:
            raise InputError(f"{name} should have shape {shape}, not {column.shape}")
        if name in _PROBABILITIES and column.size:
            sums = column.sum(1)
            if not (np.abs(sums - 1) < _TOLERANCE).all() or column.min() < -_TOLERANCE:
                raise InputError(f"{name} should be probabilities whose rows sum to 1, not to {sums.tolist()}")
        column.flags.writeable = False
        object.__setattr__(self, name, column)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "image"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "image", None)

    @classmethod
    def none(cls, **about: Any) -> Self:
        """A frame without a face; `about` are the other fields."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32), **about)

    # As a sequence

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int | slice | ArrayLike) -> Self:
        """One face, a slice, or the faces that a mask or a list of indices names. Raises IndexError on others."""
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        if np.ndim(index) == 0:
            if isinstance(index, bool | np.bool_):
                raise IndexError("a mask should have one entry per face")
            position = operator.index(index)  # type: ignore[arg-type]
            if not -len(self) <= position < len(self):
                raise IndexError(f"there is no face {position}: there are {len(self)}")
            return self.select([position % len(self)])
        return self.select(index)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def replace(self, **columns: Any) -> Self:
        """The same faces with some fields changed."""
        return replace(self, **columns)

    def select(self, index: ArrayLike) -> Self:
        """The faces that a mask or a list of indices names, in that order."""
        chosen = np.asarray(index)
        if chosen.size and chosen.dtype.kind not in "biu":
            raise IndexError(f"faces are chosen by whole numbers or a mask, not by {chosen.dtype}")
        if chosen.dtype != bool:
            chosen = chosen.astype(np.intp)
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return replace(self, **{name: column[chosen] for name, column in columns.items() if column is not None})

    # What was read

    @property
    def confidences(self) -> NDArray[np.float32]:
        """(n,) probability of each face's most likely expression; zeros before classification."""
        if self.probs is None or not len(self):
            return np.zeros(len(self), np.float32)
        best: NDArray[np.float32] = self.probs.max(1)
        return best

    def labels(self, min_confidence: float = 0.0) -> list[str]:
        """Each face's most likely expression, `uncertain` where its probability is below `min_confidence`
        or the face has not been classified."""
        if self.probs is None:
            return [UNCERTAIN] * len(self)
        found = zip(self.probs.argmax(1), self.confidences, strict=True)
        return [self.label_names[k] if p >= min_confidence else UNCERTAIN for k, p in found]

    # Of a single face

    def _only(self, what: str) -> int:
        if len(self) != 1:
            hint = f": take one, as in faces[0].{what}" if len(self) else ""
            raise InputError(f"{what} needs exactly one face, and there are {len(self) or 'none'}{hint}")
        return 0

    @property
    def label(self) -> str:
        """The most likely expression of the one face."""
        return self.labels()[self._only("label")]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return float(self.confidences[self._only("confidence")])

    @property
    def box(self) -> NDArray[np.float32]:
        """(4,) x1 y1 x2 y2 of the one face."""
        box: NDArray[np.float32] = self.boxes[self._only("box")]
        return box

    @property
    def score(self) -> float:
        """The detector's confidence in the one face."""
        return float(self.scores[self._only("score")])

    @property
    def id(self) -> int | None:
        """The track id of the one face; None where nobody is followed."""
        face = self._only("id")
        return None if self.ids is None else int(self.ids[face])

    @property
    def probabilities(self) -> dict[str, float]:
        """Label -> probability of the one face; empty before classification."""
        face = self._only("probabilities")
        return {} if self.probs is None else dict(zip(self.label_names, self.probs[face].tolist(), strict=True))

    @property
    def raw_probabilities(self) -> dict[str, float]:
        """Those of the frame alone, of the one face; empty where probabilities are not smoothed."""
        face = self._only("raw_probabilities")
        return {} if self.raw_probs is None else dict(zip(self.label_names, self.raw_probs[face].tolist(), strict=True))

    # For others to read

    def rows(self, min_confidence: float = 0.0) -> Iterator[dict[str, Any]]:
        """One dictionary per face, for JSON: id where people are followed, box, score, landmarks, then label,
        confidence, probabilities, raw probabilities and quality where they are known. Pixels to two decimals,
        probabilities to four. The shape is the same in the command line, the server and the files; see `SCHEMA`."""
        labels = self.labels(min_confidence)
        for i in range(len(self)):
            row: dict[str, Any] = {} if self.ids is None else {"id": int(self.ids[i])}
            row["box"] = _rounded(self.boxes[i], 2)
            row["score"] = round(float(self.scores[i]), 4)
            known = bool(np.isfinite(self.landmarks[i]).all())
            row["landmarks"] = [_rounded(point, 2) for point in self.landmarks[i]] if known else None
            if self.probs is not None:
                row["label"] = labels[i]
                row["confidence"] = round(float(self.confidences[i]), 4)
                row["probabilities"] = dict(zip(self.label_names, _rounded(self.probs[i], 4), strict=True))
            if self.raw_probs is not None:
                row["raw_probabilities"] = dict(zip(self.label_names, _rounded(self.raw_probs[i], 4), strict=True))
            if self.quality is not None:
                row["quality"] = round(float(self.quality[i]), 4)
            yield row

    def to_dict(self, min_confidence: float = 0.0) -> dict[str, Any]:
        """The frame for JSON: schema, source, width, height, detector, model and its faces; frame and time_s too where
        people are followed through time."""
        moment = {} if self.ids is None else {"frame": self.frame, "time_s": round(self.time, 6)}
        return {
            "schema": SCHEMA,
            "source": printable(self.source),
            **moment,
            "width": self.width,
            "height": self.height,
            "detector": self.detector,
            "model": self.model,
            "faces": list(self.rows(min_confidence)),
        }

    def table_rows(self, min_confidence: float = 0.0) -> Iterator[dict[str, Any]]:
        """One flat dictionary per face with the columns that `table_columns` names; None where nothing is known."""
        names = table_columns(self.label_names)
        about = {
            "source": printable(self.source), "frame": self.frame, "time_s": round(self.time, 6),
            "detector": self.detector, "model": self.model,
        }  # fmt: skip
        for face in self.rows(min_confidence):
            row: dict[str, Any] = dict.fromkeys(names) | about
            row.update(id=face.get("id"), score=face["score"], quality=face.get("quality"))
            row.update(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
            if face["landmarks"] is not None:
                row.update(zip(LANDMARK_COLUMNS, (v for point in face["landmarks"] for v in point), strict=True))
            row.update(label=face.get("label"), confidence=face.get("confidence"), **face.get("probabilities", {}))
            row.update({f"raw_{label}": p for label, p in face.get("raw_probabilities", {}).items()})
            yield row

    def to_polars(self) -> pl.DataFrame:
        """One row per face, with the columns of written tables. Raises MissingExtraError without polars."""
        return to_polars(list(self.table_rows()), self.label_names)

    def to_pandas(self) -> pd.DataFrame:
        """As `to_polars`, for pandas."""
        return to_pandas(list(self.table_rows()), self.label_names)

    def draw(self, image: NDArray[np.uint8] | None = None, min_confidence: float = 0.0) -> NDArray[np.uint8]:
        """A copy of the picture, (H, W, 3) uint8 RGB, with every face framed and labelled.

        `image` is the picture that the faces were found in; None takes the one that was kept. Raises InputError where
        there is none, or its size is another.
        """
        from mien.drawing.annotate import annotate

        picture = self.image if image is None else image
        if picture is None:
            raise InputError("the picture was not kept with these faces; give it, as in faces.draw(image)")
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            raise InputError("the picture should be a (H, W, 3) uint8 RGB array")
        if self.width and picture.shape != (self.height, self.width, 3):
            raise InputError(f"the picture should have shape {(self.height, self.width, 3)}, not {picture.shape}")
        return annotate(picture, self, min_confidence)

    def __repr__(self) -> str:
        about = [part for part in (self.source, f"{self.width}x{self.height}" if self.width else "") if part]
        if self.ids is not None:
            about.append(f"{self.time:.2f} s")
        named = ["face"] * len(self)
        if self.probs is not None:
            named = [f"{label} {p:.0%}" for label, p in zip(self.labels(), self.confidences.tolist(), strict=True)]
        if self.ids is not None:
            named = [f"{person} {text}" for person, text in zip(self.ids.tolist(), named, strict=True)]
        shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        return f"Faces({len(self)}{': ' * bool(named)}{shown}{'; ' * bool(about)}{', '.join(about)})"

    def _repr_html_(self) -> str:
        """For notebooks: a small annotated picture where it was kept, and a bar for each probability."""
        from mien.drawing.notebook import faces_html

        return faces_html(self)


def _rounded(values: NDArray[np.float32], digits: int) -> list[float]:
    return [round(float(v), digits) for v in values]
