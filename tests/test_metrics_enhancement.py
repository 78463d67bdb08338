"""Enhancement metrics: by hand, against scikit-image, by property, and where they are undefined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.definitions import DEFINITIONS, find_definitions
from usfm_bench.metrics.enhancement import OF, Restored, image_definitions, ms_ssim_of, score_enhancement

OURS = [d for d in DEFINITIONS.values() if d.of == OF]
RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (64, 72)).astype(np.uint8)
SMOOTH = gaussian_filter(NOISE.astype(float), 2).astype(np.uint8)
DISC = np.hypot(*np.mgrid[-32:32, -36:36]) < 12


def value(ident: str, output, target, lesion=None) -> float:
    return DEFINITIONS[ident].compute(Restored(output, target, lesion))


def test_psnr_and_mae_by_hand():
    black, grey = np.zeros((20, 20), np.uint8), np.full((20, 20), 51, np.uint8)
    assert value("psnr.native@1", black, grey) == pytest.approx(20 * math.log10(255 / 51))
    assert value("mae.native@1", black, grey) == pytest.approx(51 / 255)


def test_psnr_and_ssim_are_scikit_images():
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert value("psnr.native@1", SMOOTH, NOISE) == pytest.approx(
        peak_signal_noise_ratio(NOISE, SMOOTH, data_range=255), abs=1e-9
    )
    assert value("ssim.native@1", SMOOTH, NOISE) == pytest.approx(
        structural_similarity(SMOOTH.astype(float), NOISE.astype(float), **options), abs=1e-9
    )


def test_ncc_is_numpys_correlation():
    assert value("ncc.native@1", SMOOTH, NOISE) == pytest.approx(np.corrcoef(SMOOTH.ravel(), NOISE.ravel())[0, 1])


def windows(side: int):
    a, b = (np.lib.stride_tricks.sliding_window_view(x.astype(float), (side, side)) for x in (SMOOTH, NOISE))
    return a.reshape(-1, side * side), b.reshape(-1, side * side)


def test_lncc_and_the_local_cosine_are_written_out_sums():
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*windows(11), strict=True)])
    assert value("lncc.native@1", SMOOTH, NOISE) == pytest.approx(expected, abs=1e-8)
    cosine = np.mean([a @ b / math.sqrt((a @ a) * (b @ b)) for a, b in zip(*windows(9), strict=True)])
    assert value("lncc.cosine.native@1", SMOOTH, NOISE) == pytest.approx(cosine, abs=1e-9)


def test_the_three_lnccs_are_three_quantities():
    found = [value(f"lncc.{name}native@1", SMOOTH, NOISE) for name in ("", "rexmle.", "cosine.")]
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[0] != found[1]
    assert found[2] > found[0] + 0.2


def test_contrast_by_hand():
    image = np.full((64, 72), 100, np.uint8)
    image[DISC] = 40
    checker = (np.indices(image.shape).sum(axis=0) % 2).astype(np.uint8) * 2  # a variance of 1 on both sides, nearly
    output = image + checker
    assert value("cnr.native@1", output, image, DISC) == pytest.approx(60 / math.sqrt(2), rel=0.01)
    assert value("gcnr.256.native@1", output, image, DISC) == 1
    assert value("ssnr.native@1", output, image, DISC) == pytest.approx(101, rel=0.01)
    assert value("gcnr.256.native@1", NOISE * 0 + 7, image, DISC) == 0


def test_gcnr_of_half_an_overlap():
    output = np.zeros((64, 72), np.uint8)
    output[DISC & (np.arange(72) < 36)] = 9  # half the lesion is brighter than all around
    share = (DISC & (np.arange(72) < 36)).sum() / DISC.sum()
    assert value("gcnr.256.native@1", output, output, DISC) == pytest.approx(share)


def test_a_blurred_border_is_less_sharp():
    sharp = np.where(DISC, 40, 200).astype(np.uint8)
    blurred = gaussian_filter(sharp.astype(float), 3).astype(np.uint8)
    ramp = np.tile((np.arange(72) * 2).astype(np.uint8), (64, 1))
    assert value("edge.native@1", blurred, sharp, DISC) < 0.7 * value("edge.native@1", sharp, sharp, DISC)
    assert value("edge.native@1", ramp, sharp, DISC) == pytest.approx(2 / 255)  # two levels a pixel


def test_multi_scale_ssim_multiplies_contrast_and_takes_luminance_once():
    pair = Restored(NOISE // 2, SMOOTH)
    assert ms_ssim_of(pair, 1) == pytest.approx(value("ssim.native@1", NOISE // 2, SMOOTH), abs=1e-9)
    # A shift leaves contrast and structure as they are, so that only the last scale's luminance counts.
    dark, light = np.full((64, 72), 50, np.uint8), np.full((64, 72), 100, np.uint8)
    luminance = (2 * 50 * 100 + 2.55**2) / (50**2 + 100**2 + 2.55**2)
    last = 0.3001 / (0.0448 + 0.2856 + 0.3001)
    assert value("msssim.3scales.native@1", dark, light) == pytest.approx(luminance**last)
    assert math.isnan(value("msssim.native@1", NOISE, SMOOTH))  # 64 px have no fifth scale
    large = np.kron(SMOOTH, np.ones((4, 4), np.uint8))
    assert value("msssim.native@1", large, large) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(44, 60), st.integers(44, 60))
def test_values_lie_in_their_range_and_equal_images_are_best(seed, height, width):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, height, width)).astype(np.uint8)
    lesion = np.hypot(*np.mgrid[:height, :width] - np.array([20, 20])[:, None, None]) < 9
    for definition in OURS:
        if "msssim.native" in definition.id:
            continue
        low, high = definition.range
        assert low - 1e-6 <= definition.compute(Restored(a, b, lesion)) <= high + 1e-6
        if definition.name in ("SSIM", "MSSSIM3", "NCC", "LNCC"):
            assert definition.compute(Restored(a, a, lesion)) == pytest.approx(1, abs=1e-4)
    assert value("mae.native@1", a, a) == 0


def test_what_is_undefined_is_nan_and_never_nought():
    constant = np.full((64, 72), 9, np.uint8)
    assert math.isnan(value("psnr.native@1", NOISE, NOISE))  # equal: no noise
    assert math.isfinite(value("psnr.native@1", constant, NOISE))  # the range is 255 whatever the image
    for ident in ("ncc.native@1", "lncc.native@1"):
        assert math.isnan(value(ident, constant, NOISE))
    for ident in ("cnr.native@1", "gcnr.256.native@1", "ssnr.native@1", "edge.native@1"):
        assert math.isnan(value(ident, NOISE, NOISE))
        assert math.isnan(value(ident, NOISE, NOISE, np.zeros_like(DISC)))
    tiny = NOISE[:8, :8]
    assert math.isnan(value("ssim.native@1", tiny, tiny))


def test_a_table_has_a_column_a_primary_metric_and_does_not_depend_on_the_batch():
    outputs, targets, lesions = [SMOOTH, NOISE], [NOISE, NOISE], [DISC, None]
    both = score_enhancement(outputs, targets, lesions, case_ids=["a", "b"])
    assert list(both) == ["case_id", *(d.column for d in image_definitions())]
    alone = score_enhancement(outputs[:1], targets[:1], lesions[:1], case_ids=["a"])
    assert both.iloc[:1].equals(alone)
    chosen = find_definitions(["lncc.rexmle.native"])
    assert list(score_enhancement(outputs, targets, case_ids=["a", "b"], definitions=chosen)) == [
        "case_id",
        "lncc.rexmle.native@1",
    ]


def test_images_that_do_not_fit_are_all_named():
    with pytest.raises(BenchError, match=r"'a'.*shapes") as caught:
        score_enhancement([SMOOTH, SMOOTH / 2], [NOISE[:9], NOISE], case_ids=["a", "b"])
    assert "'b'" in str(caught.value)
