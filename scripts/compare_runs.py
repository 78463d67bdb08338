"""Say which trials of two runs folders differ in their scores by case: exit 0 none, 1 some, 2 nothing to compare.

    python scripts/compare_runs.py reports/runs-before reports/runs

A trial differs when its cases.parquet has other cases, columns, types or values, to the last bit.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd


def differences(old: pd.DataFrame, new: pd.DataFrame) -> Iterator[str]:
    """What differs between two tables of cases, one line a column."""
    for word, columns in (("lost", old.columns.difference(new.columns)), ("new", new.columns.difference(old.columns))):
        if len(columns):
            yield f"{word} columns: {', '.join(columns)}"
    if old["case_id"].tolist() != new["case_id"].tolist():
        yield f"other cases, or another order: {len(old)} -> {len(new)} rows"
        return
    for name in old.columns.intersection(new.columns):
        a, b = old[name], new[name]
        if a.dtype != b.dtype:
            yield f"{name}: {a.dtype} -> {b.dtype}"
        elif changed := int((~((a == b) | (a.isna() & b.isna()))).sum()):
            line, defined = f"{name}: {changed} of {len(a)} cases", int((a.isna() != b.isna()).sum())
            if pd.api.types.is_float_dtype(a):
                line += f", by up to {(b - a).abs().max():.3g}" if changed > defined else ""
                line += f", {defined} undefined in one of the two" if defined else ""
            yield line


def main(old: str, new: str) -> int:
    """Print what differs; returns the exit code."""
    roots = Path(old), Path(new)
    found = [{path.parent.relative_to(root): path for path in root.rglob("cases.parquet")} for root in roots]
    for root, trials in zip(roots, found, strict=True):
        if not trials:
            print(f"error: {root} holds no cases.parquet.", file=sys.stderr)
            return 2
    differ = 0
    for trial in sorted(found[0].keys() | found[1].keys()):
        missing = [str(root) for root, trials in zip(roots, found, strict=True) if trial not in trials]
        lines = [f"missing in {root}" for root in missing] or list(
            differences(*(pd.read_parquet(trials[trial]) for trials in found))
        )
        differ += bool(lines)
        for line in lines:
            print(f"{trial}: {line}")
    print(f"{differ} of {len(found[0].keys() | found[1].keys())} trials differ")
    return int(differ > 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
