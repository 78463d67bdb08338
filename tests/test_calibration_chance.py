"""The calibration error that chance alone gives, and the one without it."""

import numpy as np
import pytest

from usfm_bench.metrics import DEFINITIONS
from usfm_bench.metrics.calibration import (
    calibration_error,
    chance_calibration_error,
    chance_calibration_errors,
    without_chance,
)
from usfm_bench.stats import classification_interval

CHANCE, DEBIASED = DEFINITIONS["ece.top.15bins.chance@1"], DEFINITIONS["ece.top.15bins.debiased@1"]


def calibrated(n, seed=0, seeds=1):
    """Probabilities that mean what they say, and labels drawn from the first seed's."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([1.0, 1.0, 1.0], (seeds, n))
    cumulated = probabilities[0].cumsum(axis=1)
    return probabilities, (rng.random((n, 1)) > cumulated).sum(axis=1)


def test_chance_by_hand():
    # One case a bin: right with probability p, it errs by 1 - p; else by p.
    assert chance_calibration_error(np.array([[0.9, 0.1]])) == pytest.approx(0.9 * 0.1 + 0.1 * 0.9)
    # Two cases of one bin, p = 0.9: 0, 1 or 2 right of 1.8 expected.
    expected = (0.01 * 1.8 + 0.18 * 0.8 + 0.81 * 0.2) / 2
    assert chance_calibration_error(np.array([[0.9, 0.1]] * 2)) == pytest.approx(expected)
    assert chance_calibration_error(np.eye(3)) == 0


@pytest.mark.parametrize("n", [30, 200, 3000])
def test_chance_is_the_mean_error_of_labels_drawn_from_the_probabilities(n):
    [probabilities], _ = calibrated(n)
    rng = np.random.default_rng(1)
    cumulated = probabilities.cumsum(axis=1)
    drawn = [calibration_error(probabilities, (rng.random((n, 1)) > cumulated).sum(axis=1)) for _ in range(400)]
    error = np.std(drawn) / 20
    assert chance_calibration_error(probabilities) == pytest.approx(np.mean(drawn), abs=4 * error)


@pytest.mark.parametrize("n", [1, 7, 60, 400])
def test_seeds_together_are_each_seed_alone(n):
    probabilities, _ = calibrated(n, seeds=4)
    probabilities[2] **= 3  # bins of other lengths
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    alone = [chance_calibration_error(of_seed) for of_seed in probabilities]
    assert chance_calibration_errors(probabilities) == alone


def test_a_calibrated_classifier_has_an_interval_that_begins_at_0():
    probabilities, labels = calibrated(60)
    found = classification_interval(DEBIASED, probabilities, labels)
    assert found.low == 0 < found.high < 1
    assert found.kind == "cases"
    raw = classification_interval(DEFINITIONS["ece.top.15bins@1"], probabilities, labels)
    assert raw.point > 0.05  # biased upwards: it shows an error where there is none
    assert raw[1:] == (None, None, "none")
    chance = classification_interval(CHANCE, probabilities, labels)
    assert chance == (pytest.approx(chance_calibration_error(probabilities[0])), None, None, "none")
    assert found.point == pytest.approx(without_chance(raw.point, chance.point))


def test_an_overconfident_classifier_is_not_called_calibrated():
    probabilities, labels = calibrated(400, seeds=1)
    sharp = probabilities**4 / (probabilities**4).sum(axis=2, keepdims=True)
    found = classification_interval(DEBIASED, sharp, labels)
    assert 0.05 < found.low < found.point < found.high
    truth = calibration_error(
        *(lambda p, y: (p[0] ** 4 / (p[0] ** 4).sum(axis=1, keepdims=True), y))(*calibrated(200_000, 5))
    )
    assert found.low < truth < found.high


def test_groups_widen_the_interval():
    probabilities, labels = calibrated(100)
    sharp = probabilities**4 / (probabilities**4).sum(axis=2, keepdims=True)
    twice, groups = np.tile(sharp, (1, 2, 1)), np.tile(np.arange(100), 2)
    alone = classification_interval(DEBIASED, twice, np.tile(labels, 2))
    grouped = classification_interval(DEBIASED, twice, np.tile(labels, 2), groups=groups)
    assert grouped.high - grouped.low > alone.high - alone.low


def test_nothing_varies_where_every_prediction_is_certain_and_right():
    labels = np.arange(12) % 3
    assert classification_interval(DEBIASED, np.eye(3)[labels][None], labels) == (0.0, None, None, "none")
