"""Splits that belong to a data set: its own sides, a list, or a draw as published protocols make it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from usfm_bench.core.errors import DataError, did_you_mean, listed
from usfm_bench.data.alike import only_one, tidy
from usfm_bench.data.readers.cells import read_table
from usfm_bench.data.sample import Sample, Side, retold
from usfm_bench.specs.dataset import DatasetSpec

_SIDES: dict[str, Side] = {"train": "train", "val": "val", "test": "test"}
_SHOWN = 5


def assign_sides(
    samples: Sequence[Sample], spec: DatasetSpec, root: Path, left_out: Collection[str] = ()
) -> list[Sample]:
    """The samples with `case.split` as `spec.split` says; as they are where it says nothing.

    Args:
        samples: cases that are kept.
        spec: of their data set.
        root: its folder or file.
        left_out: ids of other cases, which a list may name as well.

    Raises:
        DataError: a list that cannot be read, or that does not name every case once; every fault of it.
    """
    if spec.split is None:
        return list(samples)
    sides: Sequence[Side | None]
    if spec.split.file is not None:
        sides = _listed(samples, _list_file(spec.split.file, root), left_out)
    elif spec.split.sides is not None:
        try:
            sides = _drawn(samples, spec.split.sides, spec.split.seed)
        except ValueError as error:  # scikit-learn's words say which part is too small
            raise DataError(f"Dataset '{spec.name}': split.sides {list(spec.split.sides)}: {error}") from None
    else:
        sides = [None] * len(samples)
    return [retold(s, case=replace(s.case, split=side)) for s, side in zip(samples, sides, strict=True)]


def stratum(sample: Sample) -> str:
    """What a side holds its share of: the class on disk, or else the presence of a lesion."""
    if (label := sample.case.stratum or sample.case.label) is not None:
        return label
    bits = sample.packed or b""
    return "lesion" if bits.count(0) < len(bits) else "no lesion"


def _drawn(samples: Sequence[Sample], sides: tuple[int, int, int], seed: int) -> list[Side]:
    """Stratified and blind to groups, as published protocols draw."""
    from sklearn.model_selection import train_test_split  # takes a second to import, for a few entries alone

    # In the order of the ids, so that the order of reading does not matter.
    order = sorted(range(len(samples)), key=lambda i: samples[i].case.case_id)
    n_test, n_val = (
        n if sum(sides) == len(samples) else round(len(samples) * n / sum(sides)) for n in (sides[2], sides[1])
    )
    strata = np.array([stratum(samples[i]) for i in order])
    rest, test = train_test_split(np.arange(len(order)), test_size=n_test, stratify=strata, random_state=seed)
    found: list[Side] = ["train"] * len(samples)
    for row in test:
        found[order[row]] = "test"
    if n_val:
        _, val = train_test_split(rest, test_size=n_val, stratify=strata[rest], random_state=seed)
        for row in val:
            found[order[row]] = "val"
    return found


def _list_file(name: str, root: Path) -> Path:
    path = Path(name)
    if not path.is_absolute() and ".." in path.parts:
        raise DataError(f"split.file '{name}' leaves the data set's folder.")
    return (root if root.is_dir() else root.parent) / path


def _listed(samples: Sequence[Sample], path: Path, left_out: Collection[str]) -> list[Side]:
    ids = [sample.case.case_id for sample in samples]
    found: dict[str, Side] = {}
    faults = []
    for line, case_id, side in _rows(path):
        if case_id in found:
            faults.append(f"{path}, line {line}: '{case_id}' is listed twice.")
        elif side not in _SIDES:
            faults.append(f"{path}, line {line}: '{side}' is no side; train, val and test are.")
        else:
            found[case_id] = _SIDES[side]
    found = _as_ids(found, [*ids, *left_out])
    lost, strange = [i for i in ids if i not in found], [i for i in found if i not in {*ids, *left_out}]
    if strange:
        hint = did_you_mean(strange[0], lost)
        faults.append(f"{path}: names {len(strange)} cases that are not here: {listed(strange, _SHOWN)}.{hint}")
    if lost:
        faults.append(f"{path}: does not name {len(lost)} cases: {listed(lost, _SHOWN)}.")
    if faults:
        raise DataError("\n".join(faults))
    return [found[case_id] for case_id in ids]


def _as_ids(found: dict[str, Side], ids: Sequence[str]) -> dict[str, Side]:
    """With the ids of cases, where the list's names differ from them in Unicode form or spaces alone."""
    known, near = set(ids), only_one(ids, tidy)
    named = {name: name if name in known else near.get(tidy(name), name) for name in found}
    taken = Counter(named.values())
    return {new if taken[new] == 1 else name: found[name] for name, new in named.items()}


def _rows(path: Path) -> list[tuple[int, str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: the list of the split cannot be read: no such file.")
    table = read_table(path, ("case_id", "split"), separator=None)
    if lacking := {"case_id", "split"} - set(table.columns):
        raise DataError(f"{path}: has no column {' and no column '.join(sorted(lacking))}.")
    return list(zip(table.index, table["case_id"], table["split"].str.lower(), strict=True))
