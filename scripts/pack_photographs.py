"""A part of the photographs as one small file, for a machine that is lent for a quarter of an hour and takes little.

    python scripts/pack_photographs.py photos.parquet photos2.parquet --out packed.parquet --mebibytes 54
    mien train detector --data packed.parquet --out runs/lent --minutes 7 --resume --set optim.batch_size=96
    mien export runs/lent --data packed.parquet --out lent.onnx

What trains and what is held out stays so, for that hangs on each picture's hash. Of what is held out little is taken:
enough to choose weights and the least score by.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from mien.data import photographs

_SHARES = (("validation", 0.08), ("train", 0.92))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mebibytes", type=float, default=54)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    tables, rows = [], []
    for file in args.files:
        tables.append(pl.read_parquet(file, columns=["image", "faces", "landmarks", "ignore", "kind"]))
        rows += photographs.read(file)
    order = np.random.default_rng(args.seed).permutation(len(rows))
    chosen: list[int] = []
    for part, share in _SHARES:
        members = order[[rows[i].part == part for i in order]]
        sizes = np.cumsum([len(rows[i].encoded) for i in members])
        chosen += members[sizes <= share * args.mebibytes * 2**20].tolist()
    packed = pl.concat(tables, how="vertical_relaxed")[sorted(chosen)]
    packed.write_parquet(args.out, compression="uncompressed")
    print(f"{args.out}: {len(packed):,} of {len(rows):,} photographs, {args.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
