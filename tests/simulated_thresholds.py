"""How far thresholds and temperatures scatter with few validation cases: the tables of docs/thresholds.md.

`PYTHONPATH=tests python -m simulated_thresholds` prints them, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from usfm_bench.metrics.logits import softmax
from usfm_bench.metrics.operating import fit_temperature, threshold_for_f1, threshold_for_specificity

Floats = NDArray[np.float64]
_APART = float(2**0.5 * norm.ppf(0.9))  # normal scores of this distance have an AUROC of 0.9
_PER_POSITIVE = 4  # negatives for each positive


def on_test(threshold: Floats) -> tuple[Floats, Floats, Floats]:
    """SEN, SPEC and F1 of endless test cases at thresholds."""
    sen, spec = norm.sf(threshold - _APART), norm.cdf(threshold)
    return sen, spec, 2 * sen / (sen + 1 + _PER_POSITIVE * (1 - spec))


def draw_thresholds(n_positive: int, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Thresholds for the highest F1 and for 90 % specificity, of `draws` validation sets."""
    positive = np.arange((1 + _PER_POSITIVE) * n_positive) < n_positive
    scores = rng.normal(0, 1, (draws, len(positive))) + _APART * positive
    found = [(threshold_for_f1(s, positive), threshold_for_specificity(s, positive, 0.9)) for s in scores]
    f1, spec = np.array(found, dtype=np.float64).T
    return f1, spec


def draw_temperatures(n: int, draws: int, rng: np.random.Generator, truth: float = 2.0) -> Floats:
    """Fitted temperatures of `draws` validation sets of three classes, whose labels are drawn with T = `truth`."""
    found = []
    for _ in range(draws):
        logits = rng.normal(0, 3, (n, 3))
        labels = (rng.random((n, 1)) > softmax(logits, truth).cumsum(axis=1)).sum(axis=1)
        found.append(fit_temperature(logits, np.minimum(labels, 2)))
    return np.array(found)


def tables(draws: int = 4000) -> Iterator[str]:
    """As Markdown, a line at a time."""
    best = float(on_test(np.linspace(-2, 5, 7001))[2].max())
    yield f"| positives in validation | F1 (best possible {100 * best:.1f}) | SPEC at 90 % | SEN at 90 % |"
    yield "|---:|---:|---:|---:|"
    for n in (5, 10, 20, 50, 200):
        f1, spec = draw_thresholds(n, draws, np.random.default_rng(0))
        shown = [_middle(100 * values, 1) for values in (on_test(f1)[2], on_test(spec)[1], on_test(spec)[0])]
        yield f"| {n} | {' | '.join(shown)} |"
    yield ""
    yield "| validation cases | fitted temperature |"
    yield "|---:|---:|"
    for n in (20, 50, 100, 500):
        yield f"| {n} | {_middle(draw_temperatures(n, draws // 4, np.random.default_rng(0)), 2)} |"


def _middle(values: Floats, digits: int) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    for line in tables():
        print(line)
