"""`mien doctor` says whether everything works here and what to do if not; `mien fetch` downloads what is needed."""

from __future__ import annotations

import json
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from mien import __version__
from mien.cli.console import err, out
from mien.cli.formatting import printed
from mien.cli.licences import licences
from mien.errors import MienError, reason

#: All install the same module `cv2`, and the last one wins, file by file.
OPENCVS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
_SUMS = ("all", "dev")
"""Extras that only gather the others."""
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warning", "error"]
    finding: str


def fetch() -> None:
    """Download the YuNet face detector for `--detector yunet`, and print where it lies."""
    from mien.vision import fetch

    with err.status("downloading YuNet"):
        path = fetch.yunet(retry=True)
    print(path)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
    show_licences: Annotated[
        bool,
        typer.Option(
            "--licences", help="List the licences of all that is installed: packages, libraries of FFmpeg, networks."
        ),
    ] = False,
) -> None:
    """Look at versions, models, detector and cache, and say what to do where something is wrong.

    Exits with 1 when there is an error.
    """
    if show_licences:
        _print_licences(as_json)
        return
    with err.status("looking"):
        checks = list(_checks())
    healthy = all(check.status != "error" for check in checks)
    if as_json:
        print(json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for check in checks:
            table.add_row(Text(check.status, _STYLES[check.status]), check.name, Text(check.finding, overflow="fold"))
        out.print(table, highlight=False)
    if not healthy:
        raise typer.Exit(1)


def _print_licences(as_json: bool) -> None:
    found = licences()
    if as_json:
        print(json.dumps({"licences": [asdict(one) for one in found]}, indent=2))
        return
    table = Table("kind", "name", "version", "licence", box=None, header_style="bold", pad_edge=False)
    for one in found:
        table.add_row(one.kind, one.name, one.version, Text(one.licence, overflow="fold"))
    printed(table)


def _checks() -> Iterator[Check]:
    yield Check("mien", "ok", __version__)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield from _packages()
    for name, look in _LOOKS.items():
        try:
            yield look(name)
        except (MienError, ImportError, OSError) as error:
            yield Check(name, "error", str(error))


def _packages() -> Iterator[Check]:
    """What the installed package asks for: each core package, and each extra as one."""
    try:
        requirements = metadata.requires("mien") or []
    except metadata.PackageNotFoundError:
        yield Check("packages", "warning", "unknown, since mien runs from its folder: pip install -e .")
        return
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", requirement)
        if extra is None:
            version = _version(name)
            missing = f"not installed; run: pip install --upgrade mien=={__version__}"
            yield Check(name, "ok" if version else "error", version or missing)
        elif extra[1] not in _SUMS:
            extras.setdefault(extra[1], []).append(name)
    for extra_name, names in extras.items():
        absent = [name for name in names if _version(name) is None]
        if absent:
            advice = f'not installed ({", ".join(absent)}); when you need it: pip install "mien[{extra_name}]"'
            yield Check(f"extra {extra_name}", "ok", advice)
        else:
            yield Check(f"extra {extra_name}", "ok", ", ".join(f"{name} {_version(name)}" for name in names))


def _opencv(name: str) -> Check:
    installed = [package for package in OPENCVS if _version(package)]
    if len(installed) > 1:
        return Check(
            name, "error",
            f"{', '.join(installed)} are installed over each other; run: "
            f"pip uninstall -y {' '.join(installed)} && pip install --force-reinstall --no-deps '{_wanted_opencv()}'",
        )  # fmt: skip
    import cv2

    return Check(name, "ok", f"{cv2.__version__} from {', '.join(installed) or 'elsewhere than a package'}")


def _wanted_opencv() -> str:
    try:
        requirements = metadata.requires("mien") or []
    except metadata.PackageNotFoundError:
        requirements = []
    return next((r for r in requirements if r.startswith(OPENCVS[0])), OPENCVS[0])


def _providers(name: str) -> Check:
    from mien.vision.runtime import providers

    found = providers()
    return Check(name, "ok" if found else "error", ", ".join(found) or "none; reinstall onnxruntime")


def _model(name: str) -> Check:
    import numpy as np

    from mien import models
    from mien.vision.classify import Classifier

    model = models.load()
    card = model.card
    Classifier(model).probabilities(np.zeros((1, card.input_size, card.input_size), np.uint8))
    score = card.scores.get("test", {}).get("accuracy")
    measured = (
        f"{100 * score:.1f} % right on FER2013 PrivateTest" if score is not None else "not measured on a test set"
    )
    return Check(
        name, "ok", f"{card.name}: {card.parameters:,} parameters, SHA-256 {card.sha256[:12]} fits, {measured}"
    )


def _cache(name: str) -> Check:
    from mien.vision import fetch

    folder = fetch.home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check(name, "ok", f"{folder} can be written")
    except OSError as error:
        return Check(name, "error", f"{folder} cannot be written ({reason(error)}); set MIEN_HOME to a folder of yours")


def _detector(name: str) -> Check:
    from mien.models import load_detector
    from mien.vision.detect import MienDetector

    model = load_detector()
    MienDetector(model, threads=1)
    return Check(name, "ok", f"{model.card.name}, {model.card.parameters:,} parameters, checked against its card")


def _sandbox(name: str) -> Check:
    from mien.serve.sandbox import missing

    gaps = missing()
    return Check(name, "warning" if gaps else "ok", "; ".join(gaps) or "Landlock and seccomp hold who reads its films")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_LOOKS: dict[str, Callable[[str], Check]] = {
    "OpenCV": _opencv,
    "providers": _providers,
    "model": _model,
    "cache": _cache,
    "detector": _detector,
    "server": _sandbox,
}
