"""The plan of the house: imports go down a floor, and importing costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "mien"

FLOORS = {
    "errors": 0, "labels": 0, "threads": 0,
    "faces": 1, "boxes": 1, "models": 1, "fetch": 1, "provenance": 1, "files": 1,
    "crop": 2, "frames": 2, "images": 2, "film": 2, "media": 2, "runtime": 2, "metrics": 2, "stamps": 2, "draw": 2,
    "sinks": 2, "film_sink": 2, "assign": 2, "cuts": 2,
    "detect": 3, "classify": 3, "track": 3, "smooth": 3, "episodes": 3, "episode_sink": 3, "timeline": 3,
    "timeline_scene": 3, "timeline_sink": 3,
    "analyzer": 4, "stream": 4,
    "data": 5, "train": 5, "evaluate": 5, "serve": 5,
    "live": 5, "hud": 5, "window": 5,
    "cli": 7,
}  # fmt: skip
"""Rooms on one floor may use each other, except train, evaluate and serve."""

APART = {"train", "evaluate", "serve"}
HEAVY_ROOMS = {
    "train": {"torch", "safetensors", "sklearn", "onnx", "onnxscript", "matplotlib", "tensorboard"},
    "window": {"pygame"},
    "serve": {"fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"},
}
OPTIONAL = set().union(*HEAVY_ROOMS.values()) | {"polars"}


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
            names = [node.module]
            if node.module == "mien":
                names = [f"mien.{alias.name}" for alias in node.names]
            found += [(name, id(node) not in lazy) for name in names]
    return found


def modules() -> list[Path]:
    return sorted(p for p in SRC.rglob("*.py") if p != SRC / "__init__.py")


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


def test_optional_packages_stay_in_their_rooms() -> None:
    for path in modules():
        allowed = HEAVY_ROOMS.get(room(path), set())
        for name, at_import in imports(path):
            top = name.split(".")[0]
            if at_import and top in OPTIONAL:
                assert top in allowed, f"{path.relative_to(SRC)} imports {top} when it is imported"
            if top == "torch":
                assert room(path) == "train", f"{path.relative_to(SRC)} uses torch"


def test_import_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import mien; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "mien" in loaded
    assert not loaded & {"numpy", "cv2", "onnxruntime", "av", "PIL", "pooch", "pydantic", "typer", "rich", "torch"}


def test_public_names_are_there() -> None:
    import mien

    assert sorted(mien.__all__) == mien.__all__ or set(mien.__all__) == set(dir(mien))
    for name in mien.__all__:
        assert getattr(mien, name) is not None
