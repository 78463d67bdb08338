"""Copy finished trials of a suite to reports/measured, without predictions, so that they can be committed.

    python scripts/keep_measured.py reports/runs busi-seg reports/measured/busi-seg-cpu

`usfm-bench report --suite busi-seg --runs reports/measured/busi-seg-cpu` reads what it writes.
"""

import shutil
import sys
from pathlib import Path

KEPT = ("record.json", "cases.parquet", "history.csv")


def main(runs: str, suite: str, out: str) -> None:
    """Copy `runs`/`suite` to `out`/`suite`, trial by trial."""
    found = sorted((Path(runs) / suite).glob("*/*/*/fold-*/seed-*/record.json"))
    if not found:
        sys.exit(f"No finished trial of '{suite}' in {runs}.")
    for record in found:
        target = Path(out) / record.parent.relative_to(runs)
        target.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(record.parent / name, target / name)
    print(f"{len(found)} trials in {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
