"""What dual masking does to an image: the paper's Figure 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from usfm_bench.pretraining.figures import show_picture, show_spectrum, write_figure
from usfm_bench.pretraining.masked_images import MaskedSpec
from usfm_bench.pretraining.masking import DualMasking
from usfm_bench.training.seeding import Stream, torch_generator

_SHOWN_BANDS = 8


def write_masks(path: Path, spec: MaskedSpec, image: Tensor) -> None:
    """A PNG like the paper's Figure 2 of one (S, S) image: spectrum, band-stop bank, combined mask, results.

    The masks are those of the spec's seed.
    """
    masking = DualMasking(spec.masking, spec.image_size)
    draw = masking.draw(1, torch_generator(spec.seed, Stream.MASKS, 0))
    batch = image[None, None]
    shown = np.unique(np.linspace(0, masking.n_bands - 1, _SHOWN_BANDS).round().astype(int)).tolist()
    figure = Figure(figsize=(12, 7), layout="constrained")
    parts: Any = figure.subfigures(3, 1)
    top, middle, bottom = parts
    panels = [
        ("image U", show_picture, image),
        ("spectrum |F|, log", show_spectrum, image),
        ("frequency mask", show_picture, _whole(masking, draw.bands[0])),
        ("spectrum after it", show_spectrum, masking.stop_bands(batch, draw.bands)[0, 0]),
    ]
    _panels(top, panels)
    bank = [(f"annulus {k}", show_picture, _whole(masking, _one(masking.n_bands, k))) for k in shown]
    _panels(middle, bank)
    middle.suptitle(
        f"band-stop bank: {len(shown)} of {masking.n_bands} annuli, of which some are combined", fontsize=10
    )
    results = {"frequency, Eq. (6)": DualMasking(spec.masking, spec.image_size, patches=False)(batch, draw)}
    if spec.image_size % spec.masking.patch_size == 0:  # which frequency masking alone does not need
        spatial = DualMasking(spec.masking, spec.image_size, bands=False)(batch, draw)
        results = {"spatial, Eq. (1)": spatial, **results, "both, Eq. (7)": masking(batch, draw)}
    _panels(bottom, [(title, show_picture, masked.images[0, 0]) for title, masked in results.items()])
    write_figure(figure, path)


def _one(n: int, k: int) -> Tensor:
    return torch.arange(n) == k


def _whole(masking: DualMasking, bands: Tensor) -> Tensor:
    """(S, S) centred picture of what is kept, from the half that the transform needs."""
    index: Any = masking.band
    kept = ~torch.cat([bands, bands.new_zeros(1)])[index]
    size = masking.size
    v = torch.arange(size) - size // 2
    rows, columns = v[:, None].expand(size, size), v[None, :].expand(size, size)
    rows = torch.where(columns < 0, -rows, rows)
    return kept[rows % size, columns.abs()].float()


def _panels(figure: Any, panels: list[tuple[str, Any, Tensor]]) -> None:
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, show, content) in zip(axes, panels, strict=True):
        show(axis, content)
        axis.set_title(title, fontsize=9)
