"""How often intervals over pre-trainings, fine-tunings and cases hold the truth; docs/pretraining.md has the table.

`python tests/simulated_pretrainings.py` prints it.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from usfm_bench.stats.compare import two_sided_p
from usfm_bench.stats.components import difference_components
from usfm_bench.stats.intervals import crossed_interval
from usfm_bench.stats.pretrainings import compare_pretrainings, pretraining_interval

OF_CASES, WITHIN, REST, CASES = 0.2, 0.02, 0.08, 128
"""Standard deviations between cases, between fine-tunings of one pre-training, and of the rest; number of cases."""


class Cell(NamedTuple):
    """A design."""

    between: float
    """Standard deviation between pre-trainings."""
    pretrainings: int
    finetunings: int

    def __str__(self) -> str:
        return f"{self.between}-{self.pretrainings}x{self.finetunings}"


CELLS = [Cell(*cell) for cell in product((0.0, 0.03, 0.06), (2, 3, 4), (1, 3))]
UNEQUAL, TIMES = [cell for cell in CELLS if cell.between == 0.06], (2, 4)
"""Designs of two methods, and how many times as much the first one's pre-trainings vary."""


class Covered(NamedTuple):
    """Shares of the draws in which the truth is inside, and a mean width."""

    three: float
    pooled: float
    """All trainings taken for independent ones."""
    width: float


def _draw(cell, cases, rng):
    p, s, c = cell.pretrainings, cell.finetunings, CASES
    own = rng.normal(0, cell.between, (p, 1, 1)) + rng.normal(0, WITHIN, (p, s, 1))
    return 0.6 + own + cases + rng.normal(0, REST, (p, s, c))


def cover(cell, draws, rng):
    """Of the mean, whose truth is 0.6."""
    three = pooled = width = 0.0
    for _ in range(draws):
        scores = _draw(cell, rng.normal(0, OF_CASES, CASES), rng)
        found = pretraining_interval(scores)
        other = crossed_interval(scores.reshape(-1, CASES))
        three += found.low <= 0.6 <= found.high
        width += found.high - found.low
        pooled += other.low <= 0.6 <= other.high
    return Covered(three / draws, pooled / draws, width / draws)


def false_claims(cell, draws, rng, pooled=False):
    """Share of the draws in which two methods that are alike differ at 5 %."""
    claims = 0
    for _ in range(draws):
        cases = rng.normal(0, OF_CASES, CASES)
        a, b = (_draw(cell, cases, rng) for _ in range(2))
        rows = [x.reshape(-1, CASES) if pooled else x.mean(axis=1) for x in (a, b)]  # as `compare_pretrainings` has it
        claims += two_sided_p(difference_components(*rows)) < 0.05
    return claims / draws


class Told(NamedTuple):
    """Shares of the draws in which an interval holds the difference, and in which methods that are alike differ."""

    covers: float
    claims: float
    width: float


def unequal(cell, times, draws, rng):
    """Two methods that differ by 0.05 or by nothing; pre-trainings of the first one vary `times` as much."""
    calm = cell._replace(between=cell.between / times)
    covers = claims = width = 0.0
    for _ in range(draws):
        cases = rng.normal(0, OF_CASES, CASES)
        a, b = _draw(cell, cases, rng), _draw(calm, cases, rng)
        found = compare_pretrainings(a + 0.05, b).difference
        covers += found.low <= 0.05 <= found.high
        width += found.high - found.low
        claims += compare_pretrainings(a, b).p_value < 0.05
    return Told(covers / draws, claims / draws, width / draws)


def main(draws=2000):
    """Print the tables of the documentation."""
    print(
        "| sd between | pre-trainings x fine-tunings | covers (width) | pooled covers | alike, p < 5 %: this, pooled |"
    )
    print("|---:|:---|---:|---:|---:|")
    for cell in CELLS:
        found = cover(cell, draws, np.random.default_rng(1))
        claims = [100 * false_claims(cell, draws, np.random.default_rng(2), pooled) for pooled in (False, True)]
        print(
            f"| {cell.between} | {cell.pretrainings} x {cell.finetunings} | {100 * found.three:.1f} "
            f"({100 * found.width:.1f}) | {100 * found.pooled:.1f} | {claims[0]:.1f}, {claims[1]:.1f} |",
            flush=True,
        )
    print("| sd between pre-trainings | P x S | difference covered (width) | alike, p < 5 % |\n|---:|:---|---:|---:|")
    for cell, times in product(UNEQUAL, TIMES):
        told = unequal(cell, times, draws, np.random.default_rng(5))
        print(
            f"| {cell.between}, {cell.between / times:g} | {cell.pretrainings} x {cell.finetunings} | "
            f"{100 * told.covers:.1f} ({100 * told.width:.1f}) | {100 * told.claims:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
