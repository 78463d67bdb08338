"""The sheet that a pre-training draws of what its network makes of images, and the panels of such figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from usfm_bench.core.files import write_atomic
from usfm_bench.specs.method import Sheet

_FLOOR = -3  # of the logarithm of a spectrum


def write_sheet(path: Path, sheet: Sheet, step: int) -> None:
    """A PNG with a row an image: its pictures, then its spectra."""
    columns = [
        (title, show, rows)
        for show, part in ((show_picture, sheet.pictures), (show_spectrum, sheet.spectra))
        for title, rows in part.items()
    ]
    n = len(columns[0][2])
    figure = Figure(figsize=(2 * len(columns), 2.1 * n), layout="constrained")
    axes = figure.subplots(n, len(columns), squeeze=False)
    for column, (title, show, rows) in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=9)
        for axis, picture in zip(column, rows, strict=True):
            show(axis, picture[0].float().cpu())
    figure.suptitle(f"step {step}", fontsize=9)
    write_figure(figure, path)


def show_picture(axis: Any, picture: Tensor) -> None:
    """An (S, S) picture in grey levels."""
    axis.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])


def show_spectrum(axis: Any, picture: Tensor) -> None:
    """The logarithm of the spectrum of an (S, S) picture, its centre in the middle."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(picture.float(), norm="ortho")).abs()
    size = torch.log10(spectrum + 10**_FLOOR)
    axis.imshow(size.numpy(), cmap="magma", interpolation="nearest", vmin=_FLOOR, vmax=float(size.max()))
    axis.set(xticks=[], yticks=[])


def write_figure(figure: Figure, path: Path) -> None:
    """Write the PNG, atomically."""
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=110))
