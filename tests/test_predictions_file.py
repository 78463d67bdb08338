"""predictions.npz: what is written is read back, and a damaged file is an error that names it."""

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from usfm_bench.core.errors import BenchError
from usfm_bench.data.packed import PackedMasks
from usfm_bench.data.sample import Spacing
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.tasks.classification import ClassificationPredictions
from usfm_bench.tasks.segmentation import SegmentationPredictions

FEW = settings(max_examples=40, deadline=None)
names = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12)


@st.composite
def segmentations(draw):
    n, side = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    shapes = [draw(array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)) for _ in range(n)]
    masks = [tuple(draw(arrays(bool, shape, fill=st.booleans())) for shape in shapes) for _ in range(2)]
    spacing = st.none() | st.builds(Spacing, st.floats(0.01, 9), st.floats(0.01, 9))
    return SegmentationPredictions(
        case_ids=tuple(draw(st.lists(names, min_size=n, max_size=n))),
        predictions=masks[0],
        references=masks[1],
        grid_predictions=draw(arrays(bool, (n, side, side), fill=st.booleans())),
        spacings=tuple(draw(st.lists(spacing, min_size=n, max_size=n))),
    )


@st.composite
def classifications(draw):
    n, n_classes = draw(st.integers(1, 5)), draw(st.integers(2, 4))

    def side(n):
        return (
            draw(arrays(np.float32, (n, n_classes), elements=st.floats(-90, 90, width=32))),
            draw(arrays(np.int64, n, elements=st.integers(0, n_classes - 1))),
        )

    case_ids = tuple(draw(st.lists(names, min_size=n, max_size=n)))
    classes = tuple(draw(st.lists(names, min_size=n_classes, max_size=n_classes)))
    # A file of an earlier version has no validation side.
    return ClassificationPredictions(case_ids, *side(n), classes, *draw(st.sampled_from([(), side(n + 1)])))


def round_trip(predictions):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.npz"
        save_predictions(path, predictions)
        return load_predictions(path)


def assert_equal(one, other):
    """Equal types, values, shapes and dtypes, field by field."""
    assert type(one) is type(other)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b) or isinstance(a, PackedMasks), field.name
        if a is None:
            continue
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y, strict=isinstance(x, np.ndarray))
            assert type(x) is type(y), field.name


@FEW
@given(segmentations() | classifications())
def test_what_is_saved_is_loaded(predictions):
    assert_equal(round_trip(predictions), predictions)


MASKS = tuple(np.random.default_rng(0).random((2, 9, 11)) < 0.4)
SEGMENTATION = SegmentationPredictions(
    ("benign (1)", "normal (2)"), MASKS, MASKS[::-1], np.zeros((2, 4, 4), bool), (None, Spacing(0.1, 0.2))
)
CLASSIFICATION = ClassificationPredictions(
    ("a", "b"), np.array([[1, -1, 0], [0, 2, 1]], np.float32), np.array([0, 1]), ("x", "y", "z")
)
both = pytest.mark.parametrize("predictions", [SEGMENTATION, CLASSIFICATION], ids=["masks", "logits"])


def test_masks_take_a_bit_a_pixel():
    masks = tuple(np.random.default_rng(0).random((4, 200, 300)) < 0.5)
    grid = np.zeros((4, 1, 1), bool)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.npz"
        save_predictions(path, SegmentationPredictions(tuple("abcd"), masks, masks, grid, (None,) * 4))
        assert path.stat().st_size < 1.05 * 2 * 4 * 200 * 300 / 8


def test_probabilities_are_the_softmax_of_the_logits_whatever_their_size():
    logits = np.array([[0, np.log(3)], [1000, 0], [-1000, -1000]], np.float32)
    predictions = ClassificationPredictions(tuple("abc"), logits, np.array([0, 1, 1]), ("x", "y"))
    np.testing.assert_allclose(predictions.probabilities, [[0.25, 0.75], [1, 0], [0.5, 0.5]], atol=1e-7)


def load_bytes(path, content):
    path.write_bytes(content)
    return load_predictions(path)


@both
def test_a_file_cut_short_anywhere_is_an_error_that_names_it(tmp_path, predictions):
    path = tmp_path / "predictions.npz"
    save_predictions(path, predictions)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(BenchError, match=r"predictions\.npz: missing or damaged"):
            load_bytes(path, content[:length])


@both
def test_a_flipped_byte_is_an_error_or_changes_nothing(tmp_path, predictions):
    path = tmp_path / "predictions.npz"
    save_predictions(path, predictions)
    content, errors = path.read_bytes(), 0
    for at in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[at] ^= 0b0101_0101
        try:
            assert_equal(load_bytes(path, bytes(damaged)), predictions)
        except BenchError:
            errors += 1
    assert errors > len(content) / 6  # a zip archive ignores some bytes, such as dates, but not most


@pytest.mark.parametrize(
    "arrays_in_file", [{"a": np.zeros(3)}, {"shape": np.zeros((1, 2))}, {"case_id": np.array([{}])}]
)
def test_an_archive_of_other_things_is_an_error(tmp_path, arrays_in_file):
    np.savez(tmp_path / "other.npz", **arrays_in_file)
    with pytest.raises(BenchError, match=r"other\.npz: (missing or damaged|is of no task)"):
        load_predictions(tmp_path / "other.npz")


def test_a_single_array_is_an_error(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(BenchError, match=r"array\.npy: missing or damaged"):
        load_predictions(tmp_path / "array.npy")


def test_a_missing_file_is_an_error_that_names_it_and_the_remedy(tmp_path):
    with pytest.raises(BenchError, match=r"absent\.npz: missing or damaged.*--fresh"):
        load_predictions(tmp_path / "absent.npz")


@both
def test_a_saved_file_replaces_the_one_before_and_leaves_nothing_else(tmp_path, predictions):
    path = tmp_path / "predictions.npz"
    path.write_bytes(b"older")
    save_predictions(path, predictions)
    assert_equal(load_predictions(path), predictions)
    assert list(tmp_path.iterdir()) == [path]
