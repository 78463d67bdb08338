"""Labels as numbers, against NumPy's sorting of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.core.labels import numbered, sorted_numbers
from usfm_bench.stats.jackknife import grouped

LABELS = st.lists(st.integers(-1, 40), min_size=1, max_size=30)


@settings(deadline=None)
@given(LABELS)
def test_numbers_in_the_order_of_the_labels_are_those_of_unique(labels):
    assert np.array_equal(sorted_numbers(np.array(labels)), np.unique(labels, return_inverse=True)[1])


@settings(deadline=None)
@given(LABELS)
def test_numbers_in_the_order_in_which_labels_come(labels):
    first_come = list(dict.fromkeys(labels))
    numbers = numbered(np.array(labels))
    assert numbers.tolist() == [first_come.index(label) for label in labels]
    assert numbered(numbers).tolist() == numbers.tolist()  # they are numbered already


@settings(deadline=None)
@given(LABELS)
def test_the_first_case_and_the_size_of_each_group(labels):
    numbers, first, sizes = grouped(labels, len(labels))
    _, expected, counts = np.unique(numbers, return_index=True, return_counts=True)
    assert first.tolist() == expected.tolist()
    assert sizes.tolist() == counts.tolist()
