"""Does memory stay flat over an hour? `mien predict` with all its outputs, watched from outside.

    python benchmarks/film_memory.py --png memory.png --json memory.json

The film lasts an hour at 5 frames a second and 320x240: somebody is there all the time, somebody else comes and goes
twice a minute, and twice a minute there is a cut, after which everybody is somebody new. While the command writes an
annotated film, a table, episodes and a timeline, its resident memory is read from /proc, so this runs on Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.progress import track
from scenes import background, paste
from skimage import data

from mien.output.video import open_video
from mien.provenance import provenance

FPS = 5
LOOP = 60
"""Seconds after which the film repeats itself."""
EVERY = 10
"""Seconds of the film between two readings."""
SETTLED = 1 / 6
"""Share of the film after which memory should not grow any more."""
SIZE = (320, 240)
_MB = 1 << 20


def make_film(path: Path, seconds: int) -> None:
    """Write the film."""
    head = np.asarray(cv2.cvtColor(data.astronaut()[5:215, 120:330], cv2.COLOR_RGB2GRAY), np.uint8)
    rng = np.random.default_rng(0)
    shots = [np.asarray(cv2.resize(background(rng), SIZE, interpolation=cv2.INTER_AREA), np.uint8) for _ in range(2)]
    loop = []
    for i in range(LOOP * FPS):
        now, shot = i / FPS, 2 * i // (LOOP * FPS)
        frame = shots[shot].copy()
        one, other = (90, 230) if shot == 0 else (240, 80)
        paste(frame, head, one + 20 * np.sin(now), 120 + 10 * np.cos(1.3 * now), 110, 0)
        if 12 < now % (LOOP / 2) < 27:
            paste(frame, np.ascontiguousarray(head[:, ::-1]), other + 10 * np.sin(now), 110, 100, 0)
        loop.append(frame)
    with open_video(path) as film:
        for i in track(range(seconds * FPS), "writing the film"):
            film.write(loop[i % len(loop)], i / FPS)


def watch(film: Path, seconds: int) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Resident memory in MB over the film's time, and how much came out of it."""
    folder = film.parent
    episodes = folder / "episodes.json"
    command = [sys.executable, "-m", "mien.cli", "predict", str(film), "--json", "--save", str(folder / "out")]
    command += ["--table", str(folder / "faces.csv"), "--episodes", str(episodes), "--timeline", str(folder / "t.html")]
    readings: list[dict[str, float]] = []
    page = os.sysconf("SC_PAGE_SIZE")
    people: set[int] = set()
    frames = faces = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in track(process.stdout, "watching it", total=seconds * FPS):
            told = json.loads(line)
            frames, faces = frames + 1, faces + len(told["faces"])
            people.update(face["id"] for face in told["faces"])
            if not readings or told["time_s"] >= readings[-1]["time_s"] + EVERY:
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page
                readings.append({"time_s": told["time_s"], "resident_mb": round(resident / _MB, 1)})
    if process.returncode:
        raise SystemExit(f"mien predict ended with {process.returncode}")
    told = len(json.loads(episodes.read_text("utf-8"))["episodes"])
    return readings, {"frames": frames, "faces": faces, "people": len(people - {0}), "episodes": told}


def growth(readings: list[dict[str, float]]) -> dict[str, float]:
    """MB: the most there was, and the slope of a line through all readings of the settled film, in an hour."""
    time, memory = (np.array([r[name] for r in readings]) for name in ("time_s", "resident_mb"))
    settled = time >= SETTLED * time[-1]
    slope = float(np.polyfit(time[settled] / 3600, memory[settled], 1)[0])
    return {"most_mb": float(memory.max()), "growth_mb_per_hour": round(slope, 2)}


def draw(path: Path, readings: list[dict[str, float]], title: str) -> None:
    figure, axes = plt.subplots(figsize=(8, 3.2), dpi=160, layout="constrained")
    minutes, memory = [r["time_s"] / 60 for r in readings], [r["resident_mb"] for r in readings]
    axes.plot(minutes, memory, color="#2f6fb5", linewidth=1.8)
    axes.fill_between(minutes, memory, color="#2f6fb5", alpha=0.12)
    axes.set(
        xlim=(0, minutes[-1]), ylim=(0, 1.25 * max(memory)), xlabel="minutes of film", ylabel="resident memory, MB"
    )
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6eb")
    axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--png", type=Path, default=None, help="draw the curve here")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    if not Path("/proc/self/statm").exists():
        raise SystemExit("this benchmark reads /proc, which only Linux has")
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "hour.mp4"
        make_film(film, args.seconds)
        readings, came = watch(film, args.seconds)
    found: dict[str, Any] = growth(readings)
    told = ", ".join(f"{number:,} {what}" for what, number in came.items())
    sentence = f"at most {found['most_mb']:.0f} MB, growing by {found['growth_mb_per_hour']:+.1f} MB an hour"
    Console().print(f"{told}: {sentence}", highlight=False)
    if args.png:
        draw(args.png, readings, f"{told}:\n{sentence}")
    if args.json:
        content = {**provenance(), "seconds": args.seconds, **came, **found, "readings": readings}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
