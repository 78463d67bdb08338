"""Segmentation of several structures: every metric for each structure, and its mean over those that an image shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.data.packed import Channel
from usfm_bench.data.sample import Masks
from usfm_bench.metrics.definitions import FAMILIES, Definition, known_definitions
from usfm_bench.metrics.segmentation import Spacings, primary_definitions, score_segmentation

if TYPE_CHECKING:
    import pandas as pd

COUNTS = ("lesion", "missed", "false_alarm", "target_px", "pred_px")
"""Columns of a case beside its metrics: of each structure too."""


def of_structure(definition: Definition, name: str) -> Definition:
    """A metric of one structure, by its name.

    >>> of_structure(known_definitions(["dsc.native@1"])[0], "atrium").id
    'dsc.native[atrium]@1'
    """
    stem, _, version = definition.id.rpartition("@")
    return replace(
        definition,
        id=f"{stem}[{name}]@{version}",
        formula=f"of the structure {name}: {definition.formula}",
        structure=name,
        base=definition.id,
    )


def over_structures(definition: Definition) -> Definition:
    """The mean of a metric over the structures that the reference of a case has.

    >>> over_structures(known_definitions(["dsc.native@1"])[0]).id
    'dsc.native.mean@1'
    """
    stem, _, version = definition.id.rpartition("@")
    which = "all structures" if definition.over == "all" else "the structures that the case's reference has"
    return replace(
        definition,
        id=f"{stem}.mean@{version}",
        formula=f"mean over {which} (undefined where it is so for one of them) of: {definition.formula}",
        base=definition.id,
    )


def structure_definitions(definitions: Sequence[Definition], names: Sequence[str]) -> list[Definition]:
    """The means of metrics over structures, then those of each structure."""
    return [*map(over_structures, definitions), *(of_structure(d, name) for name in names for d in definitions)]


def score_structures(
    preds: Sequence[Masks],
    targets: Sequence[Masks],
    names: Sequence[str],
    *,
    definitions: Sequence[Definition] | None = None,
    spacings: Sequence[Spacings] | None = None,
    grid_preds: Sequence[Masks] | None = None,
    case_ids: Sequence[str] | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Every metric of every case, one row a case, in the given order.

    A case's value is the mean over the structures that its reference has, over all of them where it has none or where
    the definition says so; it is undefined where one of these is. A missed structure counts with what the definition
    gives it.

    Args:
        preds: (K, H, W) bool predictions; sizes may differ between cases.
        targets: (K, H, W) bool references.
        names: (K,) of the structures.
        definitions: of one mask, what to compute; None: the primary ones, those in millimetres only if a spacing is
            known.
        spacings: (y, x) in millimetres a case.
        grid_preds: (K, S, S) bool predictions on the network's grid, for definitions on it.
        case_ids: names of the cases; their positions when None.
        threads: number of threads; None: one a core.

    Returns:
        Columns case_id, one a definition, lesion (any structure), missed and false_alarm (how many structures),
        target_px and pred_px (pixels of any structure); then all of these of each structure, such as `DSC[atrium]`.

    Raises:
        BenchError: as `score_segmentation`, or another number of masks than of names.
    """
    import pandas as pd  # slow to import, and `check` can do without

    if definitions is None:
        definitions = primary_definitions(list(spacings) if spacings is not None else [None] * len(targets))
    ids = list(case_ids) if case_ids is not None else [str(i) for i in range(len(targets))]
    _check_channels(preds, targets, grid_preds, ids, names)
    tables = [
        score_segmentation(
            Channel(preds, k),
            Channel(targets, k),
            definitions=definitions,
            spacings=spacings,
            grid_preds=None if grid_preds is None else Channel(grid_preds, k),
            case_ids=ids,
            threads=threads,
        )
        for k in range(len(names))
    ]
    present = np.stack([table["lesion"].to_numpy(bool) for table in tables])  # (K, N)
    columns: dict[str, object] = {"case_id": ids}
    for definition in definitions:
        values = np.stack([table[definition.column].to_numpy(np.float64) for table in tables])
        used = present | ~present.any(axis=0) | (definition.over == "all")
        columns[over_structures(definition).column] = _means(values, used)
    columns["lesion"] = present.any(axis=0)
    for count in COUNTS[1:3]:
        columns[count] = sum(table[count].to_numpy(np.int64) for table in tables)
    for count, masks in zip(COUNTS[3:], (targets, preds), strict=True):
        columns[count] = [int(np.count_nonzero(each.any(axis=0))) for each in masks]
    for name, table in zip(names, tables, strict=True):
        columns |= {of_structure(d, name).column: table[d.column] for d in definitions}
        columns |= {f"{count}[{name}]": table[count] for count in COUNTS}
    return pd.DataFrame(columns)


def _means(values: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(K, N) values -> (N,) means over those used; NaN where one of them is."""
    return np.asarray(np.where(used, values, 0.0).sum(axis=0) / used.sum(axis=0))


def _check_channels(
    preds: Sequence[Masks],
    targets: Sequence[Masks],
    grids: Sequence[Masks] | None,
    ids: Sequence[str],
    names: Sequence[str],
) -> None:
    given = {"preds": preds, "targets": targets} | ({} if grids is None else {"grid_preds": grids})
    for kind, masks in given.items():
        for name, mask in zip(ids, masks, strict=False):
            if np.ndim(mask) != 3 or len(mask) != len(names):
                raise BenchError(
                    f"case '{name}': {kind} is of shape {np.shape(mask)}; expected a mask of each of the "
                    f"{len(names)} structures ({', '.join(names)})."
                )


def _of_masks(ident: str) -> Definition | None:
    return next((d for d in known_definitions([ident]) if d.of == "masks" and not d.base), None)


def _mean_family(match: re.Match[str]) -> Definition | None:
    base = _of_masks(f"{match[1]}@{match[2]}")
    return base and over_structures(base)


def _structure_family(match: re.Match[str]) -> Definition | None:
    base = _of_masks(f"{match[1]}@{match[3]}")
    return base and of_structure(base, match[2])


FAMILIES[r"([^\[\]]+)\.mean@(\d+)"] = _mean_family
FAMILIES[r"([^\[\]]+)\[([^\[\]]+)\]@(\d+)"] = _structure_family
