"""What a corruption is, and how one is applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry
from usfm_bench.data.sample import Image

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One thing that may go wrong with an image, in five severities."""

    title: str
    """What it is, for tables."""
    imitates: str
    """What it stands for at the bedside, and what each severity is, with units."""
    source: str
    """Paper or code that it follows; or that it is this project's own."""
    apply: Callable[[Image, int, np.random.Generator], Image]
    """Of an image (H, W) uint8, a severity from 1 (mild) to 5 (severe), and the only source of chance: a new image of
    the same shape and type. The image that is passed must not be changed."""


CORRUPTIONS: Registry[Corruption] = Registry("corruption", home="usfm_bench.data.corruptions")
"""Name -> corruption."""


def corrupt(image: Image, name: str, severity: int, rng: np.random.Generator) -> Image:
    """The image as a corruption leaves it.

    Args:
        image: (H, W) uint8; is not changed.
        name: a name of `CORRUPTIONS`.
        severity: 1 to 5.
        rng: the only source of chance.

    Returns:
        (H, W) uint8.

    Raises:
        BenchError: no such corruption or severity, or one that gives no such image.
    """
    corruption = CORRUPTIONS[name]
    if severity not in SEVERITIES:
        raise BenchError(f"Severity {severity} of corruption '{name}': expected 1, 2, 3, 4 or 5.")
    changed = corruption.apply(image.copy(), severity, rng)
    if not isinstance(changed, np.ndarray) or changed.shape != image.shape or changed.dtype != np.uint8:
        raise BenchError(
            f"Corruption '{name}' gave {_in_words(changed)} for an image of {_in_words(image)}; it must keep both."
        )
    return changed


def _in_words(image: object) -> str:
    if not isinstance(image, np.ndarray):
        return f"a {type(image).__name__}"
    return f"{' x '.join(map(str, image.shape))} px in {image.dtype}"
