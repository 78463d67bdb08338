"""Blur across the beam, along it, and by motion."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

SIGMAS = (1.0, 2.0, 3.0, 4.5, 6.0)
"""Standard deviation of the Gaussian along a row, in pixels, by severity."""
ALONG = (0.5, 1.0, 1.5, 2.25, 3.0)
"""The same down a column: a beam resolves about twice as well along as across."""
LENGTHS = (5, 9, 15, 21, 31)
"""Way of the probe during one picture, in pixels, by severity."""


def blur_across(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each row smoothed by a Gaussian; edges repeat. Nothing is smoothed down the rows, along the beam.

    >>> edge = np.array([[0, 0, 0, 0, 255, 255, 255, 255]], np.uint8)
    >>> blur_across(edge, 1, np.random.default_rng(0)).tolist()
    [[0, 1, 15, 77, 178, 240, 254, 255]]
    """
    sigma = SIGMAS[severity - 1]
    width = 2 * round(4 * sigma) + 1  # 99.99 % of the Gaussian
    blurred = cv2.GaussianBlur(image, (width, 1), sigmaX=sigma, sigmaY=1.0, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.uint8)


def blur_along(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each column smoothed by a Gaussian; edges repeat."""
    sigma = ALONG[severity - 1]
    height = 2 * round(4 * sigma) + 1
    blurred = cv2.GaussianBlur(image, (1, height), sigmaX=1.0, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.uint8)


def blur_by_motion(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """The mean along a straight way of any direction, by lot; edges repeat."""
    length = LENGTHS[severity - 1]
    angle, half = rng.uniform(0, np.pi), (length - 1) / 2
    steps = np.linspace(-half, half, 4 * length)
    kernel = np.zeros((length, length))
    np.add.at(
        kernel,
        (np.rint(half + steps * np.sin(angle)).astype(int), np.rint(half + steps * np.cos(angle)).astype(int)),
        1,
    )
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _add(name: str, title: str, imitates: str, source: str, apply: Callable[..., Image]) -> None:
    CORRUPTIONS.register(name)(Corruption(title, imitates, source, apply))


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


_add(
    "lateral-blur",
    "Blur across the beam",
    "A wide beam, as of a low frequency or outside the focus: a Gaussian along each row with a standard deviation of "
    f"{_listed(SIGMAS)} px",
    "This project's own; a beam resolves less across than along",
    blur_across,
)
_add(
    "axial-blur",
    "Blur along the beam",
    "A long pulse, as of a low frequency: a Gaussian down each column with a standard deviation of "
    f"{_listed(ALONG)} px",
    "This project's own",
    blur_along,
)
_add(
    "motion",
    "Motion",
    f"A probe or a patient that moves: the mean along a straight way of {_listed(LENGTHS)} px in any direction, by lot",
    "This project's own; as ImageNet-C's, with a uniform way",
    blur_by_motion,
)
