"""Fetches FER2013 from Kaggle with the user's own account, and checks that it is FER2013."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

from mien.data.readers.fer_csv import count_usages
from mien.errors import DataError, FetchError
from mien.files import replacing

HANDLE = "deadskull7/fer2013"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
FILES = ("fer2013.csv", "icml_face_data.csv")
"""Names under which the one table of all images is published."""
ROWS = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}

_ACCOUNT = (
    "sign in at https://www.kaggle.com/settings, choose Create New Token and save kaggle.json in ~/.kaggle, or set "
    "KAGGLE_USERNAME and KAGGLE_KEY"
)
_BY_HAND = f"or download fer2013.csv by hand from {PAGE}, where signing up is free"


def fetch_fer2013(folder: Path) -> Path:
    """Download fer2013.csv into `folder`, with kagglehub and the account that is set up for it, and return its path.

    A file that is there already is checked and kept. Raises FetchError, in a sentence that says how to go on, when
    kagglehub is missing, the download fails, or what came is not FER2013.
    """
    target = folder / "fer2013.csv"
    if target.exists():
        check_fer2013(target)
        return target
    try:
        kagglehub = import_module("kagglehub")
    except ImportError:
        raise FetchError(
            f"fetching FER2013 needs kagglehub and a Kaggle account: pip install kagglehub, then {_ACCOUNT}, {_BY_HAND}"
        ) from None
    try:
        came = Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # noqa: BLE001 - kagglehub's errors have no common base
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise FetchError(f"Kaggle gave no FER2013 ({reason}); {_ACCOUNT}, {_BY_HAND}") from None
    table = next((path for name in FILES for path in sorted(came.rglob(name))), None)
    if table is None:
        inside = ", ".join(sorted(path.name for path in came.iterdir())[:5]) if came.is_dir() else "nothing"
        raise FetchError(f"what came from {PAGE} holds no fer2013.csv but {inside}; take another copy, {_BY_HAND}")
    check_fer2013(table)
    with replacing(target, str(target)) as part:
        shutil.copyfile(table, part)
    return target


def check_fer2013(path: Path) -> None:
    """Raises FetchError unless the file has FER2013's columns and as many rows of each Usage."""
    try:
        counts = count_usages(path)
    except DataError as error:
        raise FetchError(f"this is not FER2013: {error}") from None
    if counts != ROWS:
        found, wanted = (", ".join(f"{n:,} {name}" for name, n in rows.items()) for rows in (counts, ROWS))
        raise FetchError(f"{path} is not FER2013: it has {found or 'no rows'}, FER2013 has {wanted}")
