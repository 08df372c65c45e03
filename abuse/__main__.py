"""The command: `python -m abuse`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from abuse.campaign import FAMILIES, Campaign, Finding, Tally
from abuse.table import as_json, put_into, show
from mien.provenance import provenance


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m abuse", description="Do to mien whatever can be done to it.")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="decides all that is random")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th trial of a family")
    parser.add_argument("--only", metavar="FAMILY/NAME", help="only trials whose names begin so")
    parser.add_argument("--minutes", type=float, help="of all families together, which share them")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="trials at the same time")
    parser.add_argument("--json", type=Path, help="write all that was tried and found here")
    parser.add_argument("--page", type=Path, help="put the table into this Markdown page")
    args = parser.parse_args()

    wanted, only = args.family or list(FAMILIES), ""
    if args.only:
        family, _, only = args.only.partition("/")
        if family not in FAMILIES:
            parser.error(f"--only should begin with one of {', '.join(FAMILIES)} and a slash")
        wanted = [family]
    err = Console(stderr=True)
    tallies: list[Tally] = []
    about = provenance()
    began = time.monotonic()
    with Campaign(seed=args.seed, workers=args.workers) as campaign, err.status("preparing") as status:

        def tell(tally: Tally, found: list[Finding]) -> None:
            for finding in found:
                err.print(Text(f"{finding.kind}: {finding.family}/{finding.trial}: {finding.detail}"), soft_wrap=True)
            status.update(f"{tally.family}: {tally.tried} of {tally.planned} trials, {len(tally.findings)} faults")

        for k, family in enumerate(wanted):
            left = None if args.minutes is None else began + 60 * args.minutes - time.monotonic()
            seconds = None if left is None else left / (len(wanted) - k)
            tally = campaign.run(family, only=only, every=args.every, seconds=seconds, progress=tell)
            tallies.append(tally)
            err.print(f"{family}: {tally.tried} trials in {tally.seconds:.0f} s, {len(tally.findings)} faults")
            if args.json:
                args.json.write_text(as_json(tallies, about, args.seed), encoding="utf-8")
    show(Console(), tallies)
    if args.page:
        put_into(args.page, tallies, about, args.seed)
    if any(tally.findings or tally.failed for tally in tallies):
        sys.exit(1)


if __name__ == "__main__":
    main()
