"""How often the 95 % intervals hold the truth, simulated; `make coverage` writes the table of docs/method.md."""

import numpy as np
import pytest

import simulated

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cell", simulated.MEANS, ids=str)
def test_intervals_of_means_cover(cell):
    found = simulated.cover_mean(cell, draws=10_000, rng=np.random.default_rng(1))
    low = 0.93 if cell.cases_like == "normal" else 0.92
    error = 2 * (0.97 * 0.03 / 10_000) ** 0.5  # Monte-Carlo
    assert low - error <= found.crossed
    assert found.crossed <= 0.97 + error or cell.cases_like != "normal"


@pytest.mark.parametrize("cell", simulated.RATES, ids=str)
def test_intervals_of_rates_cover(cell):
    assert 0.92 <= simulated.cover_rate(cell, draws=1500, rng=np.random.default_rng(1)) <= 0.98


@pytest.mark.parametrize("cell", simulated.ONE_SEED, ids=str)
def test_intervals_of_proportions_of_one_seed_cover(cell):
    assert 0.93 <= simulated.cover_rate(cell, draws=1500, rng=np.random.default_rng(1)) <= 0.99


@pytest.mark.parametrize("cell", [c for c in simulated.TAILS if c.missed >= 0.05 and c.cases >= 78], ids=str)
def test_intervals_of_distances_cover_where_missed_lesions_are_not_rare(cell):
    assert simulated.cover_tail(cell, draws=5000, rng=np.random.default_rng(1)) >= 0.9


@pytest.mark.parametrize("cell", simulated.FOLDS, ids=str)
def test_intervals_over_folds_cover(cell):
    assert 0.93 <= simulated.cover_folds(cell, draws=5000, rng=np.random.default_rng(1)) <= 0.98


@pytest.mark.parametrize("cell", simulated.SHIFTS, ids=str)
def test_intervals_at_another_prevalence_cover(cell):
    positives = cell.share * cell.cases / (2 if cell.grouped else 1)
    low = 0.9 if positives > 10 else 0.85
    assert all(low <= share <= 0.995 for share in simulated.cover_shift(cell, 1000, np.random.default_rng(1)))
