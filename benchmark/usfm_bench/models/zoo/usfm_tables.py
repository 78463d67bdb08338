"""Relative-position tables at another input size, as timm resizes them or as the published code does."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from scipy.interpolate import RegularGridInterpolator
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor

from usfm_bench.core.errors import WeightsError

_LARGEST = 1024
_CUBIC = 3  # tokens a side whose offsets are enough for a cubic spline
_EXTRA = 3  # entries of the class token: to it, from it, with itself


def table_grid(entries: int) -> int | None:
    """Side of the token grid that a table of so many entries is of; None: of no square grid."""
    side = math.isqrt(max(0, entries - _EXTRA))
    return (side + 1) // 2 if side % 2 and side**2 == entries - _EXTRA else None


def resized_table(table: Tensor, grid: int) -> Tensor:
    """A (entries, heads) table at another grid, with timm."""
    if table_grid(len(table)) == grid:
        return table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # timm's own calls are what torch warns of
        size = ((2 * grid - 1) ** 2 + _EXTRA, table.shape[1])
        resized: Tensor = resize_rel_pos_bias_table(table, (grid, grid), size)
    return resized


def published_table(table: Tensor, grid: int, patch: int = 16) -> Tensor:
    """A (entries, heads) table at another grid, as openmedlab/USFM at 960a1e1 resizes it: with its axes swapped.

    Source offsets are spaced as a geometric progression that is to reach the border of the new grid, and a cubic
    spline is evaluated at whole offsets.

    Raises:
        WeightsError: the progression ends short of the border, where that code puts NaN; names the sizes that work.
    """
    source = table_grid(len(table))
    assert source is not None, "the caller has checked that the table is square"
    if source == grid:
        return table
    if source < _CUBIC:
        raise WeightsError(
            f"a table of {source} x {source} tokens is too small for the cubic spline of the published code."
        )
    offsets, wanted = _offsets(source, grid), np.arange(1.0 - grid, grid)
    points = np.stack(np.meshgrid(wanted, wanted, indexing="ij"), axis=-1)
    squares = table[:-_EXTRA].float().numpy().reshape(2 * source - 1, 2 * source - 1, -1)
    swapped = squares.transpose(1, 0, 2)
    heads = [
        RegularGridInterpolator((offsets, offsets), swapped[..., head], method="cubic", bounds_error=False)(points)
        for head in range(swapped.shape[-1])
    ]
    resized = torch.from_numpy(np.stack(heads, axis=-1).reshape(-1, len(heads))).float()
    if resized.isnan().any():
        works = [g * patch for g in range(1, _LARGEST // patch + 1) if g == source or _reaches(source, g)]
        raise WeightsError(
            f"image_size {grid * patch}: the published code resizes the position table to NaN at this size. From "
            f"{source * patch} px it works at {', '.join(map(str, works))} px; legacy_transpose=False works at all."
        )
    return torch.cat([resized, table[-_EXTRA:].float()])


def _reaches(source: int, grid: int) -> bool:
    return bool(_offsets(source, grid)[-1] >= grid - 1)


def _offsets(source: int, grid: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Places of the source's offsets; the ratio is searched as the published code does, to 1e-6."""
    steps, (low, high) = source - 1, (1.01, 1.5)
    ratio = low
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**steps) / (1 - ratio) > grid - 1:
            high = ratio
        else:
            low = ratio
    outward = np.cumsum(ratio ** np.arange(steps))
    return np.concatenate([-outward[::-1], [0.0], outward])
