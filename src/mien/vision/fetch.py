"""Downloads: one pinned file, into a cache that `MIEN_HOME` names, and no second wait on a dead network."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from mien.errors import FetchError, reason

YUNET_SHA256 = "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12"
YUNET_URL = (
    "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "dca340aa082c71081a68d17db8e58b33a58a914b/onnx/yunet_n_dynamic.onnx"
)
YUNET_FILE = "yunet_n_dynamic.onnx"

CONNECT_SECONDS, READ_SECONDS = 3, 30
RETRY_AFTER_SECONDS = 3600
"""After a failed download nobody waits for the network again for this long, unless asked with `mien fetch`."""


def home() -> Path:
    """The cache folder: `MIEN_HOME`, or the user's cache folder. It is not created here."""
    named = os.environ.get("MIEN_HOME")
    if named:
        return Path(named).expanduser()
    import platformdirs  # pooch is built on it

    return Path(platformdirs.user_cache_dir("mien"))


def yunet(*, retry: bool = False) -> Path:
    """The YuNet detector file (323 kB, Apache-2.0), downloaded at first use and checked against its SHA-256.

    `retry` tries the network even when it failed within the last hour. Raises FetchError when the file is not there
    and cannot be downloaded, or is not what it should be.
    """
    folder = home()
    target, failed = folder / YUNET_FILE, folder / f"{YUNET_FILE}.unreachable"
    try:
        cached = target.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        cached = None
    except OSError as error:
        raise FetchError(f"cannot read {target}: {reason(error)}") from None
    if cached is not None:
        if hashlib.sha256(cached).hexdigest() == YUNET_SHA256:
            return target
        raise FetchError(f"{target} is not YuNet (its SHA-256 differs); delete it and run: mien fetch")
    if not retry and _age(failed) < RETRY_AFTER_SECONDS:
        raise FetchError("YuNet could not be downloaded a short while ago; connect to a network and run: mien fetch")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(target)
    except OSError as error:  # requests' errors are OSErrors too
        _remember(failed)
        raise FetchError(
            f"YuNet could not be downloaded to {folder} ({_reason(error)}); connect to a network and run mien fetch, "
            "or name a file with --detector-weights"
        ) from None
    failed.unlink(missing_ok=True)
    return target


def _download(target: Path) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:  # pooch writes a temporary file beside the target, checks the hash and renames
        pooch.retrieve(
            YUNET_URL, known_hash=f"sha256:{YUNET_SHA256}", fname=target.name, path=target.parent, downloader=downloader
        )
    except ValueError as error:
        raise FetchError(f"the download of YuNet is not what it should be: {str(error).splitlines()[0]}") from None


def _age(stamp: Path) -> float:
    try:
        return time.time() - stamp.stat().st_mtime
    except OSError:
        return float("inf")


def _remember(stamp: Path) -> None:
    try:
        stamp.touch()
    except OSError:
        return  # a cache that cannot be written is reported by the download itself and by `mien doctor`


def _reason(error: OSError) -> str:
    # Texts of requests run to whole paragraphs of URL and pool.
    return reason(error) if error.errno else type(error).__name__
