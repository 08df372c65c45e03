"""The whole way to the most accurate network, in stages that can be cut anywhere: five teachers, then the student.

    python scripts/accuracy_plan.py --data sets/fer2013 --minutes 9

Goes on where the last call stopped, in the first stage that is not finished, until the minutes are over. Needs a GPU
to end within an hour; sets/fer2013-recropped comes from `mien data recrop`. Afterwards: mien export runs/student.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console

from mien.training.device import find_device
from mien.training.fit import fit
from mien.training.recipe import read
from mien.training.run_folder import Epoch, RunFolder, best

STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "teacher-1": ("teacher", ()),
    "teacher-2": ("teacher", ("seed=12", "model.widths=[96, 192, 384, 512]", "model.depths=[1, 2, 2, 1]")),
    "teacher-3": ("teacher", ("seed=13", "augment.rotate=25", "augment.shift=0.12", "optim.label_smoothing=0.1")),
    "teacher-4": ("teacher", ("seed=14", "model.input_size=64", "model.stem_stride=2", "optim.vote_prior=0.5")),
    "teacher-5": ("teacher", ("seed=15", "augment.erase=0.6", "augment.scale=[0.75, 1.25]", "optim.weight_decay=1e-3")),
    "student": ("student", ()),
}
"""Run folder -> recipe and what is changed in it: teachers should differ in their mistakes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders lie")
    parser.add_argument("--minutes", type=float, default=9, help="time for this call")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    console, deadline = Console(), time.monotonic() + args.minutes * 60
    for name, (recipe, settings) in STAGES.items():
        run = RunFolder(args.runs / name)
        if run.finished:
            continue

        def say(epoch: int, done: int, of: int, line: Epoch | None, name: str = name) -> None:
            if line and (epoch % 10 == 0 or epoch == 1):
                console.print(f"{name} {epoch} {line.validation_accuracy:.2%} {line.images_per_second:.0f} images/s")

        history = fit(
            read(recipe, settings), args.data, run.path, device=find_device(args.device), progress=say,
            resume=run.checkpoint.exists(), minutes=(deadline - time.monotonic()) / 60,
        )  # fmt: skip
        if history:
            console.print(f"{name}: {len(history)} epochs, best {best(history).validation_accuracy:.2%}")
        if not run.finished:
            console.print("the next epoch would not end in time; the same command goes on")
            return
    console.print("all stages are finished")


if __name__ == "__main__":
    main()
