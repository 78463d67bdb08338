"""Simulated images: reproducible, exact in number and geometry, and alike real ones where it matters."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import usfm_bench
from usfm_bench.core.errors import DataError
from usfm_bench.data.dataset import open_dataset, open_reader
from usfm_bench.data.exact import Draws
from usfm_bench.data.phantom import LABELS, ORGANS, PROBES, Phantom, PhantomSpec, _envelope, draw_plan, render
from usfm_bench.specs.dataset import DatasetSpec, load_registry

SMALL = PhantomSpec(n=30, size=64)
LESIONS_UNDER_A_LINEAR_PROBE = PhantomSpec(n=60, size=96, prevalence=(0, 0.5, 0.5), organs=("breast", "thyroid"))


def fingerprint(phantom: Phantom) -> str:
    return hashlib.sha256(phantom.image.tobytes() + phantom.mask.tobytes()).hexdigest()


@cache
def drawn(spec: PhantomSpec) -> list[Phantom]:
    return [render(spec, index) for index in range(spec.n)]


def variant(**changes) -> PhantomSpec:
    return PhantomSpec(**SMALL.model_dump() | changes)


# ---- the same image, always ------------------------------------------------------------------------------------------


def test_an_image_does_not_depend_on_what_was_drawn_before():
    alone = fingerprint(render(SMALL, 7))
    for spec, index in [(SMALL, 3), (variant(seed=5), 7), (variant(size=96), 7), (variant(probe="clinical"), 7)]:
        render(spec, index)
    assert fingerprint(render(SMALL, 7)) == alone


def test_images_drawn_by_threads_are_those_drawn_in_turn():
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(partial(render, variant(seed=9)), reversed(range(30))))
    assert [fingerprint(p) for p in reversed(together)] == [fingerprint(p) for p in drawn(variant(seed=9))]


def test_another_process_draws_the_same_bytes():
    program = (
        "import hashlib; from usfm_bench.data.phantom import PhantomSpec, render;"
        "p = render(PhantomSpec(n=30, size=64), 7);"
        "print(hashlib.sha256(p.image.tobytes() + p.mask.tobytes()).hexdigest())"
    )
    source_root = Path(usfm_bench.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source_root), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint(render(SMALL, 7))


def test_another_seed_draws_other_images():
    assert not {fingerprint(p) for p in drawn(SMALL)} & {fingerprint(p) for p in drawn(variant(seed=1))}


def test_no_image_is_drawn_twice():
    assert len({fingerprint(p) for p in drawn(SMALL)}) == SMALL.n


def test_a_part_of_the_classes_is_the_same_images_under_the_same_names():
    registry = load_registry()
    options = registry["phantom"].options | {"n": 12, "size": 48}
    whole, lesions = (
        {
            s.case.case_id: s.pixel_hash
            for s in open_dataset(registry[name].model_copy(update={"options": options}), Path()).samples
        }
        for name in ("phantom", "phantom-lesion")
    )
    assert len(lesions) == 8
    assert lesions.items() <= whole.items()


# ---- how many of what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "counts"), [("phantom", (100, 100, 100)), ("phantom-clinical", (216, 60, 24))])
def test_the_registered_phantoms_have_exactly_their_prevalence(name, counts):
    found = Counter(case.label for case in open_reader(load_registry()[name], Path()).cases())
    assert found == dict(zip(LABELS, counts, strict=True))


@given(weights=st.tuples(*[st.integers(0, 50)] * 3).filter(any), n=st.integers(3, 200), seed=st.integers(0, 99))
def test_counts_are_within_one_of_the_prevalence(weights, n, seed):
    shares = tuple(w / sum(weights) for w in weights)
    found = Counter(label for label, _ in draw_plan(PhantomSpec(seed=seed, n=n, prevalence=shares)))
    assert found.total() == n
    assert all(abs(found[label] - n * share) < 1 for label, share in zip(LABELS, shares, strict=True))


def test_every_class_shows_each_of_five_organs_equally_often():
    found = Counter(draw_plan(variant(n=150)))
    assert len(ORGANS) == 5
    assert found == {(label, organ): 10 for label in LABELS for organ in ORGANS}


@pytest.mark.parametrize("prevalence", [[0.5, 0.4, 0.2], [-0.1, 0.6, 0.5], [0.5, 0.5]])
def test_a_prevalence_that_is_no_distribution_is_a_data_error(prevalence):
    spec = load_registry()["phantom"].model_copy(update={"options": {"prevalence": prevalence}})
    with pytest.raises(DataError, match=r"'phantom': options.*prevalence"):
        open_dataset(spec, Path())


def test_all_faulty_options_are_in_one_message():
    facts = {"version": 1, "title": "t", "tasks": ("segmentation",), "organ": "breast", "layout": "phantom"}
    with pytest.raises(DataError, match=r"options\.size: .*\n.*options\.probe: .*\n.*options\.seeds: ") as error:
        open_dataset(DatasetSpec(name="mine", **facts, options={"size": 5, "probe": "best", "seeds": 1}), Path())
    assert str(error.value).count("\n") == 2


# ---- geometry --------------------------------------------------------------------------------------------------------


def test_exactly_the_normal_images_have_an_empty_mask():
    assert {(p.label == "normal", bool(p.mask.any())) for p in drawn(SMALL)} == {(True, False), (False, True)}


def test_a_lesion_covers_between_half_a_percent_and_eight_percent():
    areas = [
        p.mask.mean() for p in (*drawn(variant(n=90)), *drawn(LESIONS_UNDER_A_LINEAR_PROBE)) if p.label != "normal"
    ]
    assert len(areas) == 120
    assert min(areas) > 0.004
    assert max(areas) < 0.08


def test_no_lesion_is_cut_by_the_border():
    def border(mask):
        return mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()

    assert not any(border(p.mask) for p in drawn(variant(n=90)))


@pytest.mark.parametrize(("probe", "depth_mm"), [("default", 50), ("clinical", 80)])
def test_spacing_is_the_depth_divided_by_the_pixels(probe, depth_mm):
    assert {p.spacing for p in drawn(variant(probe=probe))} == {(depth_mm / 64, depth_mm / 64)}


def test_images_are_bytes_of_the_size_that_was_asked_for():
    assert {(p.image.shape, p.image.dtype.str, p.mask.shape) for p in drawn(SMALL)} == {((64, 64), "|u1", (64, 64))}


def test_sector_probes_leave_the_corners_black_and_linear_ones_do_not():
    for phantom in drawn(SMALL):
        sector = phantom.organ in {"fetal head", "heart chamber", "liver"}
        assert (phantom.image[:4, 0].max() == 0) == sector


# ---- physics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_even_tissue_has_the_mean_and_spread_of_rayleigh_speckle(probe):
    even = np.ones((128, 128), np.float32)
    speckle = np.stack([_envelope(even, Draws(seed), probe) for seed in range(12)])
    # A Rayleigh variable of scale 1, since the real and the imaginary part have variance 1 each.
    assert speckle.mean() == pytest.approx(np.sqrt(np.pi / 2), rel=0.02)
    assert speckle.mean() / speckle.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), abs=0.04)  # 1.913


def test_the_envelope_is_proportional_to_the_echo():
    rng, probe, even = Draws, PROBES["default"], np.ones((64, 64), np.float32)
    np.testing.assert_allclose(_envelope(3 * even, rng(0), probe), 3 * _envelope(even, rng(0), probe), rtol=1e-4)


def test_beams_are_narrowest_at_the_focus():
    even = np.ones((128, 128), np.float32)
    speckle = np.stack([_envelope(even, Draws(seed), PROBES["default"]) for seed in range(12)])

    def neighbours_correlate(row):
        band = speckle[:, row - 4 : row + 4]
        return np.corrcoef(band[..., :-2].ravel(), band[..., 2:].ravel())[0, 1]

    focus = int(0.45 * 128)
    assert neighbours_correlate(focus) < neighbours_correlate(5) - 0.2
    assert neighbours_correlate(focus) < neighbours_correlate(122) - 0.2


def test_the_clinical_probe_shows_the_same_anatomy_deeper_and_darker():
    ours, theirs = drawn(SMALL), drawn(variant(probe="clinical"))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)
        assert b.image[32:].mean() < a.image[32:].mean()


# ---- lesions ---------------------------------------------------------------------------------------------------------


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and past-the-last row and column of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def height_to_width(phantom: Phantom) -> float:
    top, bottom, left, right = box(phantom.mask)
    return (bottom - top) / (right - left)


def behind_against_beside(phantom: Phantom) -> float:
    """Grey levels below the lesion's middle, minus those at the same depth on either side of it."""
    top, bottom, left, right = box(phantom.mask)
    quarter = (right - left) // 4
    band = phantom.image[bottom + 2 : bottom + 6 + (bottom - top) // 2].astype(float)
    beside = np.concatenate([band[:, : max(0, left - quarter)], band[:, right + quarter :]], axis=1)
    return band[:, left + quarter : right - quarter].mean() - beside.mean()


def inside_against_around(phantom: Phantom) -> float:
    ring = cv2.dilate(phantom.mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~phantom.mask
    return phantom.image[phantom.mask].mean() - phantom.image[ring].mean()


def means_by_label(measure, spec: PhantomSpec = LESIONS_UNDER_A_LINEAR_PROBE) -> tuple[float, float]:
    """Means over (benign, malignant) images."""
    by_label = {label: [measure(p) for p in drawn(spec) if p.label == label] for label in ("benign", "malignant")}
    assert min(map(len, by_label.values())) >= 30
    return float(np.mean(by_label["benign"])), float(np.mean(by_label["malignant"]))


def test_malignant_lesions_are_taller_than_wide_and_benign_ones_are_not():
    benign, malignant = means_by_label(height_to_width)
    assert benign < 0.85
    assert malignant > 1.0


def test_malignant_lesions_cast_shadows_and_benign_ones_enhance():
    benign, malignant = means_by_label(behind_against_beside)
    assert malignant < -8
    assert benign > 15


def contrasts(organ: str) -> list[float]:
    return [inside_against_around(p) for p in drawn(variant(n=40, size=96, prevalence=(0, 0.5, 0.5), organs=(organ,)))]


@pytest.mark.parametrize("organ", sorted({*ORGANS} - {"heart chamber"}))
def test_lesions_are_darker_than_the_tissue_around_them(organ):
    found = np.array(contrasts(organ))
    assert found.mean() < -5
    assert (found < 0).mean() > 0.9  # one may lie over a dark ventricle


def test_lesions_of_the_heart_are_darker_on_average_though_some_reach_into_darker_chambers():
    assert np.mean(contrasts("heart chamber")) < -5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(32, 100), probe=st.sampled_from(sorted(PROBES)))
def test_an_image_of_any_size_and_probe_is_neither_black_nor_burnt_out(seed, size, probe):
    phantom = render(PhantomSpec(seed=seed, n=3, size=size, probe=probe), seed % 3)
    assert phantom.image.shape == (size, size)
    assert (phantom.image == 255).mean() < 0.1
    assert 20 < phantom.image.mean() < 200
    assert phantom.image.std() > 10
