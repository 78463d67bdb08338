"""What is computed from an array that cannot change is computed once; from others, each time."""

import numpy as np
import pytest

from usfm_bench.core.memo import remembered
from usfm_bench.stats.delete_one import class_metrics


@pytest.fixture
def counted():
    """A function of an array, and how often it was called."""
    calls = []

    def total(array):
        calls.append(1)
        return float(array.sum())

    return total, calls


def test_a_read_only_array_is_computed_from_once_for_each_key(counted):
    total, calls = counted
    array = np.arange(4.0)
    array.setflags(write=False)
    assert [remembered(array, key, lambda: total(array)) for key in ("a", "a", "b")] == [6.0] * 3
    assert len(calls) == 2


def test_an_equal_array_is_another(counted):
    total, calls = counted
    for array in (np.arange(4.0), np.arange(4.0)):
        array.setflags(write=False)
        remembered(array, "a", lambda array=array: total(array))
    assert len(calls) == 2


def test_an_array_that_changes_is_computed_from_anew(counted):
    total, _ = counted
    array = np.arange(4.0)
    view = array[:]
    view.setflags(write=False)  # the array below it still changes
    before = [remembered(each, "a", lambda each=each: total(each)) for each in (array, view)]
    array += 1
    after = [remembered(each, "a", lambda each=each: total(each)) for each in (array, view)]
    assert (before, after) == ([6.0] * 2, [10.0] * 2)


@pytest.mark.parametrize("averaging", ["macro", "weighted", "class"])
@pytest.mark.parametrize("metric", ["SEN", "F1", "AUROC", "AUPRC"])
def test_metrics_that_share_their_parts_are_those_of_an_array_by_itself(metric, averaging):
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet([1, 1, 1], size=(2, 30)), rng.integers(0, 3, 30)
    shared = probabilities.copy()
    shared.setflags(write=False)
    for groups in (np.arange(30), np.arange(30) // 2):  # of one array, too, other groups are other parts
        for only in (0, 2) if averaging == "class" else (None,):
            found, expected = (
                class_metrics(metric, averaging, each, labels, groups, only=only) for each in (shared, probabilities)
            )
            assert np.array_equal(found, expected, equal_nan=True)
