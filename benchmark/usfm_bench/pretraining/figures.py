"""Pictures of pre-training: the paper's Figure 2, and what the model reconstructs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from usfm_bench.core.files import write_atomic
from usfm_bench.pretraining.masking import DualMasking
from usfm_bench.specs.pretraining import PretrainSpec
from usfm_bench.training.seeding import Stream, torch_generator

_SHOWN_BANDS = 8
_FLOOR = -3  # of the logarithm of a spectrum


def write_sheet(path: Path, images: Tensor, masked: Tensor, rec: Tensor, step: int) -> None:
    """A PNG: for each of (N, 1, S, S) images the original, masked and reconstructed one, and their spectra."""
    figure = Figure(figsize=(12, 2.1 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), 6, squeeze=False)
    for row, triple in zip(axes, zip(images, masked, rec, strict=True), strict=True):
        for axis, picture in zip(row[:3], triple, strict=True):
            _show(axis, picture[0])
        for axis, picture in zip(row[3:], triple, strict=True):
            _show_spectrum(axis, picture[0])
    titles = ["image", "masked", f"reconstructed, step {step}", "its spectrum, log", "masked", "reconstructed"]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    _write(figure, path)


def write_masks(path: Path, spec: PretrainSpec, image: Tensor) -> None:
    """A PNG like the paper's Figure 2 of one (S, S) image: spectrum, band-stop bank, combined mask, results.

    The masks are those of the spec's seed.
    """
    masking = DualMasking(spec.masking, spec.image_size, "usfm")
    draw = masking.draw(1, torch_generator(spec.seed, Stream.MASKS, 0))
    batch = image[None, None]
    shown = np.unique(np.linspace(0, masking.n_bands - 1, _SHOWN_BANDS).round().astype(int)).tolist()
    figure = Figure(figsize=(12, 7), layout="constrained")
    parts: Any = figure.subfigures(3, 1)
    top, middle, bottom = parts
    panels = [
        ("image U", _show, image),
        ("spectrum |F|, log", _show_spectrum, image),
        ("frequency mask", _show, _whole(masking, draw.bands[0])),
        ("spectrum after it", _show_spectrum, masking.stop_bands(batch, draw.bands)[0, 0]),
    ]
    _panels(top, panels)
    bank = [(f"annulus {k}", _show, _whole(masking, _one(masking.n_bands, k))) for k in shown]
    _panels(middle, bank)
    middle.suptitle(
        f"band-stop bank: {len(shown)} of {masking.n_bands} annuli, of which some are combined", fontsize=10
    )
    results = {"frequency, Eq. (6)": DualMasking(spec.masking, spec.image_size, "frequency")(batch, draw)}
    if spec.image_size % spec.masking.patch_size == 0:  # which frequency masking alone does not need
        spatial = DualMasking(spec.masking, spec.image_size, "spatial")(batch, draw)
        results = {"spatial, Eq. (1)": spatial, **results, "both, Eq. (7)": masking(batch, draw)}
    _panels(bottom, [(title, _show, masked.images[0, 0]) for title, masked in results.items()])
    _write(figure, path)


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


def _show(axis: Any, picture: Tensor) -> None:
    axis.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])


def _show_spectrum(axis: Any, picture: Tensor) -> None:
    spectrum = torch.fft.fftshift(torch.fft.fft2(picture.float(), norm="ortho")).abs()
    size = torch.log10(spectrum + 10**_FLOOR)
    axis.imshow(size.numpy(), cmap="magma", interpolation="nearest", vmin=_FLOOR, vmax=float(size.max()))
    axis.set(xticks=[], yticks=[])


def _write(figure: Figure, path: Path) -> None:
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=110))
