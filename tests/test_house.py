"""The plan of the house: imports go down a floor, and importing costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "mien"

FLOORS = {
    "errors": 0, "checks": 0, "labels": 0, "threads": 0, "provenance": 0, "files": 0, "interrupt": 0,
    "columns": 1, "drawing": 1, "models": 1, "metrics": 1,
    "faces": 2,
    "media": 3, "vision": 3, "tracking": 3,
    "output": 4, "analyzer": 4, "stream": 4,
    "recording": 5, "data": 5,
    "training": 6, "evaluation": 6, "live": 6, "serve": 6, "workshop": 7,
    "cli": 8,
}  # fmt: skip
"""Rooms on one floor may use each other where that makes no circle, except those that stand apart."""

APART = {"training", "evaluation", "serve"}
HEAVY_ROOMS = {
    "training": {"torch", "safetensors", "sklearn", "onnx", "onnxscript", "matplotlib", "tensorboard"},
    "live": {"pygame"},
    "serve": {"fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"},
}
OPTIONAL = set().union(*HEAVY_ROOMS.values()) | {"polars"}


def dotted(path: Path) -> str:
    return ".".join(("mien", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__")


def modules() -> list[Path]:
    return sorted(p for p in SRC.rglob("*.py") if p != SRC / "__init__.py")


MODULES = {dotted(path) for path in modules()}


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Imported modules, each with whether the import runs when the module is imported."""
    tree = ast.parse(path.read_text("utf-8"))
    checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
            found += [(name, id(node) not in lazy) for name in names]
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {room(p) for p in modules()} - {"recipes", "weights"}
    assert rooms == set(FLOORS)


def test_imports_go_down() -> None:
    for path in modules():
        here = room(path)
        for name, _ in imports(path):
            there = name.split(".")[1] if name.startswith("mien.") else ""
            if there in FLOORS and there != here:
                assert FLOORS[there] <= FLOORS[here], f"{path.name} on floor {FLOORS[here]} imports {name}"
                assert not {here, there} <= APART, f"{path.name}: {here} and {there} must not know each other"


def test_no_circles() -> None:
    """Not even inside a package, nor by imports that run late."""
    graph = {
        dotted(path): {name for name, _ in imports(path) if name in MODULES} - {dotted(path)} for path in modules()
    }
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()  # raises CycleError, and names the circle


def test_optional_packages_stay_in_their_rooms() -> None:
    for path in modules():
        allowed = HEAVY_ROOMS.get(room(path), set())
        for name, at_import in imports(path):
            top = name.split(".")[0]
            if at_import and top in OPTIONAL:
                assert top in allowed, f"{path.relative_to(SRC)} imports {top} when it is imported"
            if top == "torch":
                assert room(path) == "training", f"{path.relative_to(SRC)} uses torch"


def test_import_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import mien; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "mien" in loaded
    assert not loaded & {"numpy", "cv2", "onnxruntime", "av", "PIL", "pooch", "pydantic", "typer", "rich", "torch"}


PUBLIC = {
    "LABELS", "Analyzer", "Faces", "Frame", "MienError", "Recording", "Stream", "load", "watch", "train", "evaluate",
    "export", "report",
}  # fmt: skip


def test_public_names() -> None:
    import mien

    assert set(mien.__all__) == PUBLIC | {"__version__"} == set(dir(mien))
    for name in PUBLIC:
        assert getattr(mien, name).__module__.startswith("mien.") if name != "LABELS" else len(mien.LABELS) == 7
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        mien.laod  # noqa: B018
