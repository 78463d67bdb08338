"""Functions and random numbers that have the same bits on every processor.

NumPy's exp, sin and log, its sums, products of matrices and Fourier transforms choose their code by what the processor
can do, and so do OpenCV's filters: last bits differ between AVX2, AVX-512 and ARM. What is here needs nothing but what
IEEE 754 defines to the last bit (+, -, *, /, sqrt, rounding, comparison), one array operation after another, so that no
compiler can fuse two of them; and integers. Of NumPy's random numbers it takes the raw bits of PCG64 alone: NEP 19
promises those for ever, and the distributions that are made from them only until a better way is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
"""Single or double precision; results have the precision of the argument."""
_SQUARINGS, _LARGEST = 8, 80.0
_SINE = [(-1) ** k * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(7)]
_HALVINGS = 3
_LEVELS, _STEP, _END = 1 << 16, 1 / 4096, 5


def exp(x: Floats) -> Floats:
    """e^x, to 4 digits in single precision; beyond 80 as at 80, below -80 as at -80.

    e^(x/256) by Taylor's series, squared eight times.
    """
    small = np.clip(x, -_LARGEST, _LARGEST) * (1 / 2**_SQUARINGS)
    result = polynomial(small, [1.0, 1.0, 1 / 2, 1 / 6, 1 / 24])
    for _ in range(_SQUARINGS):
        result *= result
    return result


def sine(x: Floats) -> Floats:
    """Sine of x in radians: Taylor's series on a quarter of the circle."""
    turns = x * (1 / (2 * math.pi))
    turns -= np.rint(turns)  # -0.5 to 0.5
    quarter = np.abs(turns)
    quarter = np.copysign(np.minimum(quarter, 0.5 - quarter), turns)
    return np.asarray(polynomial(quarter * quarter, _SINE[: 5 if x.dtype == np.float32 else None]) * quarter)


def arctan(x: Floats) -> Floats:
    """Arc tangent in radians: the angle is halved three times, then Taylor's series."""
    for _ in range(_HALVINGS):
        x = x / (1 + np.sqrt(1 + x * x))
    return np.asarray(polynomial(x * x, [(-1) ** k / (2 * k + 1) for k in range(12)]) * x * 2**_HALVINGS)


def polynomial(x: Floats, coefficients: Sequence[float]) -> Floats:
    """Sum of coefficients[k] x^k, by Horner's rule."""
    result = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        result += coefficient
        result *= x
    result += coefficients[0]
    return result


@lru_cache(maxsize=1)
def _normal_quantiles() -> NDArray[np.float32]:
    """Quantiles of the standard normal distribution at (i + 0.5) / 65536: its density, added up in order."""
    x = np.arange(-_END, _END, _STEP)
    density = exp(-0.5 * x * x)
    share = np.cumsum(density)  # one after another, by definition
    places = (np.arange(_LEVELS) + 0.5) / _LEVELS
    return np.asarray(x[np.searchsorted(share, places * share[-1])], dtype=np.float32)


class Draws:
    """Random numbers of one seed."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def _raw(self) -> int:
        return int(self._bits.random_raw())

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` to below `high`."""
        return low + (high - low) * ((self._raw() >> 11) / 2**53)

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to below `high`."""
        return low + ((self._raw() >> 32) * (high - low) >> 32)

    def normal(self, scale: float = 1.0) -> float:
        """Of mean 0 and this standard deviation, one of 65536 equally likely quantiles."""
        return scale * float(_normal_quantiles()[self._raw() >> 48])

    def normals(self, *shape: int) -> NDArray[np.float32]:
        """As `normal`, an array of them."""
        size = math.prod(shape)
        places = self._bits.random_raw(-(-size // 4)).astype("<u8", copy=False).view("<u2")[:size]
        return _normal_quantiles().take(places).reshape(shape)

    def order(self, n: int) -> NDArray[np.int64]:
        """0 to n - 1 in random order."""
        return np.argsort(self._bits.random_raw(n), kind="stable")
